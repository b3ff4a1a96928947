// The cells of kernels/rnn.h for some units of one sequence at one step, over a value type V: a register of any
// instruction set, or one number of a device. A reads and writes V at an address: a.load(p), a.store(p, v). The
// including file defines DC_INLINE, gate_sigmoid and gate_tanh for V in namespace DC_ISA.
#pragma once
#include "rnn.h"

namespace dc::DC_ISA {

// Where the units of one sequence at one step lie: pointers to the first of them.
template <class T>
struct RnnAt {
  T* gates;         // gate g at gates + g * gates_step
  const T* sums;    // U_g h' at sums + g * sums_step
  const T* before;  // h'
  T* h;
  const T* c_before;
  T* c;
  T* extra;
  int64_t unit;  // of the first
};

template <class T>
struct RnnCellOptions {
  RnnGate gate;
  T slope[3];
  const T* peephole;
  const T* bias_h;
  int64_t hidden, gates_step, sums_step;
  bool keep;
};

template <class V>
static DC_INLINE V rnn_one() {
  return V::set(1);
}

// A gate as it is kept: itself, but for binary ones the hard gate, which also says where the derivative is not 0.
template <class V, class T>
static DC_INLINE V rnn_kept(RnnGate gate, T slope, V z) {
  if (gate == RnnGate::sigmoid) return gate_sigmoid(V::set(slope) * z);
  const V y = fma(V::set(slope * T(0.25)), z, V::set(T(0.5)));
  return select(lt(y, V::zero()), V::zero(), select(gt(y, rnn_one<V>()), rnn_one<V>(), y));
}
template <class V>
static DC_INLINE V rnn_value(RnnGate gate, V kept) {
  if (gate != RnnGate::binary) return kept;
  return select(gt(kept, V::set(0.5)), rnn_one<V>(), select(isnan(kept), kept, V::zero()));
}
// d gate / d z times g.
template <class V, class T>
static DC_INLINE V rnn_gate_grad(RnnGate gate, T slope, V kept, V g) {
  if (gate == RnnGate::sigmoid) return V::set(slope) * g * kept * (rnn_one<V>() - kept);
  return select(gt(kept, V::zero()), select(lt(kept, rnn_one<V>()), V::set(slope * T(0.25)) * g, V::zero()), V::zero());
}

// The sum of gate g.
template <class V, class A, class T>
static DC_INLINE V rnn_sum(const A& a, const RnnCellOptions<T>& o, const RnnAt<T>& at, int g) {
  return a.load(at.sums + g * o.sums_step) + a.load(at.gates + g * o.gates_step);
}

template <class V, class A, class T>
static DC_INLINE void rnn_keep(const A& a, const RnnCellOptions<T>& o, const RnnAt<T>& at, int g, V kept) {
  if (o.keep) a.store(at.gates + g * o.gates_step, kept);
}

// ---- forward ----
// What follows the product with all gates: all of the step, or for cells of two products the gates and `extra`.
template <RnnCell kCell, class V, class A, class T>
static DC_INLINE void rnn_forward(const A& a, const RnnCellOptions<T>& o, const RnnAt<T>& at) {
  if constexpr (kCell == RnnCell::tanh || kCell == RnnCell::relu) {
    const V z = rnn_sum<V>(a, o, at, 0);
    const V h = kCell == RnnCell::tanh ? gate_tanh(z) : select(lt(z, V::zero()), V::zero(), z);
    a.store(at.h, h);
  } else if constexpr (rnn_has_c(kCell)) {
    constexpr bool kCoupled = kCell == RnnCell::coupled;
    constexpr int kF = kCoupled ? 0 : 1, kG = kF + 1, kO = kF + 2;
    const V c_before = a.load(at.c_before);
    const auto peep = [&](int row, V c, V z) {
      return o.peephole ? fma(a.load(o.peephole + row * o.hidden + at.unit), c, z) : z;
    };
    const V f = rnn_kept<V>(o.gate, o.slope[kF], peep(kF, c_before, rnn_sum<V>(a, o, at, kF)));
    const V g = gate_tanh(rnn_sum<V>(a, o, at, kG));
    const V open = rnn_value(o.gate, f);
    V c;
    if constexpr (kCoupled) {
      c = fma(open, c_before - g, g);
    } else {
      const V i = rnn_kept<V>(o.gate, o.slope[0], peep(0, c_before, rnn_sum<V>(a, o, at, 0)));
      c = fma(open, c_before, rnn_value(o.gate, i) * g);
      rnn_keep<V>(a, o, at, 0, i);
    }
    const V out = rnn_kept<V>(o.gate, o.slope[kF + 1], peep(kF + 1, c, rnn_sum<V>(a, o, at, kO)));
    rnn_keep<V>(a, o, at, kF, f);
    rnn_keep<V>(a, o, at, kG, g);
    rnn_keep<V>(a, o, at, kO, out);
    a.store(at.c, c);
    a.store(at.h, rnn_value(o.gate, out) * gate_tanh(c));
  } else if constexpr (kCell == RnnCell::gru) {
    const V r = rnn_kept<V>(o.gate, o.slope[0], rnn_sum<V>(a, o, at, 0));
    const V z = rnn_kept<V>(o.gate, o.slope[1], rnn_sum<V>(a, o, at, 1));
    V inner = a.load(at.sums + 2 * o.sums_step);
    if (o.bias_h) inner = inner + a.load(o.bias_h + at.unit);
    const V n = gate_tanh(fma(rnn_value(o.gate, r), inner, a.load(at.gates + 2 * o.gates_step)));
    const V before = a.load(at.before);
    rnn_keep<V>(a, o, at, 0, r);
    rnn_keep<V>(a, o, at, 1, z);
    rnn_keep<V>(a, o, at, 2, n);
    if (o.keep) a.store(at.extra, inner);
    a.store(at.h, fma(rnn_value(o.gate, z), before - n, n));
  } else {
    const V before = a.load(at.before);
    const V r = rnn_kept<V>(o.gate, o.slope[0], rnn_sum<V>(a, o, at, 0));
    a.store(at.gates, r);  // the second half of the step reads them
    if constexpr (kCell == RnnCell::gru_before)
      a.store(at.gates + o.gates_step, rnn_kept<V>(o.gate, o.slope[1], rnn_sum<V>(a, o, at, 1)));
    a.store(at.extra, rnn_value(o.gate, r) * before);
  }
}

// Cells of two products: after the second, whose sums are U_n extra.
template <RnnCell kCell, class V, class A, class T>
static DC_INLINE void rnn_forward_second(const A& a, const RnnCellOptions<T>& o, const RnnAt<T>& at) {
  constexpr int kN = kCell == RnnCell::mgu ? 1 : 2;
  T* candidate = at.gates + kN * o.gates_step;
  const V n = gate_tanh(a.load(at.sums) + a.load(candidate)), before = a.load(at.before);
  const V gate = rnn_value(o.gate, a.load(at.gates + (kN - 1) * o.gates_step));
  if (o.keep) a.store(candidate, n);
  a.store(at.h, kCell == RnnCell::mgu ? fma(gate, n - before, before) : fma(gate, before - n, n));
}

// ---- backward ----
template <class T>
struct RnnGradAt {
  const T* gates;
  const T* before;  // h'
  const T* h;
  const T* c_before;
  const T* c;
  const T* extra;
  T* dh;  // in, besides `sums`: what reaches h; out: what reaches h' otherwise than by products
  T* dc;  // in: of c; out: of c'
  T* dz;  // gate g at dz + g * hidden
  T* dextra;
  int64_t unit;
};

// From g = d h, the whole cotangent of the step's output, to dz and what is carried. Cells of two products: dz of the
// last gates only; rnn_backward_second follows, after the product of the last gate's dz with U_n.
template <RnnCell kCell, class V, class A, class T>
static DC_INLINE void rnn_backward(const A& a, const RnnCellOptions<T>& o, const RnnGradAt<T>& at, V g) {
  const auto kept = [&](int i) { return a.load(at.gates + i * o.hidden); };
  const auto put = [&](int i, V v) { a.store(at.dz + i * o.hidden, v); };
  const V one = rnn_one<V>();
  if constexpr (kCell == RnnCell::tanh || kCell == RnnCell::relu) {
    const V h = a.load(at.h);
    put(0, kCell == RnnCell::tanh ? g * fnma(h, h, one) : select(gt(h, V::zero()), g, V::zero()));
    a.store(at.dh, V::zero());
  } else if constexpr (rnn_has_c(kCell)) {
    constexpr bool kCoupled = kCell == RnnCell::coupled;
    constexpr int kF = kCoupled ? 0 : 1, kG = kF + 1, kO = kF + 2;
    const auto hole = [&](int row) { return a.load(o.peephole + row * o.hidden + at.unit); };
    const V f = kept(kF), candidate = kept(kG), out = kept(kO), c_before = a.load(at.c_before);
    const V squashed = gate_tanh(a.load(at.c));
    const V dz_out = rnn_gate_grad<V>(o.gate, o.slope[kF + 1], out, g * squashed);
    V dc = fma(g * rnn_value(o.gate, out), fnma(squashed, squashed, one), a.load(at.dc));
    if (o.peephole) dc = fma(dz_out, hole(kF + 1), dc);
    const V open = rnn_value(o.gate, f);
    const V dz_f = rnn_gate_grad<V>(o.gate, o.slope[kF], f, dc * (kCoupled ? c_before - candidate : c_before));
    V dc_before = dc * open, weight = one - open;
    if constexpr (!kCoupled) {
      const V i = kept(0);
      weight = rnn_value(o.gate, i);
      const V dz_i = rnn_gate_grad<V>(o.gate, o.slope[0], i, dc * candidate);
      put(0, dz_i);
      if (o.peephole) dc_before = fma(dz_i, hole(0), dc_before);
    }
    if (o.peephole) dc_before = fma(dz_f, hole(kF), dc_before);
    put(kF, dz_f);
    put(kG, dc * weight * fnma(candidate, candidate, one));
    put(kO, dz_out);
    a.store(at.dc, dc_before);
    a.store(at.dh, V::zero());
  } else if constexpr (kCell == RnnCell::gru) {
    const V r = kept(0), z = kept(1), n = kept(2), keep = rnn_value(o.gate, z);
    const V dn = g * (one - keep) * fnma(n, n, one);
    put(0, rnn_gate_grad<V>(o.gate, o.slope[0], r, dn * a.load(at.extra)));
    put(1, rnn_gate_grad<V>(o.gate, o.slope[1], z, g * (a.load(at.before) - n)));
    put(2, dn);
    a.store(at.dextra, dn * rnn_value(o.gate, r));
    a.store(at.dh, g * keep);
  } else if constexpr (kCell == RnnCell::gru_before) {
    const V z = kept(1), n = kept(2), keep = rnn_value(o.gate, z);
    put(1, rnn_gate_grad<V>(o.gate, o.slope[1], z, g * (a.load(at.before) - n)));
    put(2, g * (one - keep) * fnma(n, n, one));
    a.store(at.dh, g * keep);
  } else {
    const V open = rnn_value(o.gate, kept(0)), n = kept(1);
    put(0, g * (n - a.load(at.before)));  // of the gate itself, for the second half
    put(1, g * open * fnma(n, n, one));
    a.store(at.dh, g * (one - open));
  }
}

// g = d extra.
template <RnnCell kCell, class V, class A, class T>
static DC_INLINE void rnn_backward_second(const A& a, const RnnCellOptions<T>& o, const RnnGradAt<T>& at, V g) {
  const V kept = a.load(at.gates);
  V dgate = g * a.load(at.before);
  if constexpr (kCell == RnnCell::mgu) dgate = dgate + a.load(at.dz);
  a.store(at.dz, rnn_gate_grad<V>(o.gate, o.slope[0], kept, dgate));
  a.store(at.dh, fma(g, rnn_value(o.gate, kept), a.load(at.dh)));
}

}  // namespace dc::DC_ISA
