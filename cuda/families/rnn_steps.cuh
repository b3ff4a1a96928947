// The launches of a recurrent layer's products with the cells on their sums; see rnn.cu.
#pragma once
#include "families/lane.cuh"
#include "families/rnn_product.cuh"
#include "kernels/rnn.h"

namespace dc::cuda {

template <class T>
DC_DEVICE Lane<T> gate_sigmoid(Lane<T> x) {
  return sigmoid(x);
}
template <class T>
DC_DEVICE Lane<T> gate_tanh(Lane<T> x) {
  return tanh(x);
}

}  // namespace dc::cuda

#include "kernels/rnn_cells.h"

namespace dc::cuda {

namespace {

constexpr int first_gates(RnnCell cell) { return rnn_gates(cell) - (rnn_two_products(cell) ? 1 : 0); }

template <class T>
struct Numbers {
  DC_DEVICE Lane<T> load(const T* p) const { return {*p}; }
  DC_DEVICE void store(T* p, Lane<T> v) const { *p = v.value; }
};

// A pointer to a later number, if there is an array.
template <class T>
DC_HOST_DEVICE T* moved(T* p, long long by) {
  return p ? p + by : p;
}

// What both directions know about a step. Pointers are to its arrays of all rows, or null.
template <class T>
struct StepOf {
  RnnCell cell;
  RnnCellOptions<T> options;
  const int64_t* lengths;
  long long time, batch, hidden, size, width;
  const T *h_mask, *zoneout_h, *zoneout_c;
  DC_DEVICE bool takes_part(long long row) const { return !lengths || time < lengths[row]; }
};

// ---- forward ----
enum class ForwardPart : int { gates, second, inner, projection };

template <class T>
struct ForwardStep {
  StepOf<T> of;
  ForwardPart part;
  T* gates;
  const T *before, *fed;
  T *h, *h_fed;
  const T* c_before;
  T *c, *extra, *fresh, *out, *inner;

  DC_DEVICE RnnAt<T> at(long long row, long long unit, const T* sums) const {
    const long long o = row * of.hidden + unit, i = row * of.size + unit;
    return {gates + row * of.width + unit,
            sums,
            before + i,
            h + i,
            moved(c_before, o),
            moved(c, o),
            moved(extra, o),
            unit,
            fed + i,
            moved(h_fed, i),
            moved(of.h_mask, i),
            moved(of.zoneout_h, i),
            moved(of.zoneout_c, o),
            moved(fresh, o),
            moved(out, o)};
  }
  // A sequence that has ended: its state stays, and what the backward pass multiplies by 0 is finite.
  DC_DEVICE void stay(long long row, long long unit) const {
    const long long o = row * of.hidden + unit;
    if (!out) stay_h(row, unit);
    if (c) c[o] = c_before[o];
    if (extra) extra[o] = T(0);
    if (fresh) fresh[o] = T(0);
    if (out) out[o] = T(0);
  }
  DC_DEVICE void stay_h(long long row, long long unit) const {
    const long long i = row * of.size + unit;
    h[i] = before[i];
    if (h_fed) h_fed[i] = fed[i];
  }
};

template <RnnCell kCell, int kGates, class T>
DC_DEVICE void forward_cell(const ForwardStep<T>& s, const RnnAt<T>& at) {
  RnnCellOptions<T> options = s.of.options;
  options.sums_step = 1;  // a constant, so that the sums stay in registers
  if constexpr (rnn_two_products(kCell) && kGates == 1)
    if (s.part == ForwardPart::second) return rnn_forward_second<kCell, Lane<T>>(Numbers<T>(), options, at);
  if constexpr (first_gates(kCell) == kGates) rnn_forward<kCell, Lane<T>>(Numbers<T>(), options, at);
}
template <int kGates, class T>
DC_DEVICE void forward_cell(const ForwardStep<T>& s, const RnnAt<T>& at) {
  switch (s.of.cell) {
#define DC_CELL(name) \
  case RnnCell::name: \
    return forward_cell<RnnCell::name, kGates>(s, at);
    DC_RNN_CELLS(DC_CELL)
#undef DC_CELL
  }
}

template <class T, int kGates, class Tile>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRnnThreads, sizeof(T) == sizeof(float) ? 3 : 1)
    rnn_forward_step(StepProduct<T> product, ForwardStep<T> step) {
  using Shared = typename Tile::Shared;
  alignas(16) DC_SHARED(Shared, shared);
  const StepPlace place = step_place<Tile>(product);
  Tile::multiply(product, place.row0, place.unit0, shared);
  Tile::for_units(product, place.row0, place.unit0, [&](long long row, long long unit, int i, int j) {
    T sums[kGates];
    DC_UNROLL
    for (int g = 0; g < kGates; ++g) sums[g] = Tile::sum(shared, i, g * Tile::kUnits + j);
    if (step.part == ForwardPart::inner) {
      DC_UNROLL
      for (int g = 0; g < kGates; ++g) step.inner[row * step.of.width + g * step.of.hidden + unit] = sums[g];
      return;
    }
    const bool projection = step.part == ForwardPart::projection;
    if (!step.of.takes_part(row)) {
      if (projection) return step.stay_h(row, unit);
      if (step.part == ForwardPart::gates) step.stay(row, unit);
      return;
    }
    if (projection) {
      RnnAt<T> at{};
      const long long o = row * step.of.size + unit;
      at.before = step.before + o, at.h = step.h + o, at.h_fed = moved(step.h_fed, o);
      at.mask = moved(step.of.h_mask, o), at.zoneout_h = moved(step.of.zoneout_h, o);
      return rnn_put(Numbers<T>(), step.of.options, at, Lane<T>{sums[0]});
    }
    forward_cell<kGates>(step, step.at(row, unit, sums));
  });
}

// ---- backward ----
// gates: a whole step. With a projection or norm: states, to h before zoneout; then outputs, to what the cell gave, or
// cell, the same and the cell. second: of cells of two products. start: only adds the product to dh.
enum class BackwardPart : int { gates, second, states, outputs, cell, start };

template <class T>
struct BackwardStep {
  StepOf<T> of;
  BackwardPart part;
  const T *gates, *before, *h, *c_before, *c, *extra, *fed, *inner, *g;
  T *dh, *dc, *dz, *dextra, *dfresh, *dout, *dinner, *dshown;
  bool dh_of_cell;  // h is what the cell gave

  DC_DEVICE RnnGradAt<T> at(long long row, long long unit) const {
    const long long o = row * of.hidden + unit, i = row * of.size + unit, w = row * of.width + unit;
    return {gates + w,
            before + i,
            h + i,
            moved(c_before, o),
            moved(c, o),
            moved(extra, o),
            dh_of_cell ? dh + i : nullptr,
            moved(dc, o),
            dz + w,
            moved(dextra, o),
            unit,
            moved(fed, i),
            moved(of.h_mask, i),
            moved(of.zoneout_h, i),
            moved(of.zoneout_c, o)};
  }
  DC_DEVICE void pass(long long row, long long unit, T sum) const {
    const long long i = row * of.size + unit;
    dh[i] += of.h_mask ? sum * of.h_mask[i] : sum;
  }
  DC_DEVICE void clear(long long row, long long unit) const {
    for (long long gate = 0; gate < of.width; gate += of.hidden) dz[row * of.width + gate + unit] = T(0);
    if (dextra) dextra[row * of.hidden + unit] = T(0);
  }
};

template <class T>
DC_DEVICE void backward_cell(const BackwardStep<T>& s, const RnnGradAt<T>& at, Lane<T> g, Lane<T> old,
                             const RnnShown<Lane<T>>& shown) {
  switch (s.of.cell) {
#define DC_CELL(name) \
  case RnnCell::name: \
    return rnn_backward<RnnCell::name, Lane<T>>(Numbers<T>(), s.of.options, at, g, old, shown);
    DC_RNN_CELLS(DC_CELL)
#undef DC_CELL
  }
}

template <class T, class Tile>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRnnThreads, sizeof(T) == sizeof(float) ? 3 : 1)
    rnn_backward_step(StepProduct<T> product, BackwardStep<T> step) {
  using Shared = typename Tile::Shared;
  alignas(16) DC_SHARED(Shared, shared);
  const StepPlace place = step_place<Tile>(product);
  Tile::multiply(product, place.row0, place.unit0, shared);
  Tile::for_units(product, place.row0, place.unit0, [&](long long row, long long unit, int i, int j) {
    const T sum = Tile::sum(shared, i, j);
    const BackwardPart part = step.part;
    const bool to_state = part == BackwardPart::gates || part == BackwardPart::states;
    if (part == BackwardPart::start) return step.pass(row, unit, sum);
    if (part == BackwardPart::outputs) {
      step.dout[row * step.of.hidden + unit] = sum;
      return;
    }
    const long long o = row * step.of.size + unit;
    if (!step.of.takes_part(row)) {
      if (to_state) step.pass(row, unit, sum);
      if (part == BackwardPart::states) step.dfresh[o] = T(0);
      if (part == BackwardPart::gates || part == BackwardPart::cell) step.clear(row, unit);
      return;
    }
    const RnnGradAt<T> at = step.at(row, unit);
    const Numbers<T> numbers;
    const auto& options = step.of.options;
    if (part == BackwardPart::second) {
      if (step.of.cell == RnnCell::mgu)
        return rnn_backward_second<RnnCell::mgu, Lane<T>>(numbers, options, at, Lane<T>{sum});
      return rnn_backward_second<RnnCell::gru_before, Lane<T>>(numbers, options, at, Lane<T>{sum});
    }
    Lane<T> g{sum}, old = Lane<T>::zero();
    if (to_state) {
      RnnGradAt<T> state{};
      state.dh = step.dh + o, state.mask = moved(step.of.h_mask, o);
      g = rnn_grad_of_h(numbers, state, moved(step.g, o), g);
      if (options.zoned_h) g = rnn_split(numbers, moved(step.of.zoneout_h, o), options.mix_h, g, &old);
    }
    if (part == BackwardPart::states) {
      step.dfresh[o] = g.value;
      step.dh[o] = old.value;
      return;
    }
    backward_cell(step, at, g, old, {});
  });
}

}  // namespace

}  // namespace dc::cuda
