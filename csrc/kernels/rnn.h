// Recurrent family: the part of a recurrent layer that goes step by step.
//
// W x_t + b of all steps comes from one product before, or, where the weights of a step stay in L2, from the step. Sums
// z_g = (W x_t + b)_g + U_g h_{t-1} of gate g give
//   tanh, relu   h = f(z)
//   lstm         i, f, o = s(z), g = tanh(z_g); c = f c' + i g; h = o tanh(c)             gates i, f, g, o
//                with peepholes p: i and f see c' too, o sees c (Gers, Schmidhuber, 2000)
//   coupled      lstm with i = 1 - f (Greff et al., 2017)                                 gates f, g, o
//   refined      coupled with f^2 + r (2 f - 2 f^2) for f, r = 1 / (1 + e^(-z_r))         gates f, g, o, r
//                (Gu et al., 2020)
//   gru          r, z = s(z); n = tanh((W x)_n + r (U_n h' + b_h)); h = (1 - z) n + z h'  gates r, z, n
//   gru_before   n = tanh((W x)_n + U_n (r h')) instead (Cho et al., 2014)                gates r, z, n
//   mgu          f = s(z); n = tanh((W x)_n + U_n (f h')); h = (1 - f) h' + f n           gates f, n
//                (Zhou et al., 2016)
// where h', c' are the state before and s is, with a slope k for each gate,
//   sigmoid      1 / (1 + e^(-k z))
//   hard         clip(k z / 4 + 1 / 2, 0, 1), which touches the sigmoid at 0
//   binary       1 where z > 0, else 0; its derivative is that of hard (straight through, Bengio et al., 2013)
//
// Around the cell there may be
//   h_mask       U sees h' h_mask in place of h' (dropout that is the same at all steps: Gal, Ghahramani, 2016)
//   norm         U_g h' is normalised over all gates, gain (v - mean) / sqrt(variance + epsilon) + shift, and so is c
//                where h is made of it (Ba et al., 2016); cells of one product, without peepholes
//   projection   h is projection times what the cell gives (cells with c; Sak et al., 2014)
//   zoneout      the next h, and the next c, stay h', c' where the draw is 0 (Krueger et al., 2017), or are mixed with
//                them: mix h' + (1 - mix) h
//
// Layout: time first. u is (gates, hidden, size), gate after gate, U[g][to][from], where h has `size` units, hidden or
// those of the projection; arrays of steps are contiguous, (steps, batch, ...). `h` and `c` have a slot for the state
// before the first step as well: with s counting steps in the order they are taken, step s reads slot s and writes slot
// s + 1; reversed, it reads slot steps - s and writes slot steps - s - 1. So slots [1, steps + 1), or [0, steps), are
// the outputs, and the others what each step saw. Sequence b takes part in steps t < lengths[b] only: elsewhere slots
// repeat its state, g is not read and dz is 0.
#pragma once
#include "kernel.h"

namespace dc {

enum class RnnCell : int32_t {
  tanh = 0,
  relu = 1,
  lstm = 2,
  coupled = 3,
  gru = 4,
  gru_before = 5,
  mgu = 6,
  refined = 7
};
constexpr int kRnnCells = 8;
enum class RnnGate : int32_t { sigmoid = 0, hard = 1, binary = 2 };

constexpr int rnn_gates(RnnCell cell) {
  switch (cell) {
    case RnnCell::tanh:
    case RnnCell::relu:
      return 1;
    case RnnCell::lstm:
    case RnnCell::refined:
      return 4;
    case RnnCell::coupled:
    case RnnCell::gru:
    case RnnCell::gru_before:
      return 3;
    case RnnCell::mgu:
      return 2;
  }
  return 0;
}
// Gates that have a slope.
constexpr int rnn_slopes(RnnCell cell) {
  switch (cell) {
    case RnnCell::tanh:
    case RnnCell::relu:
      return 0;
    case RnnCell::lstm:
      return 3;
    case RnnCell::coupled:
    case RnnCell::refined:
    case RnnCell::gru:
    case RnnCell::gru_before:
      return 2;
    case RnnCell::mgu:
      return 1;
  }
  return 0;
}
// Whether i = 1 - f.
constexpr bool rnn_coupled(RnnCell cell) { return cell == RnnCell::coupled || cell == RnnCell::refined; }
constexpr bool rnn_has_c(RnnCell cell) { return cell == RnnCell::lstm || rnn_coupled(cell); }
// Whether the last gate's product is with a state that the gates before it have changed.
constexpr bool rnn_two_products(RnnCell cell) { return cell == RnnCell::gru_before || cell == RnnCell::mgu; }
// Whether a step keeps one more array: U_n h' + b_h (gru), r h' or f h' (gru_before, mgu).
constexpr bool rnn_has_extra(RnnCell cell) { return cell == RnnCell::gru || rnn_two_products(cell); }
// Peepholes, as rows of one array: of i, f, o (lstm), of f, o (coupled, refined).
constexpr int rnn_peepholes(RnnCell cell) { return cell == RnnCell::lstm ? 3 : rnn_coupled(cell) ? 2 : 0; }
// Where gate o stands.
constexpr int rnn_output_gate(RnnCell cell) { return cell == RnnCell::lstm ? 3 : 2; }

template <class T>
struct RnnNorm {
  const T* gain_h;  // (gates hidden), and shift_h, of U h'
  const T* shift_h;
  const T* gain_c;  // (hidden), and shift_c, of c; null for cells without
  const T* shift_c;
  T epsilon;
};

template <class T>
struct RnnShape {
  int64_t steps, batch, hidden, size;  // size: of h, rows of the projection, or hidden
  RnnCell cell;
  RnnGate gate;
  bool reverse;
  T slope[3];              // of the gates with a slope, in order
  const int64_t* lengths;  // (batch), each in [0, steps], or null
  const T* u;              // (gates, hidden, size)
  const T* peephole;       // (peepholes, hidden) or null
  const T* bias_h;         // gru: (hidden) or null
  const T* packed;         // null or what pack wrote for u and the projection
  const T* projection;     // (size, hidden) or null
  const T* h_mask;         // (batch, size) or null
  const T* zoneout_h;      // (steps, batch, size): draws, or null
  const T* zoneout_c;      // (steps, batch, hidden) likewise
  T mix_h, mix_c;          // in [0, 1), where there are no draws
  const RnnNorm<T>* norm;  // or null

  bool zoned_h() const { return zoneout_h || mix_h != T(0); }
  bool zoned_c() const { return zoneout_c || mix_c != T(0); }
};

// What W x + b is made of.
template <class T>
struct RnnInputs {
  const T* x;  // (steps, batch, size)
  int64_t size;
  const T* w;       // (gates hidden, size)
  const T* packed;  // null or w as the matrix product packs it
  const T* bias;    // (gates hidden) or null
};

// What the backward pass reads again; P: pointers. Without keep, arrays of all steps hold those of one: (batch, ...).
template <class P>
struct RnnKept {
  // (steps, batch, gates hidden): in, if there are no inputs, W x + b; out, if keep, the gates, where binary ones stand
  // as hard. tanh, relu: out only with zoneout of h, then what the cell gave. Null if neither in nor out.
  P gates;
  P h;      // (steps + 1, batch, size): the slot before the first step is given
  P c;      // (steps + 1, batch, hidden) likewise; if not keep, (batch, hidden), changed in place
  P extra;  // (steps, batch, hidden), of cells with extra; of gru if keep
  P fed;    // slots as of h, with h_mask: h h_mask; that before the first step is given
  P fresh;  // (steps, batch, hidden), with zoneout of c, if keep or norm: c before it
  P out;    // (steps, batch, hidden), with a projection: what the cell gave
  P inner;  // (steps, batch, gates hidden), with norm: U h' before it
  P stats;  // (4, steps, batch), with norm if keep: mean and 1 / deviation of inner, then of c
};
template <class T>
struct RnnForward {
  const RnnInputs<T>* inputs;  // null: gates hold W x + b
  RnnKept<T*> to;
  bool keep;     // for the backward pass
  bool at_rest;  // the state before the first step is 0
};

template <class T>
struct RnnBackward {
  RnnKept<const T*> from;
  const T* g;  // (steps, batch, size): cotangents of the outputs, or null
  T* dh;       // (batch, size): in, of the last state; out, if to_start, of the first
  T* dc;       // (batch, hidden) likewise; null without c
  T* dz;       // (steps, batch, gates hidden): of W x + b
  T* dextra;   // gru: (steps, batch, hidden), of U_n h' + b_h; else null
  T* dfresh;   // with a projection or norm: (steps, batch, size), of h before zoneout
  T* dout;     // with both: (batch, hidden), to work in
  T* dinner;   // with norm: (steps, batch, gates hidden), of U h' before it
  T* dshown;   // with norm, cells with c: (steps, batch, hidden), of c after it
  bool to_start;
};

template <class T>
struct RnnKernels {
  // Whether forward takes RnnInputs of this size: the same bits as with W x + b from a product in order.
  Kernel<bool(const RnnShape<T>&, int64_t size)> reads_inputs;
  // Elements of what pack writes: u, and the projection if there is one, in the order that forward reads.
  Kernel<int64_t(const RnnShape<T>&)> packed_size;
  Kernel<void(const RnnShape<T>&, T* packed, Context&)> pack;
  Kernel<void(const RnnShape<T>&, const RnnForward<T>&, Context&)> forward;
  Kernel<void(const RnnShape<T>&, const RnnBackward<T>&, Context&)> backward;
};

// X(cell) for each of them.
#define DC_RNN_CELLS(X) X(tanh) X(relu) X(lstm) X(coupled) X(gru) X(gru_before) X(mgu) X(refined)

}  // namespace dc
