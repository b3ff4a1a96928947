// Recurrent layers, step by step: formulas and layouts in kernels/rnn.h, cells in kernels/rnn_cells.h.
// A block is kTileColumns units; u is packed once a call as a panel [from][kTileColumns] for each gate and block
// (backward: [gates, to][kTileColumns] for each block), and so is w where the steps make W x + b. A step of a block and
// of a tile of rows is one register tile per gate (gemm_micro.h) into sums in L1, and the cell on these sums while they
// are there. Sequences are shared out among threads where there are enough of them, each thread taking all steps of its
// own without waiting; else the blocks of every step, or halves of them. Sums run over k in order for any number of
// rows, so that neither the share nor the batch changes a bit. A projection is one more product a step, over the units
// of h; norm needs whole rows between the products and the cell. Bound by FMA issue; with few sequences by reading u.
#include "kernels/rnn.h"

#include "cpu/rnn_backward.h"
#include "cpu/rnn_forward.h"

namespace dc::DC_ISA {
namespace {

constexpr int64_t kInputBytes = 1 << 21;  // panels of W and U with which W x + b is made step by step: L2 holds most

// Where each thread takes whole sequences, tiles are full and the panels stay in L2, W x + b saves its way to memory
// and back. Whole panels, so that those of W are the ones of the matrix product.
template <class T>
bool reads_inputs(const RnnShape<T>& s, int64_t inputs) {
  const Layer<T> layer(s);
  const int64_t rows = layer.serial() ? s.batch : layer.by_rows() ? s.batch / layer.pieces() : 0;
  const int64_t bytes = layer.width * (inputs + s.size) * static_cast<int64_t>(sizeof(T));
  return !rnn_two_products(s.cell) && !s.norm && s.hidden % kTileColumns == 0 && rows >= 2 * kTileRows &&
         bytes <= kInputBytes;
}

template <class T>
int64_t packed_size(const RnnShape<T>& s) {
  return packed_u_size(s.cell, s.hidden, s.size) + (s.projection ? panels_size(1, s.size, s.hidden) : 0);
}

template <class T>
void pack(const RnnShape<T>& s, T* packed, Context& context) {
  pack_panels(rnn_gates(s.cell), s.hidden, s.size, s.u, packed, context);
  if (s.projection)
    pack_panels(1, s.size, s.hidden, s.projection, packed + packed_u_size(s.cell, s.hidden, s.size), context);
}

// Calls f with the cell as a constant.
template <class F>
void with_cell(RnnCell cell, const F& f) {
  switch (cell) {
#define DC_CELL(name) \
  case RnnCell::name: \
    return f.template operator()<RnnCell::name>();
    DC_RNN_CELLS(DC_CELL)
#undef DC_CELL
  }
}

template <class T>
void forward(const RnnShape<T>& s, const RnnForward<T>& f, Context& context) {
  ForwardPanels<T> panels{s.packed, nullptr, f.inputs ? f.inputs->packed : nullptr};
  if (!panels.u) {
    T* own = scratch<T>(3, packed_size(s));
    pack(s, own, context);
    panels.u = own;
  }
  panels.projection = panels.u + packed_u_size(s.cell, s.hidden, s.size);
  if (f.inputs && !panels.w) {
    const int gates = rnn_gates(s.cell);
    T* own = scratch<T>(4, panels_size(gates, s.hidden, f.inputs->size));
    pack_panels(gates, s.hidden, f.inputs->size, f.inputs->w, own, context);
    panels.w = own;
  }
  with_cell(s.cell, [&]<RnnCell kCell>() { ForwardSteps<kCell, T>(s, f, panels).run(context); });
}

template <class T>
void backward(const RnnShape<T>& s, const RnnBackward<T>& b, Context& context) {
  const int64_t width = rnn_gates(s.cell) * s.hidden, of_u = panels_size(1, s.size, width);
  T* panels = scratch<T>(3, of_u + (s.projection ? panels_size(1, s.hidden, s.size) : 0));
  pack_transposed(width, s.size, s.u, panels, context);
  if (s.projection) pack_transposed(s.size, s.hidden, s.projection, panels + of_u, context);
  with_cell(s.cell, [&]<RnnCell kCell>() { BackwardSteps<kCell, T>(s, b, panels, panels + of_u).run(context); });
}

}  // namespace

extern const RnnKernels<float> rnn_f32;
const RnnKernels<float> rnn_f32 = {reads_inputs<float>, packed_size<float>, pack<float>, forward<float>,
                                   backward<float>};
#ifdef DC_ISA_SCALAR
extern const RnnKernels<double> rnn_f64;
const RnnKernels<double> rnn_f64 = {reads_inputs<double>, packed_size<double>, pack<double>, forward<double>,
                                    backward<double>};
#endif

}  // namespace dc::DC_ISA
