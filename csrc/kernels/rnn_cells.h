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
  // Null where the layer has none.
  const T* fed;   // h' h_mask
  T* h_fed;       // h h_mask
  const T* mask;  // h_mask
  const T* zoneout_h;
  const T* zoneout_c;
  T* fresh;  // c before zoneout
  T* out;    // with a projection
};

template <class T>
struct RnnCellOptions {
  RnnGate gate;
  T slope[3];
  const T* peephole;
  const T* bias_h;
  int64_t hidden, gates_step, sums_step;
  bool keep, zoned_h, zoned_c;
  bool shown;       // norm of c: h comes later, gate o is left in gates
  int output_gate;  // where it stands
  T mix_h, mix_c;
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
template <class V, class A, class T>
static DC_INLINE V rnn_zoned(const A& a, const T* draws, T mix, V before, V fresh) {
  if (draws) return select(gt(a.load(draws), V::zero()), fresh, before);
  return fma(V::set(mix), before - fresh, fresh);
}

// The next h, or what a projection makes it of.
template <class V, class A, class T>
static DC_INLINE void rnn_put(const A& a, const RnnCellOptions<T>& o, const RnnAt<T>& at, V h) {
  if (at.out) return a.store(at.out, h);
  if (o.zoned_h) h = rnn_zoned(a, at.zoneout_h, o.mix_h, a.load(at.before), h);
  a.store(at.h, h);
  if (at.h_fed) a.store(at.h_fed, h * a.load(at.mask));
}

// f opened further or less by r (refined cells).
template <class V>
static DC_INLINE V rnn_refined(V f, V r) {
  return fma(r + r, f - f * f, f * f);
}

// What follows the product with all gates: all of the step, or for cells of two products the gates and `extra`.
template <RnnCell kCell, class V, class A, class T>
static DC_INLINE void rnn_forward(const A& a, const RnnCellOptions<T>& o, const RnnAt<T>& at) {
  if constexpr (kCell == RnnCell::tanh || kCell == RnnCell::relu) {
    const V z = rnn_sum<V>(a, o, at, 0);
    const V h = kCell == RnnCell::tanh ? gate_tanh(z) : select(lt(z, V::zero()), V::zero(), z);
    if (o.zoned_h) rnn_keep<V>(a, o, at, 0, h);
    rnn_put(a, o, at, h);
  } else if constexpr (rnn_has_c(kCell)) {
    constexpr bool kCoupled = rnn_coupled(kCell);
    constexpr int kF = kCoupled ? 0 : 1, kG = kF + 1, kO = kF + 2;
    const V c_before = a.load(at.c_before);
    const auto peep = [&](int row, V c, V z) {
      return o.peephole ? fma(a.load(o.peephole + row * o.hidden + at.unit), c, z) : z;
    };
    const V f = rnn_kept<V>(o.gate, o.slope[kF], peep(kF, c_before, rnn_sum<V>(a, o, at, kF)));
    const V g = gate_tanh(rnn_sum<V>(a, o, at, kG));
    V open = rnn_value(o.gate, f);
    if constexpr (kCell == RnnCell::refined) {
      const V r = gate_sigmoid(rnn_sum<V>(a, o, at, kO + 1));
      rnn_keep<V>(a, o, at, kO + 1, r);
      open = rnn_refined(open, r);
    }
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
    if (o.keep || o.shown) a.store(at.gates + kO * o.gates_step, out);
    if (!o.shown) rnn_put(a, o, at, rnn_value(o.gate, out) * gate_tanh(c));
    if (at.fresh) a.store(at.fresh, c);
    a.store(at.c, o.zoned_c ? rnn_zoned(a, at.zoneout_c, o.mix_c, c_before, c) : c);
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
    rnn_put(a, o, at, fma(rnn_value(o.gate, z), before - n, n));
  } else {
    const V before = a.load(at.fed ? at.fed : at.before);
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
  rnn_put(a, o, at, kCell == RnnCell::mgu ? fma(gate, n - before, before) : fma(gate, before - n, n));
}

// Cells with c and norm: after the norm of c, what of it is shown.
template <class V, class A, class T>
static DC_INLINE void rnn_forward_shown(const A& a, const RnnCellOptions<T>& o, const RnnAt<T>& at, V c) {
  rnn_put(a, o, at, rnn_value(o.gate, a.load(at.gates + o.output_gate * o.gates_step)) * gate_tanh(c));
}

// ---- backward ----
template <class T>
struct RnnGradAt {
  const T* gates;
  const T* before;  // h'
  const T* h;       // before zoneout
  const T* c_before;
  const T* c;  // before zoneout
  const T* extra;
  T* dh;  // in, besides `sums`: what reaches h; out: what reaches h' otherwise than by products; null with a projection
  T* dc;  // in: of c; out: of c'
  T* dz;  // gate g at dz + g * hidden
  T* dextra;
  int64_t unit;
  // Null where the layer has none.
  const T* fed;
  const T* mask;
  const T* zoneout_h;
  const T* zoneout_c;
};

// With norm of c: tanh of it, and what reaches c through it.
template <class V>
struct RnnShown {
  V squashed, dc;
};

// Of g, the cotangent of a state, what stays for the fresh value; `old` is for the old one.
template <class V, class A, class T>
static DC_INLINE V rnn_split(const A& a, const T* draws, T mix, V g, V* old) {
  if (draws) {
    const auto taken = gt(a.load(draws), V::zero());
    *old = select(taken, V::zero(), g);
    return select(taken, g, V::zero());
  }
  *old = V::set(mix) * g;
  return g - *old;
}

// The whole cotangent of a step's h, from what U gives of the step after it.
template <class V, class A, class T>
static DC_INLINE V rnn_grad_of_h(const A& a, const RnnGradAt<T>& at, const T* given, V sum) {
  V g = at.mask ? fma(sum, a.load(at.mask), a.load(at.dh)) : sum + a.load(at.dh);
  if (given) g = g + a.load(given);
  return g;
}

// From g, the cotangent of what the cell gave, to dz and what is carried; `old`: what reaches h' by zoneout. Cells of
// two products: dz of the last gates only; rnn_backward_second follows, after the product of the last gate's dz with
// U_n.
template <RnnCell kCell, class V, class A, class T>
static DC_INLINE void rnn_backward(const A& a, const RnnCellOptions<T>& o, const RnnGradAt<T>& at, V g, V old,
                                   const RnnShown<V>& shown) {
  const auto carry = [&](V v) {
    if (at.dh) a.store(at.dh, o.zoned_h ? v + old : v);
  };
  const auto kept = [&](int i) { return a.load(at.gates + i * o.hidden); };
  const auto put = [&](int i, V v) { a.store(at.dz + i * o.hidden, v); };
  const V one = rnn_one<V>();
  if constexpr (kCell == RnnCell::tanh || kCell == RnnCell::relu) {
    const V h = a.load(at.h);
    put(0, kCell == RnnCell::tanh ? g * fnma(h, h, one) : select(gt(h, V::zero()), g, V::zero()));
    carry(V::zero());
  } else if constexpr (rnn_has_c(kCell)) {
    constexpr bool kCoupled = rnn_coupled(kCell);
    constexpr int kF = kCoupled ? 0 : 1, kG = kF + 1, kO = kF + 2;
    const auto hole = [&](int row) { return a.load(o.peephole + row * o.hidden + at.unit); };
    const V f = kept(kF), candidate = kept(kG), out = kept(kO), c_before = a.load(at.c_before);
    const V squashed = o.shown ? shown.squashed : gate_tanh(a.load(at.c));
    const V dz_out = rnn_gate_grad<V>(o.gate, o.slope[kF + 1], out, g * squashed);
    V dc = a.load(at.dc), old_c = V::zero();
    if (o.zoned_c) dc = rnn_split(a, at.zoneout_c, o.mix_c, dc, &old_c);
    dc = o.shown ? dc + shown.dc : fma(g * rnn_value(o.gate, out), fnma(squashed, squashed, one), dc);
    if (o.peephole) dc = fma(dz_out, hole(kF + 1), dc);
    V open = rnn_value(o.gate, f), df = dc * (kCoupled ? c_before - candidate : c_before);
    if constexpr (kCell == RnnCell::refined) {
      const V r = kept(kO + 1), twice = open + open;
      put(kO + 1, df * fnma(twice, open, twice) * r * (one - r));
      const V slope = fma(r + r, one - twice, twice);
      open = rnn_refined(open, r);
      df = df * slope;
    }
    const V dz_f = rnn_gate_grad<V>(o.gate, o.slope[kF], f, df);
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
    a.store(at.dc, o.zoned_c ? dc_before + old_c : dc_before);
    carry(V::zero());
  } else if constexpr (kCell == RnnCell::gru) {
    const V r = kept(0), z = kept(1), n = kept(2), keep = rnn_value(o.gate, z);
    const V dn = g * (one - keep) * fnma(n, n, one);
    put(0, rnn_gate_grad<V>(o.gate, o.slope[0], r, dn * a.load(at.extra)));
    put(1, rnn_gate_grad<V>(o.gate, o.slope[1], z, g * (a.load(at.before) - n)));
    put(2, dn);
    a.store(at.dextra, dn * rnn_value(o.gate, r));
    carry(g * keep);
  } else if constexpr (kCell == RnnCell::gru_before) {
    const V z = kept(1), n = kept(2), keep = rnn_value(o.gate, z);
    put(1, rnn_gate_grad<V>(o.gate, o.slope[1], z, g * (a.load(at.before) - n)));
    put(2, g * (one - keep) * fnma(n, n, one));
    carry(g * keep);
  } else {
    const V open = rnn_value(o.gate, kept(0)), n = kept(1);
    put(0, g * (n - a.load(at.before)));  // of the gate itself, for the second half
    put(1, g * open * fnma(n, n, one));
    carry(g * (one - open));
  }
}

// g = d extra.
template <RnnCell kCell, class V, class A, class T>
static DC_INLINE void rnn_backward_second(const A& a, const RnnCellOptions<T>& o, const RnnGradAt<T>& at, V g) {
  const V kept = a.load(at.gates);
  V dgate = g * a.load(at.fed ? at.fed : at.before);
  if constexpr (kCell == RnnCell::mgu) dgate = dgate + a.load(at.dz);
  a.store(at.dz, rnn_gate_grad<V>(o.gate, o.slope[0], kept, dgate));
  if (at.mask) g = g * a.load(at.mask);
  a.store(at.dh, fma(g, rnn_value(o.gate, kept), a.load(at.dh)));
}

// Cells with c and norm: the cotangent of c after its norm, and tanh of it in `squashed`.
template <class V, class A, class T>
static DC_INLINE V rnn_backward_shown(const A& a, const RnnCellOptions<T>& o, const T* gates, V c, V g, V* squashed) {
  *squashed = gate_tanh(c);
  const V out = rnn_value(o.gate, a.load(gates + o.output_gate * o.hidden));
  return g * out * fnma(*squashed, *squashed, rnn_one<V>());
}

}  // namespace dc::DC_ISA
