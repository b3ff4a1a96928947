// Recurrent layers, step by step: formulas and layouts in kernels/rnn.h, cells in kernels/rnn_cells.h.
// A block is kTileColumns units; u is packed once a call as a panel [from][kTileColumns] for each gate and block
// (backward: [gates, to][kTileColumns] for each block), and so is w where the steps make W x + b. A step of a block and
// of a tile of rows is one register tile per gate (gemm_micro.h) into sums in L1, and the cell on these sums while they
// are there. Sequences are shared out among threads where there are enough of them, each thread taking all steps of its
// own without waiting; else the blocks of every step, or halves of them. Sums run over k in order for any number of
// rows, so that neither the share nor the batch changes a bit. Bound by FMA issue; with few sequences by reading u.
#include "kernels/rnn.h"

#include "core/parallel.h"
#include "cpu/rnn_product.h"
#include "cpu/simd/twin.h"
#include "kernels/rnn_cells.h"

namespace dc::DC_ISA {
namespace {

constexpr int64_t kRowsAPiece = 16;       // sequences that make a thread of their own worth reading all of u
constexpr int64_t kSerialStep = 1 << 16;  // multiply-adds of a step below which threads cost more than they bring
constexpr int64_t kInputBytes = 1 << 21;  // panels of W and U with which W x + b is made step by step: L2 holds most
constexpr int64_t kTilesAtOnce = 8;       // tiles of rows that meet a piece of a panel in turn

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

template <class T>
struct Layer {
  const RnnShape<T>& s;
  int64_t width, blocks, rows_size;  // gates hidden, blocks of units, batch hidden
  Layer(const RnnShape<T>& shape)
      : s(shape),
        width(rnn_gates(shape.cell) * shape.hidden),
        blocks(ceil_div(shape.hidden, kTileColumns)),
        rows_size(shape.batch * shape.hidden) {}

  int64_t time(int64_t step) const { return s.reverse ? s.steps - 1 - step : step; }
  int64_t slot(int64_t step) const { return s.reverse ? s.steps - step : step; }
  bool takes_part(int64_t row, int64_t step) const { return !s.lengths || time(step) < s.lengths[row]; }
  // Blocks [u0, u1) are taken there and back, step by step, so that the panels read last are still in L2.
  int64_t block_at(int64_t turn, int64_t step, int64_t u0, int64_t u1) const {
    return step % 2 ? u0 + u1 - 1 - turn : turn;
  }
  int64_t units(int64_t block) const { return min64(kTileColumns, s.hidden - block * kTileColumns); }

  RnnCellOptions<T> options(bool keep, int64_t gates_step) const {
    return {s.gate, {s.slope[0], s.slope[1], s.slope[2]}, s.peephole, s.bias_h, s.hidden, gates_step, kSumsStep, keep};
  }

  // Threads that can have whole sequences.
  int64_t pieces() const { return min64(thread_count(), s.batch / kRowsAPiece); }
  bool serial() const { return thread_count() == 1 || s.batch * s.hidden * width < kSerialStep; }
  bool by_rows() const { return pieces() >= min64(thread_count(), blocks); }

  // stages(step, rows, blocks, stage) in order of steps, from the first or from the last.
  template <class F>
  void run(Context& context, bool forwards, int stages, const F& stage) const {
    const int threads = thread_count();
    const auto all_steps = [&](int64_t r0, int64_t r1) {
      for (int64_t i = 0; i < s.steps; ++i)
        for (int k = 0; k < stages; ++k) stage(forwards ? i : s.steps - 1 - i, k, r0, r1, int64_t{0}, blocks);
    };
    if (serial()) {
      all_steps(0, s.batch);
    } else if (by_rows()) {
      parallel_for(context, s.batch, ceil_div(s.batch, pieces()), all_steps);
    } else {
      // Two halves of the rows of a block, where they are tiles of their own, so that threads end together.
      const int64_t halves = s.batch > kTileRows ? 2 : 1, middle = halves == 2 ? ceil_div(s.batch, 2) : s.batch;
      for (int64_t i = 0; i < s.steps; ++i)
        for (int k = 0; k < stages; ++k)
          parallel_for(context, blocks * halves, ceil_div(blocks * halves, threads), [&](int64_t begin, int64_t end) {
            const int64_t step = forwards ? i : s.steps - 1 - i, u0 = ceil_div(begin, halves), u1 = end / halves;
            if (begin % halves) stage(step, k, middle, s.batch, u0 - 1, u0);
            if (u0 < u1) stage(step, k, int64_t{0}, s.batch, u0, u1);
            if (end % halves) stage(step, k, int64_t{0}, middle, u1, u1 + 1);
          });
    }
  }
};

// ---- forward ----
// Weights (gates hidden, from) as panels [gate][block][from][kTileColumns].
int64_t packed_size(RnnCell cell, int64_t hidden, int64_t from) {
  return rnn_gates(cell) * ceil_div(hidden, kTileColumns) * kTileColumns * from;
}

template <class T>
void pack(RnnCell cell, int64_t hidden, int64_t from, const T* weights, T* packed, Context& context) {
  const int64_t blocks = ceil_div(hidden, kTileColumns);
  parallel_for(context, rnn_gates(cell) * blocks, ceil_div(1 << 14, max64(1, from * kTileColumns)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t gate = i / blocks, unit = i % blocks * kTileColumns;
                   pack_b_panel(weights + (gate * hidden + unit) * from, int64_t{1}, from, from,
                                min64(kTileColumns, hidden - unit), packed + i * from * kTileColumns);
                 }
               });
}

// Where each thread takes whole sequences, tiles are full and the panels stay in L2, W x + b saves its way to memory
// and back. Whole panels, so that those of W are the ones of the matrix product.
template <class T>
bool reads_inputs(const RnnShape<T>& s, int64_t size) {
  const Layer<T> layer(s);
  const int64_t rows = layer.serial() ? s.batch : layer.by_rows() ? s.batch / layer.pieces() : 0;
  const int64_t bytes = layer.width * (size + s.hidden) * static_cast<int64_t>(sizeof(T));
  return !rnn_two_products(s.cell) && s.hidden % kTileColumns == 0 && rows >= 2 * kTileRows && bytes <= kInputBytes;
}

template <RnnCell kCell, class T>
void forward_steps(const RnnShape<T>& s, const RnnForward<T>& f, Context& context) {
  constexpr int kGates = rnn_gates(kCell), kFirst = rnn_two_products(kCell) ? kGates - 1 : kGates;
  const Layer<T> layer(s);
  const T* panels = s.packed;
  if (!panels) {
    T* own = static_cast<T*>(thread_scratch(3, packed_size(s.cell, s.hidden, s.hidden) * sizeof(T)));
    pack(s.cell, s.hidden, s.hidden, s.u, own, context);
    panels = own;
  }
  const RnnInputs<T>* inputs = f.inputs;
  const T* w_panels = inputs ? inputs->packed : nullptr;
  if (inputs && !w_panels) {
    T* own = static_cast<T*>(thread_scratch(4, packed_size(s.cell, s.hidden, inputs->size) * sizeof(T)));
    pack(s.cell, s.hidden, inputs->size, inputs->w, own, context);
    w_panels = own;
  }
  const bool apart = inputs && !f.keep;  // W x + b lies beside the sums, and nowhere else
  const auto options = layer.options(f.keep, apart ? kSumsStep : s.hidden);
  const int64_t H = s.hidden, panel_step = layer.blocks * H * kTileColumns;
  layer.run(context, true, rnn_two_products(kCell) ? 2 : 1,
            [&](int64_t step, int second, int64_t r0, int64_t r1, int64_t u0, int64_t u1) {
              alignas(64) T sums[kGates * kSumsStep], beside[kGates * kSumsStep];
              const int64_t t = layer.time(step);
              const T* before = f.h + layer.slot(step) * layer.rows_size;
              T* h = f.h + layer.slot(step + 1) * layer.rows_size;
              T* gates = apart ? nullptr : f.gates + t * s.batch * layer.width;
              T* extra = f.extra ? f.extra + (f.keep ? t * layer.rows_size : 0) : nullptr;
              const T* c_before = f.c ? f.c + (f.keep ? layer.slot(step) * layer.rows_size : 0) : nullptr;
              T* c = f.c ? f.c + (f.keep ? layer.slot(step + 1) * layer.rows_size : 0) : nullptr;
              const T* a = second ? extra : before;
              const int first_gate = second ? kFirst : 0, gate_end = second ? kGates : kFirst;
              const Tiles tiles(r0, r1, H * static_cast<int64_t>(sizeof(T)));
              for (int64_t turn = u0; turn < u1; ++turn) {
                const int64_t u = layer.block_at(turn, step, u0, u1), unit = u * kTileColumns, n = layer.units(u);
                for (int64_t i = 0; i < tiles.count; ++i) {
                  const int64_t row = tiles.row(i), rows = tiles.rows(i);
                  const int64_t k = f.at_rest && step == 0 ? 0 : H;
                  const T* panel = panels + (first_gate * layer.blocks + u) * H * kTileColumns;
                  for (int g = 0; inputs && g < kGates; ++g) {
                    const int64_t size = inputs->size;
                    const Part<T> part{inputs->x + t * s.batch * size, size, size,
                                       w_panels + (g * layer.blocks + u) * size * kTileColumns};
                    multiply(&part, 1, row, rows, n,
                             apart ? beside + g * kSumsStep : gates + row * layer.width + g * H + unit,
                             apart ? kTileColumns : layer.width, inputs->bias ? inputs->bias + g * H + unit : nullptr);
                  }
                  if (rows == 1 && !second) multiply_row<T, kFirst>(a + row * H, k, panel, panel_step, sums);
                  for (int g = first_gate; g < gate_end && (rows > 1 || second); ++g, panel += panel_step) {
                    // What the cell reads lies in short runs that the machine does not look ahead for; the panels of
                    // earlier gates would drive it out of L1 again.
                    for (int64_t r = row; r < row + rows && g + 1 == gate_end; ++r) {
                      for (int other = first_gate; other < kGates && !inputs; ++other)
                        fetch(gates + r * layer.width + other * H + unit, n);
                      if (c_before) fetch(c_before + r * H + unit, n);
                      if (c) fetch(c + r * H + unit, n);
                      fetch(h + r * H + unit, n);
                    }
                    const Part<T> part{a, H, k, panel};
                    multiply(&part, 1, row, rows, n, sums + (g - first_gate) * kSumsStep);
                  }
                  for (int64_t r = row; r < row + rows; ++r) {
                    const int64_t o = r * H + unit;
                    if (!layer.takes_part(r, step)) {
                      for (int64_t j = 0; j < n && !second; ++j) {
                        h[o + j] = before[o + j];
                        if (c) c[o + j] = c_before[o + j];
                        if (extra) extra[o + j] = T(0);
                      }
                      continue;
                    }
                    for_lanes<T>(n, [&]<class V>(const auto& lanes, V, int64_t j) {
                      const RnnAt<T> at{
                          (apart ? beside + (r - row) * kTileColumns : gates + r * layer.width + unit) + j,
                          sums + (r - row) * kTileColumns + j,
                          before + o + j,
                          h + o + j,
                          c_before ? c_before + o + j : nullptr,
                          c ? c + o + j : nullptr,
                          extra ? extra + o + j : nullptr,
                          unit + j};
                      if constexpr (rnn_two_products(kCell))
                        if (second) return rnn_forward_second<kCell, V>(lanes, options, at);
                      rnn_forward<kCell, V>(lanes, options, at);
                    });
                  }
                }
              }
            });
}

// ---- backward ----
template <RnnCell kCell, class T>
void backward_steps(const RnnShape<T>& s, const RnnBackward<T>& b, Context& context) {
  constexpr int kGates = rnn_gates(kCell);
  constexpr bool kTwo = rnn_two_products(kCell);
  const Layer<T> layer(s);
  const int64_t H = s.hidden, width = layer.width, panel = width * kTileColumns;
  T* panels = static_cast<T*>(thread_scratch(3, layer.blocks * panel * sizeof(T)));
  parallel_for(context, layer.blocks, ceil_div(1 << 14, max64(1, panel)), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u)
      pack_b_panel(s.u + u * kTileColumns, H, int64_t{1}, width, layer.units(u), panels + u * panel);
  });
  const auto options = layer.options(true, s.hidden);

  // What the dz of a step give to the state before it, for one block: the parts of the product.
  const auto parts_of = [&](int64_t step, int64_t u, Part<T>(&parts)[2]) {
    const int64_t t = layer.time(step);
    const T* dz = b.dz + t * s.batch * width;
    const T* own = panels + u * panel;
    if constexpr (kCell == RnnCell::gru) {
      parts[0] = {dz, width, 2 * H, own};
      parts[1] = {b.dextra + t * layer.rows_size, H, H, own + 2 * H * kTileColumns};
      return 2;
    }
    parts[0] = {dz, width, kTwo ? width - H : width, own};
    return 1;
  };
  // f(row, rows, sums) for all tiles of rows, a few at a time.
  const auto for_tiles = [&](const Tiles& tiles, const Part<T>* parts, int count, int64_t n, const auto& f) {
    alignas(64) T sums[kTilesAtOnce * kSumsStep];
    for (int64_t i0 = 0; i0 < tiles.count; i0 += kTilesAtOnce) {
      const int64_t i1 = min64(tiles.count, i0 + kTilesAtOnce);
      for (int64_t i = i0; i < i1; ++i)
        multiply(parts, count, tiles.row(i), tiles.rows(i), n, sums + (i - i0) * kSumsStep);
      for (int64_t i = i0; i < i1; ++i) f(tiles.row(i), tiles.rows(i), sums + (i - i0) * kSumsStep);
    }
  };
  const auto tiles_of = [&](int64_t r0, int64_t r1) { return Tiles(r0, r1, width * static_cast<int64_t>(sizeof(T))); };

  layer.run(context, false, kTwo ? 2 : 1,
            [&](int64_t step, int second, int64_t r0, int64_t r1, int64_t u0, int64_t u1) {
              const int64_t t = layer.time(step), at_slot = layer.slot(step) * layer.rows_size;
              const int64_t to_slot = layer.slot(step + 1) * layer.rows_size;
              const Tiles tiles = tiles_of(r0, r1);
              for (int64_t turn = u0; turn < u1; ++turn) {
                const int64_t u = layer.block_at(turn, step, u0, u1), unit = u * kTileColumns, n = layer.units(u);
                Part<T> parts[2] = {};
                int count = 1;
                if (second) {
                  parts[0] = {b.dz + t * s.batch * width + width - H, width, H,
                              panels + u * panel + (width - H) * kTileColumns};
                } else if (step + 1 < s.steps) {
                  count = parts_of(step + 1, u, parts);
                }
                for_tiles(tiles, parts, count, n, [&](int64_t row, int64_t rows, const T* sums) {
                  for (int64_t r = row; r < row + rows; ++r, sums += kTileColumns) {
                    const int64_t o = r * H + unit;
                    T* dz = b.dz + (t * s.batch + r) * width + unit;
                    T* dextra = b.dextra ? b.dextra + t * layer.rows_size + o : nullptr;
                    if (!layer.takes_part(r, step)) {
                      for (int64_t j = 0; j < n && !second; ++j) {
                        b.dh[o + j] += sums[j];
                        for (int g = 0; g < kGates; ++g) dz[g * H + j] = T(0);
                        if (dextra) dextra[j] = T(0);
                      }
                      continue;
                    }
                    for_lanes<T>(n, [&]<class V>(const auto& lanes, V, int64_t j) {
                      const RnnGradAt<T> at{b.gates + (t * s.batch + r) * width + unit + j,
                                            b.h + at_slot + o + j,
                                            b.h + to_slot + o + j,
                                            b.c ? b.c + at_slot + o + j : nullptr,
                                            b.c ? b.c + to_slot + o + j : nullptr,
                                            b.extra ? b.extra + t * layer.rows_size + o + j : nullptr,
                                            b.dh + o + j,
                                            b.dc ? b.dc + o + j : nullptr,
                                            dz + j,
                                            dextra ? dextra + j : nullptr,
                                            unit + j};
                      const V sum = lanes.load(sums + j);
                      if constexpr (kTwo)
                        if (second) return rnn_backward_second<kCell, V>(lanes, options, at, sum);
                      V g = sum + lanes.load(at.dh);
                      if (b.g) g = g + lanes.load(b.g + t * layer.rows_size + o + j);
                      rnn_backward<kCell, V>(lanes, options, at, g);
                    });
                  }
                });
              }
            });
  if (!b.to_start || s.steps == 0) return;
  const Tiles tiles = tiles_of(0, s.batch);
  parallel_for(context, layer.blocks, ceil_div(layer.blocks, thread_count()), [&](int64_t u0, int64_t u1) {
    for (int64_t u = u0; u < u1; ++u) {
      Part<T> parts[2];
      const int count = parts_of(0, u, parts);
      const int64_t n = layer.units(u);
      for_tiles(tiles, parts, count, n, [&](int64_t row, int64_t rows, const T* sums) {
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t j = 0; j < n; ++j) b.dh[(row + r) * H + u * kTileColumns + j] += sums[r * kTileColumns + j];
      });
    }
  });
}

int64_t packed_u_size(RnnCell cell, int64_t hidden) { return packed_size(cell, hidden, hidden); }

template <class T>
void pack_u(RnnCell cell, int64_t hidden, const T* u, T* packed, Context& context) {
  pack(cell, hidden, hidden, u, packed, context);
}

// Calls f with the cell as a constant.
template <class F>
void with_cell(RnnCell cell, const F& f) {
  switch (cell) {
#define DC_CELL(name) \
  case RnnCell::name: \
    return f.template operator()<RnnCell::name>();
    DC_CELL(tanh)
    DC_CELL(relu)
    DC_CELL(lstm)
    DC_CELL(coupled)
    DC_CELL(gru)
    DC_CELL(gru_before)
    DC_CELL(mgu)
#undef DC_CELL
  }
}

template <class T>
void forward(const RnnShape<T>& s, const RnnForward<T>& f, Context& context) {
  with_cell(s.cell, [&]<RnnCell kCell>() { forward_steps<kCell>(s, f, context); });
}
template <class T>
void backward(const RnnShape<T>& s, const RnnBackward<T>& b, Context& context) {
  with_cell(s.cell, [&]<RnnCell kCell>() { backward_steps<kCell>(s, b, context); });
}

}  // namespace

extern const RnnKernels<float> rnn_f32;
const RnnKernels<float> rnn_f32 = {reads_inputs<float>, packed_u_size, pack_u<float>, forward<float>, backward<float>};
#ifdef DC_ISA_SCALAR
extern const RnnKernels<double> rnn_f64;
const RnnKernels<double> rnn_f64 = {reads_inputs<double>, packed_u_size, pack_u<double>, forward<double>,
                                    backward<double>};
#endif

}  // namespace dc::DC_ISA
