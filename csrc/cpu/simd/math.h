// Elementary functions on registers: one source for every instruction set, float32 error <= 2 ulp
// over the whole range (tests/ops/test_math.py measures it). float64 (scalar build) calls libm.
// exp, log: Cody-Waite range reduction and minimax polynomials after Cephes (S. Moshier, netlib).
#pragma once
#include "vec.h"

namespace dc::DC_ISA {

// p * 2^n for integral n in [-150, 128]; overflow gives infinity, underflow is rounded once.
static DC_INLINE VecF scale2(VecF p, VecF n) {
#if defined(DC_ISA_AVX512)
  return {_mm512_scalef_ps(p.v, n.v)};
#else
  // Two factors reach both the subnormals and the last binade.
  const VecF half = floor(n * VecF::set(0.5f));
  return p * pow2i(half) * pow2i(n - half);
#endif
}

// e^x = 2^n (1 + p) for x in [-104, 89], n integral.
static DC_INLINE VecF exp_parts(VecF x, VecF& n) {
  n = round(x * VecF::set(1.44269504088896341f));
  VecF r = fnma(n, VecF::set(0.693359375f), x);
  r = fnma(n, VecF::set(-2.12194440e-4f), r);
  VecF p = VecF::set(1.9875691500e-4f);
  p = fma(p, r, VecF::set(1.3981999507e-3f));
  p = fma(p, r, VecF::set(8.3334519073e-3f));
  p = fma(p, r, VecF::set(4.1665795894e-2f));
  p = fma(p, r, VecF::set(1.6666665459e-1f));
  p = fma(p, r, VecF::set(5.0000001201e-1f));
  return fma(p, r * r, r);
}

static DC_INLINE VecF exp(VecF x) {
  // The ends lie beyond overflow and underflow; what underflows to 0 is left out, since making subnormals stalls.
  // min returns its second argument for NaN, so NaN passes.
  const auto gone = lt(x, VecF::set(-104.0f));
  const VecF xc = min(VecF::set(89.0f), select(gone, VecF::zero(), x));
  VecF n;
  const VecF p = exp_parts(xc, n) + VecF::set(1.0f);
  return select(gone, VecF::zero(), scale2(p, n));
}

// log x for x > 0; -inf at 0, NaN below.
static DC_INLINE VecF log(VecF x) {
  const VecF tiny = VecF::set(1.17549435e-38f);
  const VecF scaled = select(lt(x, tiny), x * VecF::set(8388608.0f), x);
  VecF e = exponent(scaled) - select(lt(x, tiny), VecF::set(23.0f), VecF::zero());
  VecF m = mantissa(scaled);
  const auto big = gt(m, VecF::set(1.41421356237f));
  m = select(big, m * VecF::set(0.5f), m);
  e = select(big, e + VecF::set(1.0f), e);
  const VecF r = m - VecF::set(1.0f), z = r * r;
  VecF p = VecF::set(7.0376836292e-2f);
  p = fma(p, r, VecF::set(-1.1514610310e-1f));
  p = fma(p, r, VecF::set(1.1676998740e-1f));
  p = fma(p, r, VecF::set(-1.2420140846e-1f));
  p = fma(p, r, VecF::set(1.4249322787e-1f));
  p = fma(p, r, VecF::set(-1.6668057665e-1f));
  p = fma(p, r, VecF::set(2.0000714765e-1f));
  p = fma(p, r, VecF::set(-2.4999993993e-1f));
  p = fma(p, r, VecF::set(3.3333331174e-1f));
  VecF y = p * r * z;
  y = fma(e, VecF::set(-2.12194440e-4f), y);
  y = fnma(VecF::set(0.5f), z, y);
  y = r + y;
  y = fma(e, VecF::set(0.693359375f), y);
  y = select(eq(x, VecF::set(HUGE_VALF)), x, y);
  y = select(eq(x, VecF::zero()), VecF::set(-HUGE_VALF), y);
  return select(ge(x, VecF::zero()), y, VecF::set(NAN));
}

static DC_INLINE VecF sigmoid(VecF x) {
  // exp of a negative number only: no overflow, full precision in both tails.
  const VecF e = exp(-abs(x)), one = VecF::set(1.0f);
  const VecF d = one / (one + e);
  return select(ge(x, VecF::zero()), d, select(isnan(x), x, e * d));
}

static DC_INLINE VecF tanh(VecF x) {
  const VecF a = abs(x), one = VecF::set(1.0f), z = x * x;
  VecF p = VecF::set(-5.70498872745e-3f);
  p = fma(p, z, VecF::set(2.06390887954e-2f));
  p = fma(p, z, VecF::set(-5.37397155531e-2f));
  p = fma(p, z, VecF::set(1.33314422036e-1f));
  p = fma(p, z, VecF::set(-3.33332819422e-1f));
  const VecF small = fma(p * z, x, x);
  const VecF big = one - VecF::set(2.0f) / (exp(a + a) + one);
  const VecF y = select(lt(x, VecF::zero()), -big, big);
  return select(lt(a, VecF::set(0.625f)), small, select(isnan(x), x, y));
}

// log(1 + x) with full precision near 0 (Kahan's correction).
static DC_INLINE VecF log1p(VecF x) {
  const VecF one = VecF::set(1.0f), u = one + x, d = u - one;
  const VecF y = log(u) * (x / select(eq(d, VecF::zero()), one, d));
  const VecF finite_or_nan = select(eq(x, VecF::set(HUGE_VALF)), x, y);
  return select(eq(d, VecF::zero()), x, select(eq(u, VecF::zero()), VecF::set(-HUGE_VALF), finite_or_nan));
}

// exp(x) - 1 with full precision near 0.
static DC_INLINE VecF expm1(VecF x) {
  const VecF one = VecF::set(1.0f);
  VecF p = VecF::set(1.0f / 40320.0f);
  p = fma(p, x, VecF::set(1.0f / 5040.0f));
  p = fma(p, x, VecF::set(1.0f / 720.0f));
  p = fma(p, x, VecF::set(1.0f / 120.0f));
  p = fma(p, x, VecF::set(1.0f / 24.0f));
  p = fma(p, x, VecF::set(1.0f / 6.0f));
  p = fma(p, x, VecF::set(0.5f));
  const VecF small = fma(p * x, x, x);
  return select(lt(abs(x), VecF::set(0.5f)), small, exp(x) - one);
}

// log(1 + e^x): with e = e^-|x| in [0, 1], log(1 + e) = 2 artanh(s), s = e / (2 + e) <= 1 / 3, by its power series.
static DC_INLINE VecF softplus(VecF x) {
  const VecF e = exp(-abs(x)), s = e / (e + VecF::set(2.0f));
  const VecF far = max(VecF::set(1e-15f), s), z = far * far;  // not subnormal, and too small to count below it
  VecF p = VecF::set(2.0f / 15.0f);
  p = fma(p, z, VecF::set(2.0f / 13.0f));
  p = fma(p, z, VecF::set(2.0f / 11.0f));
  p = fma(p, z, VecF::set(2.0f / 9.0f));
  p = fma(p, z, VecF::set(2.0f / 7.0f));
  p = fma(p, z, VecF::set(2.0f / 5.0f));
  p = fma(p, z, VecF::set(2.0f / 3.0f));
  return max(x, VecF::zero()) + fma(p * z, s, s + s);
}

// sin and cos: three-part Cody-Waite reduction by pi/2, good to 2 ulp for |x| < 8192; beyond that and for
// non-finite x each lane falls back to libm.
static DC_INLINE VecF sincos_quadrant(VecF x, float shift) {
  const VecF n = round(x * VecF::set(0.636619772367581f));
  VecF r = fnma(n, VecF::set(1.5703125f), x);
  r = fnma(n, VecF::set(4.837512969970703125e-4f), r);
  r = fnma(n, VecF::set(7.5497899548918821e-8f), r);
  const VecF z = r * r;
  VecF s = VecF::set(-1.9515295891e-4f);
  s = fma(s, z, VecF::set(8.3321608736e-3f));
  s = fma(s, z, VecF::set(-1.6666654611e-1f));
  s = fma(s * z, r, r);
  VecF c = VecF::set(2.443315711809948e-5f);
  c = fma(c, z, VecF::set(-1.388731625493765e-3f));
  c = fma(c, z, VecF::set(4.166664568298827e-2f));
  c = fma(c, z * z, fnma(VecF::set(0.5f), z, VecF::set(1.0f)));
  // Quadrant n + shift modulo 4, from floats: exact for |n| < 2^22.
  const VecF m = n + VecF::set(shift);
  const VecF q = m - VecF::set(4.0f) * floor(m * VecF::set(0.25f));
  const VecF odd = q - VecF::set(2.0f) * floor(q * VecF::set(0.5f));
  const VecF y = select(gt(odd, VecF::set(0.5f)), c, s);
  return select(gt(q, VecF::set(1.5f)), -y, y);
}
static DC_INLINE VecF sincos(VecF x, float shift) {
  float lanes[VecF::W];
  const VecF limit = select(lt(abs(x), VecF::set(8192.0f)), VecF::zero(), VecF::set(1.0f));
  VecF y = sincos_quadrant(x, shift);
  if (limit.hmax() > 0.0f) {
    float input[VecF::W], far[VecF::W];
    x.store(input);
    y.store(lanes);
    limit.store(far);
    for (int i = 0; i < VecF::W; ++i)
      if (far[i] > 0.0f) lanes[i] = shift == 0.0f ? ::sinf(input[i]) : ::cosf(input[i]);
    y = VecF::load(lanes);
  }
  return y;
}
static DC_INLINE VecF sin(VecF x) { return sincos(x, 0.0f); }
static DC_INLINE VecF cos(VecF x) { return sincos(x, 1.0f); }

// x^y lane by lane through libm's double pow: exact special cases matter more here than speed.
template <class V>
static DC_INLINE V pow(V x, V y) {
  using T = decltype(x.sum());
  T a[V::W], b[V::W];
  x.store(a);
  y.store(b);
  for (int i = 0; i < V::W; ++i) a[i] = static_cast<T>(::pow(static_cast<double>(a[i]), static_cast<double>(b[i])));
  return V::load(a);
}

// Abramowitz-Stegun style minimax split: a polynomial below 1, 1 - exp(-q(x)) above (after Cephes / N. Juffa).
static DC_INLINE VecF erf(VecF x) {
  const VecF a = abs(x), z = x * x;
  VecF p = VecF::set(-5.96761703e-4f);
  p = fma(p, z, VecF::set(4.99119423e-3f));
  p = fma(p, z, VecF::set(-2.67681349e-2f));
  p = fma(p, z, VecF::set(1.12819925e-1f));
  p = fma(p, z, VecF::set(-3.76125336e-1f));
  p = fma(p, z, VecF::set(1.28379166e-1f));
  const VecF small = fma(p, x, x);
  VecF q = VecF::set(-1.72853470e-5f);
  q = fma(q, a, VecF::set(3.83197126e-4f));
  q = fma(q, a, VecF::set(-3.88396438e-3f));
  q = fma(q, a, VecF::set(2.42546219e-2f));
  q = fma(q, a, VecF::set(-1.06777877e-1f));
  q = fma(q, a, VecF::set(-6.34846687e-1f));
  q = fma(q, a, VecF::set(-1.28717512e-1f));
  q = fma(q, a, -a);
  const VecF big = VecF::set(1.0f) - exp(q);
  const VecF signed_big = select(lt(x, VecF::zero()), -big, big);
  return select(lt(a, VecF::set(0.921875f)), small, signed_big);
}

#if !defined(DC_ISA_AVX512) && !defined(DC_ISA_AVX2)
using VecD = Vec<double>;
static DC_INLINE VecD exp(VecD x) { return {{::exp(x.v)}}; }
static DC_INLINE VecD log(VecD x) { return {{::log(x.v)}}; }
static DC_INLINE VecD tanh(VecD x) { return {{::tanh(x.v)}}; }
static DC_INLINE VecD log1p(VecD x) { return {{::log1p(x.v)}}; }
static DC_INLINE VecD expm1(VecD x) { return {{::expm1(x.v)}}; }
static DC_INLINE VecD sin(VecD x) { return {{::sin(x.v)}}; }
static DC_INLINE VecD cos(VecD x) { return {{::cos(x.v)}}; }
static DC_INLINE VecD erf(VecD x) { return {{::erf(x.v)}}; }
static DC_INLINE VecD sigmoid(VecD x) {
  const double e = ::exp(-::fabs(x.v)), d = 1.0 / (1.0 + e);
  return {{x.v >= 0 ? d : e * d}};
}
static DC_INLINE VecD softplus(VecD x) { return {{(x.v > 0 ? x.v : 0.0) + ::log1p(::exp(-::fabs(x.v)))}}; }
#endif

}  // namespace dc::DC_ISA
