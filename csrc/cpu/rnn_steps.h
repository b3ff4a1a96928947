// What the passes of a recurrent layer share: registers of units, the order of steps and their share among threads,
// packed weights; see rnn.cpp.
#pragma once
#include "core/parallel.h"
#include "cpu/rnn_product.h"
#include "cpu/simd/twin.h"
#include "kernels/rnn.h"
#include "kernels/rnn_cells.h"

namespace dc::DC_ISA {
namespace {

constexpr int64_t kRowsAPiece = 16;       // sequences that make a thread of their own worth reading all of u
constexpr int64_t kSerialStep = 1 << 16;  // multiply-adds of a step below which threads cost more than they bring

template <class T>
struct TwinLanes {
  using V = Twin<Vec<T>>;
  DC_INLINE V load(const T* p) const { return {Vec<T>::load(p), Vec<T>::load(p + Vec<T>::W)}; }
  DC_INLINE void store(T* p, V v) const {
    v.a.store(p);
    v.b.store(p + Vec<T>::W);
  }
};
template <class T>
struct WholeLanes {
  using V = Vec<T>;
  DC_INLINE V load(const T* p) const { return V::load(p); }
  DC_INLINE void store(T* p, V v) const { v.store(p); }
};
template <class T>
struct SomeLanes {
  using V = Vec<T>;
  int n;
  DC_INLINE V load(const T* p) const { return V::load_n(p, n); }
  DC_INLINE void store(T* p, V v) const { v.store_n(p, n); }
};

// f(lanes, a value of their type, j) for all of n units.
template <class T, class F>
DC_INLINE void for_lanes(int64_t n, const F& f) {
  constexpr int W = Vec<T>::W;
  int64_t j = 0;
  for (; j + 2 * W <= n; j += 2 * W) f(TwinLanes<T>{}, Twin<Vec<T>>{}, j);
  for (; j + W <= n; j += W) f(WholeLanes<T>{}, Vec<T>{}, j);
  if (j < n) f(SomeLanes<T>{static_cast<int>(n - j)}, Vec<T>{}, j);
}

template <class T>
DC_INLINE void fetch(const T* p, int64_t n) {
  for (int64_t j = 0; j < n; j += 64 / sizeof(T)) __builtin_prefetch(p + j);
  __builtin_prefetch(p + n - 1);
}

// A pointer to a later number, if there is an array.
template <class T>
DC_INLINE T* moved(T* p, int64_t by) {
  return p ? p + by : p;
}

// What a stage of a step goes over.
enum class Over { hidden, state, rows };  // blocks of the cell's units, of units of h, sequences
struct Stages {
  int count;
  Over over[3];
};

template <class T>
struct Layer {
  const RnnShape<T>& s;
  int64_t width, blocks, h_blocks, h_step, c_step;  // gates hidden, blocks of units, sizes of a step's h and c
  Layer(const RnnShape<T>& shape)
      : s(shape),
        width(rnn_gates(shape.cell) * shape.hidden),
        blocks(ceil_div(shape.hidden, kTileColumns)),
        h_blocks(ceil_div(shape.size, kTileColumns)),
        h_step(shape.batch * shape.size),
        c_step(shape.batch * shape.hidden) {}

  int64_t time(int64_t step) const { return s.reverse ? s.steps - 1 - step : step; }
  int64_t slot(int64_t step) const { return s.reverse ? s.steps - step : step; }
  bool takes_part(int64_t row, int64_t step) const { return !s.lengths || time(step) < s.lengths[row]; }
  // Blocks [u0, u1) are taken there and back, step by step, so that the panels read last are still in L2.
  int64_t block_at(int64_t turn, int64_t step, int64_t u0, int64_t u1) const {
    return step % 2 ? u0 + u1 - 1 - turn : turn;
  }
  int64_t units(int64_t block) const { return min64(kTileColumns, s.hidden - block * kTileColumns); }
  int64_t h_units(int64_t block) const { return min64(kTileColumns, s.size - block * kTileColumns); }

  RnnCellOptions<T> options(bool keep, int64_t gates_step, int64_t sums_step) const {
    return {s.gate,
            {s.slope[0], s.slope[1], s.slope[2]},
            s.peephole,
            s.bias_h,
            s.hidden,
            gates_step,
            sums_step,
            keep,
            s.zoned_h(),
            s.zoned_c(),
            s.norm && rnn_has_c(s.cell),
            rnn_output_gate(s.cell),
            s.mix_h,
            s.mix_c};
  }

  // Threads that can have whole sequences.
  int64_t pieces() const { return min64(thread_count(), s.batch / kRowsAPiece); }
  bool serial() const { return thread_count() == 1 || s.batch * s.size * width < kSerialStep; }
  bool by_rows() const { return pieces() >= min64(thread_count(), blocks); }

  // stage(step, which, rows, blocks) in order of steps, from the first or from the last.
  template <class F>
  void run(Context& context, bool forwards, const Stages& stages, const F& stage) const {
    const auto blocks_of = [&](int k) {
      return stages.over[k] == Over::hidden ? blocks : stages.over[k] == Over::state ? h_blocks : int64_t{1};
    };
    const auto all_steps = [&](int64_t r0, int64_t r1) {
      for (int64_t i = 0; i < s.steps; ++i)
        for (int k = 0; k < stages.count; ++k)
          stage(forwards ? i : s.steps - 1 - i, k, r0, r1, int64_t{0}, blocks_of(k));
    };
    if (serial()) {
      all_steps(0, s.batch);
    } else if (by_rows()) {
      parallel_for(context, s.batch, ceil_div(s.batch, pieces()), all_steps);
    } else {
      for (int64_t i = 0; i < s.steps; ++i)
        for (int k = 0; k < stages.count; ++k)
          shared(context, stages.over[k], blocks_of(k), [&](int64_t r0, int64_t r1, int64_t u0, int64_t u1) {
            stage(forwards ? i : s.steps - 1 - i, k, r0, r1, u0, u1);
          });
    }
  }

 private:
  // One stage of a step by all threads.
  template <class F>
  void shared(Context& context, Over over, int64_t count, const F& part) const {
    if (over == Over::rows)
      return parallel_for(context, s.batch, ceil_div(int64_t{1} << 12, width),
                          [&](int64_t r0, int64_t r1) { part(r0, r1, int64_t{0}, count); });
    // Two halves of the rows of a block, where they are tiles of their own, so that threads end together.
    const int64_t halves = s.batch > kTileRows ? 2 : 1, middle = halves == 2 ? ceil_div(s.batch, 2) : s.batch;
    parallel_for(context, count * halves, ceil_div(count * halves, thread_count()), [&](int64_t begin, int64_t end) {
      const int64_t u0 = ceil_div(begin, halves), u1 = end / halves;
      if (begin % halves) part(middle, s.batch, u0 - 1, u0);
      if (u0 < u1) part(int64_t{0}, s.batch, u0, u1);
      if (end % halves) part(int64_t{0}, middle, u1, u1 + 1);
    });
  }
};

// Weights (groups rows, from) as panels [group][block of rows][from][kTileColumns].
inline int64_t panels_size(int64_t groups, int64_t rows, int64_t from) {
  return groups * ceil_div(rows, kTileColumns) * kTileColumns * from;
}

template <class T>
void pack_panels(int64_t groups, int64_t rows, int64_t from, const T* weights, T* packed, Context& context) {
  const int64_t blocks = ceil_div(rows, kTileColumns);
  parallel_for(context, groups * blocks, ceil_div(1 << 14, max64(1, from * kTileColumns)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t group = i / blocks, row = i % blocks * kTileColumns;
                   pack_b_panel(weights + (group * rows + row) * from, int64_t{1}, from, from,
                                min64(kTileColumns, rows - row), packed + i * from * kTileColumns);
                 }
               });
}

// Weights (rows, columns) as panels [block of columns][rows][kTileColumns]: for products with their transpose.
template <class T>
void pack_transposed(int64_t rows, int64_t columns, const T* weights, T* packed, Context& context) {
  const int64_t panel = rows * kTileColumns;
  parallel_for(context, ceil_div(columns, kTileColumns), ceil_div(1 << 14, max64(1, panel)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t u = begin; u < end; ++u)
                   pack_b_panel(weights + u * kTileColumns, columns, int64_t{1}, rows,
                                min64(kTileColumns, columns - u * kTileColumns), packed + u * panel);
               });
}

inline int64_t packed_u_size(RnnCell cell, int64_t hidden, int64_t size) {
  return panels_size(rnn_gates(cell), hidden, size);
}

}  // namespace
}  // namespace dc::DC_ISA
