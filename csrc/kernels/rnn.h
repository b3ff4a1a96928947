// Recurrent family: the part of a recurrent layer that goes step by step.
//
// W x_t + b of all steps comes from one product before, or, where the weights of a step stay in L2, from the step. Sums
// z_g = (W x_t + b)_g + U_g h_{t-1} of gate g give
//   tanh, relu   h = f(z)
//   lstm         i, f, o = s(z), g = tanh(z_g); c = f c' + i g; h = o tanh(c)             gates i, f, g, o
//                with peepholes p: i and f see c' too, o sees c (Gers, Schmidhuber, 2000)
//   coupled      lstm with i = 1 - f (Greff et al., 2017)                                 gates f, g, o
//   gru          r, z = s(z); n = tanh((W x)_n + r (U_n h' + b_h)); h = (1 - z) n + z h'  gates r, z, n
//   gru_before   n = tanh((W x)_n + U_n (r h')) instead (Cho et al., 2014)                gates r, z, n
//   mgu          f = s(z); n = tanh((W x)_n + U_n (f h')); h = (1 - f) h' + f n           gates f, n
//                (Zhou et al., 2016)
// where h', c' are the state before and s is, with a slope k for each gate,
//   sigmoid      1 / (1 + e^(-k z))
//   hard         clip(k z / 4 + 1 / 2, 0, 1), which touches the sigmoid at 0
//   binary       1 where z > 0, else 0; its derivative is that of hard (straight through, Bengio et al., 2013)
//
// Layout: time first. u is (gates, hidden, hidden), gate after gate, U[g][to][from]; arrays of steps are contiguous,
// (steps, batch, ...). `h` and `c` have a slot for the state before the first step as well: with s counting steps in
// the order they are taken, step s reads slot s and writes slot s + 1; reversed, it reads slot steps - s and writes
// slot steps - s - 1. So slots [1, steps + 1), or [0, steps), are the outputs, and the others what each step saw.
// Sequence b takes part in steps t < lengths[b] only: elsewhere slots repeat its state, g is not read and dz is 0.
#pragma once
#include "kernel.h"

namespace dc {

enum class RnnCell : int32_t { tanh = 0, relu = 1, lstm = 2, coupled = 3, gru = 4, gru_before = 5, mgu = 6 };
enum class RnnGate : int32_t { sigmoid = 0, hard = 1, binary = 2 };

constexpr int rnn_gates(RnnCell cell) {
  switch (cell) {
    case RnnCell::tanh:
    case RnnCell::relu:
      return 1;
    case RnnCell::lstm:
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
    case RnnCell::gru:
    case RnnCell::gru_before:
      return 2;
    case RnnCell::mgu:
      return 1;
  }
  return 0;
}
constexpr bool rnn_has_c(RnnCell cell) { return cell == RnnCell::lstm || cell == RnnCell::coupled; }
// Whether the last gate's product is with a state that the gates before it have changed.
constexpr bool rnn_two_products(RnnCell cell) { return cell == RnnCell::gru_before || cell == RnnCell::mgu; }
// Whether a step keeps one more array: U_n h' + b_h (gru), r h' or f h' (gru_before, mgu).
constexpr bool rnn_has_extra(RnnCell cell) { return cell == RnnCell::gru || rnn_two_products(cell); }
// Peepholes, as rows of one array: of i, f, o (lstm), of f, o (coupled).
constexpr int rnn_peepholes(RnnCell cell) { return cell == RnnCell::lstm ? 3 : cell == RnnCell::coupled ? 2 : 0; }

template <class T>
struct RnnShape {
  int64_t steps, batch, hidden;
  RnnCell cell;
  RnnGate gate;
  bool reverse;
  T slope[3];              // of the gates with a slope, in order
  const int64_t* lengths;  // (batch), each in [0, steps], or null
  const T* u;              // (gates, hidden, hidden)
  const T* peephole;       // (peepholes, hidden) or null
  const T* bias_h;         // gru: (hidden) or null
  const T* packed;         // null or what pack wrote for u
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

template <class T>
struct RnnForward {
  const RnnInputs<T>* inputs;  // null: gates hold W x + b
  T* gates;   // (steps, batch, gates hidden): out, if keep, the gates, where binary ones stand as hard; null if neither
  T* h;       // (steps + 1, batch, hidden): the slot before the first step is given
  T* c;       // (steps + 1, batch, hidden) likewise; if not keep, (batch, hidden), changed in place; null without c
  T* extra;   // (steps, batch, hidden); if not keep, (batch, hidden); null without extra
  bool keep;  // for the backward pass
  bool at_rest;  // the state before the first step is 0
};

template <class T>
struct RnnBackward {
  const T* gates;  // as forward kept them, and the next three
  const T* h;
  const T* c;
  const T* extra;
  const T* g;  // (steps, batch, hidden): cotangents of the outputs, or null
  T* dh;       // (batch, hidden): in, of the last state; out, if to_start, of the first
  T* dc;       // (batch, hidden) likewise; null without c
  T* dz;       // (steps, batch, gates hidden): of W x + b
  T* dextra;   // gru: (steps, batch, hidden), of U_n h' + b_h; else null
  bool to_start;
};

template <class T>
struct RnnKernels {
  // Whether forward takes RnnInputs of this size: the same bits as with W x + b from a product in order.
  Kernel<bool(const RnnShape<T>&, int64_t size)> reads_inputs;
  // Elements of what pack writes: u in the order that forward reads.
  Kernel<int64_t(RnnCell cell, int64_t hidden)> packed_size;
  Kernel<void(RnnCell cell, int64_t hidden, const T* u, T* packed, Context&)> pack;
  Kernel<void(const RnnShape<T>&, const RnnForward<T>&, Context&)> forward;
  Kernel<void(const RnnShape<T>&, const RnnBackward<T>&, Context&)> backward;
};

}  // namespace dc
