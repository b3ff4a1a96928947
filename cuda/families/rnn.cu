// Recurrent layers, step by step: kernels/rnn.h has formulas and layouts, kernels/rnn_cells.h the cells.
// A launch is one product of a step and the cell on its sums (rnn_product.cuh): a block owns some rows and all gates of
// some units, a thread of the cell one unit of one row. Cells of two products take two launches a step. Backward, a
// step begins with what the gates of the step after it give back, so that it takes as many; the state before the first
// step takes one more. Nothing is packed: forward reads u along its rows, backward across. No scratch, no waits.
// Bound: latency of the launches up to some hundred units, then that of rnn_product.cuh.
#include "families/families.h"
#include "families/lane.cuh"
#include "families/rnn_product.cuh"
#include "kernels/rnn.h"
#include "runtime/run.h"

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

#define DC_RNN_CELLS(X) X(tanh) X(relu) X(lstm) X(coupled) X(gru) X(gru_before) X(mgu)

constexpr int first_gates(RnnCell cell) { return rnn_gates(cell) - (rnn_two_products(cell) ? 1 : 0); }

template <class T>
struct Numbers {
  DC_DEVICE Lane<T> load(const T* p) const { return {*p}; }
  DC_DEVICE void store(T* p, Lane<T> v) const { *p = v.value; }
};

// What both directions know about a step. Pointers are to its arrays of all rows, or null.
template <class T>
struct StepOf {
  RnnCell cell;
  int second;  // after the second product
  RnnCellOptions<T> options;
  const int64_t* lengths;
  long long time;
  DC_DEVICE bool takes_part(long long row) const { return !lengths || time < lengths[row]; }
};

template <class T>
DC_DEVICE T* moved(T* p, long long by) {
  return p ? p + by : p;
}

// ---- forward ----
template <class T>
struct ForwardStep {
  StepOf<T> of;
  T* gates;
  const T* before;
  T* h;
  const T* c_before;
  T* c;
  T* extra;
  long long width;
};

template <RnnCell kCell, int kGates, class T>
DC_DEVICE void forward_cell(const StepOf<T>& s, const RnnAt<T>& at) {
  RnnCellOptions<T> options = s.options;
  options.sums_step = 1;  // a constant, so that the sums stay in registers
  if constexpr (rnn_two_products(kCell) && kGates == 1)
    if (s.second) return rnn_forward_second<kCell, Lane<T>>(Numbers<T>(), options, at);
  if constexpr (first_gates(kCell) == kGates) rnn_forward<kCell, Lane<T>>(Numbers<T>(), options, at);
}

template <class T, int kGates, class Tile>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRnnThreads, sizeof(T) == sizeof(float) ? 3 : 1)
    rnn_forward_step(StepProduct<T> product, ForwardStep<T> step) {
  using Shared = typename Tile::Shared;
  alignas(16) DC_SHARED(Shared, shared);
  const StepPlace place = step_place<Tile>(product);
  Tile::multiply(product, place.row0, place.unit0, shared);
  Tile::for_units(product, place.row0, place.unit0, [&](long long row, long long unit, int i, int j) {
    const long long o = row * product.hidden + unit;
    if (!step.of.takes_part(row)) {
      if (!step.of.second) {
        step.h[o] = step.before[o];
        if (step.c) step.c[o] = step.c_before[o];
        if (step.extra) step.extra[o] = T(0);
      }
      return;
    }
    T sums[kGates];
    DC_UNROLL
    for (int g = 0; g < kGates; ++g) sums[g] = Tile::sum(shared, i, g * Tile::kUnits + j);
    const RnnAt<T> at{step.gates + row * step.width + unit,
                      sums,
                      step.before + o,
                      step.h + o,
                      moved(step.c_before, o),
                      moved(step.c, o),
                      moved(step.extra, o),
                      unit};
    switch (step.of.cell) {
#define DC_CELL(name) \
  case RnnCell::name: \
    return forward_cell<RnnCell::name, kGates>(step.of, at);
      DC_RNN_CELLS(DC_CELL)
#undef DC_CELL
    }
  });
}

// ---- backward ----
template <class T>
struct BackwardStep {
  StepOf<T> of;
  int start;  // only adds the product to dh
  const T* gates;
  const T* before;
  const T* h;
  const T* c_before;
  const T* c;
  const T* extra;
  const T* g;
  T* dh;
  T* dc;
  T* dz;
  T* dextra;
  long long width;
};

template <RnnCell kCell, class T>
DC_DEVICE void backward_cell(const StepOf<T>& s, const RnnGradAt<T>& at, T sum, const T* given) {
  if constexpr (rnn_two_products(kCell))
    if (s.second) return rnn_backward_second<kCell, Lane<T>>(Numbers<T>(), s.options, at, Lane<T>{sum});
  T g = sum + *at.dh;
  if (given) g += *given;
  rnn_backward<kCell, Lane<T>>(Numbers<T>(), s.options, at, Lane<T>{g});
}

template <class T, class Tile>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRnnThreads, sizeof(T) == sizeof(float) ? 3 : 1)
    rnn_backward_step(StepProduct<T> product, BackwardStep<T> step) {
  using Shared = typename Tile::Shared;
  alignas(16) DC_SHARED(Shared, shared);
  const StepPlace place = step_place<Tile>(product);
  Tile::multiply(product, place.row0, place.unit0, shared);
  Tile::for_units(product, place.row0, place.unit0, [&](long long row, long long unit, int i, int j) {
    const long long o = row * product.hidden + unit;
    const T sum = Tile::sum(shared, i, j);
    T* dz = step.dz + row * step.width + unit;
    if (step.start) {
      step.dh[o] += sum;
      return;
    }
    if (!step.of.takes_part(row)) {
      if (!step.of.second) {
        step.dh[o] += sum;
        for (long long at = 0; at < step.width; at += product.hidden) dz[at] = T(0);
        if (step.dextra) step.dextra[o] = T(0);
      }
      return;
    }
    const RnnGradAt<T> at{step.gates + row * step.width + unit,
                          step.before + o,
                          step.h + o,
                          moved(step.c_before, o),
                          moved(step.c, o),
                          moved(step.extra, o),
                          step.dh + o,
                          moved(step.dc, o),
                          dz,
                          moved(step.dextra, o),
                          unit};
    const T* given = moved(step.g, o);
    switch (step.of.cell) {
#define DC_CELL(name) \
  case RnnCell::name: \
    return backward_cell<RnnCell::name>(step.of, at, sum, given);
      DC_RNN_CELLS(DC_CELL)
#undef DC_CELL
    }
  });
}

// ---- launches ----
template <class T>
struct Layer {
  const RnnShape<T>& s;
  int gates;
  int64_t width, rows_size;
  explicit Layer(const RnnShape<T>& shape)
      : s(shape), gates(rnn_gates(shape.cell)), width(gates * shape.hidden), rows_size(shape.batch * shape.hidden) {}

  int64_t time(int64_t step) const { return s.reverse ? s.steps - 1 - step : step; }
  int64_t slot(int64_t step) const { return s.reverse ? s.steps - step : step; }

  StepOf<T> of(int64_t step, bool second, bool keep) const {
    return {s.cell,
            second,
            {s.gate, {s.slope[0], s.slope[1], s.slope[2]}, s.peephole, s.bias_h, s.hidden, s.hidden, 1, keep},
            s.lengths,
            time(step)};
  }
  StepProduct<T> product(const RowTerms<T>& a, int64_t k, const T* u) const {
    const bool wide = multiple_of_4(s.hidden) && aligned(a.first) && aligned(a.second) && aligned(u);
    return {a, u, s.batch, s.hidden, k, wide};
  }
};

// What an array of `rows` rows a step holds of a step, or null.
template <class T>
T* of_step(T* all, int64_t which, int64_t size) {
  return all ? all + which * size : all;
}

template <int kGates, class T>
void queue_forward(Context& context, const StepProduct<T>& product, const ForwardStep<T>& step) {
  with_step_tile<T, GateWeights<T, kGates>>(product.rows, product.hidden, [&]<class Tile>(Tile, unsigned blocks) {
    run("recurrent", context, rnn_forward_step<T, kGates, Tile>, dim3(blocks), dim3(kRnnThreads), 0, product, step);
  });
}

template <class T>
void forward(const RnnShape<T>& s, const RnnForward<T>& f, Context& context) {
  const Layer<T> layer(s);
  const int64_t H = s.hidden, size = layer.rows_size;
  const int first = first_gates(s.cell);
  for (int64_t i = 0; i < s.steps; ++i) {
    const int64_t t = layer.time(i), from = layer.slot(i), to = layer.slot(i + 1);
    ForwardStep<T> step{layer.of(i, false, f.keep),
                        f.gates + t * s.batch * layer.width,
                        f.h + from * size,
                        f.h + to * size,
                        of_step(f.c, f.keep ? from : 0, size),
                        of_step(f.c, f.keep ? to : 0, size),
                        of_step(f.extra, f.keep ? t : 0, size),
                        layer.width};
    const int64_t k = f.at_rest && i == 0 ? 0 : H;
    const StepProduct<T> product = layer.product({step.before, H, H, step.before, H}, k, s.u);
    if (first == 1) queue_forward<1>(context, product, step);
    if (first == 2) queue_forward<2>(context, product, step);
    if (first == 3) queue_forward<3>(context, product, step);
    if (first == 4) queue_forward<4>(context, product, step);
    if (!rnn_two_products(s.cell)) continue;
    step.of.second = true;
    queue_forward<1>(context, layer.product({step.extra, H, H, step.extra, H}, k, s.u + first * H * H), step);
  }
}

template <class T>
void backward(const RnnShape<T>& s, const RnnBackward<T>& b, Context& context) {
  const Layer<T> layer(s);
  const int64_t H = s.hidden, size = layer.rows_size, width = layer.width, inner = width - H;
  const auto queue = [&](const StepProduct<T>& product, const BackwardStep<T>& step) {
    with_step_tile<T, StateWeights<T>>(s.batch, H, [&]<class Tile>(Tile, unsigned blocks) {
      run("recurrent_grad", context, rnn_backward_step<T, Tile>, dim3(blocks), dim3(kRnnThreads), 0, product, step);
    });
  };
  // What the dz of a step give to the state before it.
  const auto given_by = [&](int64_t step) {
    const int64_t t = layer.time(step);
    const T* dz = b.dz + t * s.batch * width;
    if (s.cell == RnnCell::gru) return layer.product({dz, width, inner, b.dextra + t * size, H}, width, s.u);
    return layer.product({dz, width, width, dz, width}, rnn_two_products(s.cell) ? inner : width, s.u);
  };
  BackwardStep<T> step{};
  for (int64_t i = s.steps - 1; i >= 0; --i) {
    const int64_t t = layer.time(i), from = layer.slot(i), to = layer.slot(i + 1);
    T* dz = b.dz + t * s.batch * width;
    step = {layer.of(i, false, true),
            false,
            b.gates + t * s.batch * width,
            b.h + from * size,
            b.h + to * size,
            of_step(b.c, from, size),
            of_step(b.c, to, size),
            of_step(b.extra, t, size),
            of_step(b.g, t, size),
            b.dh,
            b.dc,
            dz,
            of_step(b.dextra, t, size),
            width};
    queue(i + 1 < s.steps ? given_by(i + 1) : layer.product({dz, width, width, dz, width}, 0, s.u), step);
    if (!rnn_two_products(s.cell)) continue;
    step.of.second = true;
    queue(layer.product({dz + inner, width, H, dz, width}, H, s.u + inner * H), step);
  }
  if (!b.to_start || s.steps == 0) return;
  step.start = true;
  queue(given_by(0), step);
}

int64_t packed_size(RnnCell, int64_t) { return 0; }

template <class T>
void pack(RnnCell, int64_t, const T*, T*, Context&) {}

template <class T>
bool reads_inputs(const RnnShape<T>&, int64_t) {
  return false;
}

template <class T>
inline constexpr RnnKernels<T> kRnn = {reads_inputs<T>, packed_size, pack<T>, forward<T>, backward<T>};

}  // namespace

const RnnKernels<float> rnn_f32 = kRnn<float>;
const RnnKernels<double> rnn_f64 = kRnn<double>;

}  // namespace dc::cuda
