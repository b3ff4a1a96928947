// Sigmoid and tanh for gates, where they cost as much as a product with a small state: one exponential and one
// reciprocal without branches, float32 error <= 3 ulp, AVX2 <= 4, whose estimates differ from maker to maker
// (tests/ops/test_rnn.py measures both). float64 calls libm.
#pragma once
#include "math.h"

namespace dc::DC_ISA {

// 1 / d for normal d and 1 / d: the machine's estimate and a Newton step.
static DC_INLINE VecF reciprocal(VecF d) {
#if defined(DC_ISA_AVX512)
  const VecF r{_mm512_rcp14_ps(d.v)};
  return fma(r, fnma(d, r, VecF::set(1.0f)), r);
#elif defined(DC_ISA_AVX2)
  const VecF r{_mm256_rcp_ps(d.v)};
  return fma(r, fnma(d, r, VecF::set(1.0f)), r);
#else
  return VecF::set(1.0f) / d;
#endif
}

static DC_INLINE VecF gate_sigmoid(VecF x) {
  // e^87 is finite, and so is all that follows; min and max pass NaN.
  VecF n;
  const VecF p = exp_parts(max(VecF::set(-87.0f), min(VecF::set(87.0f), -x)), n), s = pow2i(n);
  return reciprocal(fma(s, p, s) + VecF::set(1.0f));
}

static DC_INLINE VecF gate_tanh(VecF x) {
  // tanh x = m / (m + 2), m = e^(2x) - 1 without cancellation near 0, where n is 0.
  VecF n;
  const VecF p = exp_parts(max(VecF::set(-20.0f), min(VecF::set(20.0f), x + x)), n), s = pow2i(n);
  const VecF m = fma(s, p, s - VecF::set(1.0f));
  return m * reciprocal(m + VecF::set(2.0f));
}

#if !defined(DC_ISA_AVX512) && !defined(DC_ISA_AVX2)
static DC_INLINE VecD gate_sigmoid(VecD x) { return sigmoid(x); }
static DC_INLINE VecD gate_tanh(VecD x) { return tanh(x); }
#endif

}  // namespace dc::DC_ISA
