// The sigmoid of exact mode (rbm.h), written once over a value type V as functors.h: plain operations, each rounded on
// its own, so that every back end has the same bits. The including file defines, beside the operators and functions of
// V, apart(a, b), a product that no compiler fuses with a sum, and pow2i(n), 2^n for integral n.
#pragma once

namespace dc::DC_ISA {

template <class V>
static DC_INLINE V constant(double x) {
  return V::set(static_cast<decltype(V::zero().sum())>(x));
}

// r^2 times what e^r has beyond 1 + r, |r| <= ln 2 / 2: polynomial of Cephes for float, Taylor's for double.
template <class V>
static DC_INLINE V exact_horner(V p, V) {
  return p;
}
template <class V, class... T>
static DC_INLINE V exact_horner(V p, V r, double next, T... rest) {
  return exact_horner(apart(p, r) + constant<V>(next), r, rest...);
}

// e^x for -80 <= x <= 0.
template <class V>
static DC_INLINE V exact_exp(V x) {
  const V n = round(apart(x, constant<V>(1.44269504088896340736)));
  V r, p;
  if constexpr (sizeof(V::zero().sum()) == sizeof(float)) {
    r = x - apart(n, constant<V>(0.693359375));
    r = r - apart(n, constant<V>(-2.12194440e-4));
    p = exact_horner(constant<V>(1.9875691500e-4), r, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
                     1.6666665459e-1, 5.0000001201e-1);
  } else {
    r = x - apart(n, constant<V>(6.93147180369123816490e-01));
    r = r - apart(n, constant<V>(1.90821492927058770002e-10));
    p = exact_horner(constant<V>(1 / 6227020800.0), r, 1 / 479001600.0, 1 / 39916800.0, 1 / 3628800.0, 1 / 362880.0,
                     1 / 40320.0, 1 / 5040.0, 1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0, 0.5);
  }
  p = apart(p, apart(r, r)) + r;
  p = p + constant<V>(1);
  return apart(p, pow2i(n));
}

// 1 / (1 + e^-z); NaN stays.
template <class V>
static DC_INLINE V exact_sigmoid(V z) {
  const V one = constant<V>(1), lowest = constant<V>(-80), x = -abs(z);
  const V e = exact_exp(select(gt(lowest, x), lowest, x)), d = one + e;
  return select(ge(z, V::zero()), one / d, select(isnan(z), z, e / d));
}

}  // namespace dc::DC_ISA
