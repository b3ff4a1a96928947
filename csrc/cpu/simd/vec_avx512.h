// Sixteen lanes: AVX-512 F, BW, DQ, VL.
#pragma once
#include <immintrin.h>

namespace dc::DC_ISA {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  using V = Vec;
  using Mask = __mmask16;
  static constexpr int W = 16;
  __m512 v;
  static DC_INLINE Mask first(int n) { return static_cast<Mask>((1u << n) - 1u); }
  static DC_INLINE V load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static DC_INLINE V load_n(const float* p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
  static DC_INLINE V set(float x) { return {_mm512_set1_ps(x)}; }
  static DC_INLINE V zero() { return {_mm512_setzero_ps()}; }
  static DC_INLINE V iota() { return {_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}; }
  DC_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  DC_INLINE void store_n(float* p, int n) const { _mm512_mask_storeu_ps(p, first(n), v); }
  DC_INLINE float sum() const { return _mm512_reduce_add_ps(v); }
  DC_INLINE float hmax() const { return _mm512_reduce_max_ps(v); }
  DC_INLINE float hmin() const { return _mm512_reduce_min_ps(v); }
};

using Vec16 = Vec<float>;
static DC_INLINE Vec16 operator+(Vec16 a, Vec16 b) { return {_mm512_add_ps(a.v, b.v)}; }
static DC_INLINE Vec16 operator-(Vec16 a, Vec16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
static DC_INLINE Vec16 operator*(Vec16 a, Vec16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
static DC_INLINE Vec16 operator/(Vec16 a, Vec16 b) { return {_mm512_div_ps(a.v, b.v)}; }
static DC_INLINE Vec16 operator-(Vec16 a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
static DC_INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static DC_INLINE Vec16 fnma(Vec16 a, Vec16 b, Vec16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
static DC_INLINE __mmask16 lt(Vec16 a, Vec16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
static DC_INLINE __mmask16 le(Vec16 a, Vec16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
static DC_INLINE __mmask16 gt(Vec16 a, Vec16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
static DC_INLINE __mmask16 ge(Vec16 a, Vec16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ); }
static DC_INLINE __mmask16 eq(Vec16 a, Vec16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
static DC_INLINE __mmask16 isnan(Vec16 a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q); }
static DC_INLINE uint32_t bits(__mmask16 m) { return m; }
static DC_INLINE Vec16 select(__mmask16 m, Vec16 a, Vec16 b) { return {_mm512_mask_blend_ps(m, b.v, a.v)}; }
// max(a, b) and min(a, b) return b where either is NaN, as the scalar build does.
static DC_INLINE Vec16 max(Vec16 a, Vec16 b) { return {_mm512_max_ps(a.v, b.v)}; }
static DC_INLINE Vec16 min(Vec16 a, Vec16 b) { return {_mm512_min_ps(a.v, b.v)}; }
static DC_INLINE Vec16 abs(Vec16 a) { return {_mm512_abs_ps(a.v)}; }
static DC_INLINE Vec16 sqrt(Vec16 a) { return {_mm512_sqrt_ps(a.v)}; }
static DC_INLINE Vec16 round(Vec16 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
static DC_INLINE Vec16 floor(Vec16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
static DC_INLINE Vec16 pow2i(Vec16 n) {
  const __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(e, 23))};
}
static DC_INLINE Vec16 exponent(Vec16 x) { return {_mm512_getexp_ps(x.v)}; }
static DC_INLINE Vec16 mantissa(Vec16 x) { return {_mm512_getmant_ps(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero)}; }

}  // namespace dc::DC_ISA
