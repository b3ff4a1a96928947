// Eight lanes: AVX2 with FMA.
#pragma once
#include <immintrin.h>

namespace dc::DC_ISA {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  using V = Vec;
  struct Mask {
    __m256 m;
  };
  static constexpr int W = 8;
  __m256 v;
  static DC_INLINE __m256i first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static DC_INLINE V load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static DC_INLINE V load_n(const float* p, int n) { return {_mm256_maskload_ps(p, first(n))}; }
  static DC_INLINE V set(float x) { return {_mm256_set1_ps(x)}; }
  static DC_INLINE V zero() { return {_mm256_setzero_ps()}; }
  static DC_INLINE V iota() { return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7)}; }
  DC_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  DC_INLINE void store_n(float* p, int n) const { _mm256_maskstore_ps(p, first(n), v); }
  DC_INLINE float sum() const {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  DC_INLINE float hmax() const {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  DC_INLINE float hmin() const {
    __m128 s = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_min_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
};

using Vec8 = Vec<float>;
static DC_INLINE Vec8 operator+(Vec8 a, Vec8 b) { return {_mm256_add_ps(a.v, b.v)}; }
static DC_INLINE Vec8 operator-(Vec8 a, Vec8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
static DC_INLINE Vec8 operator*(Vec8 a, Vec8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
static DC_INLINE Vec8 operator/(Vec8 a, Vec8 b) { return {_mm256_div_ps(a.v, b.v)}; }
static DC_INLINE Vec8 operator-(Vec8 a) { return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))}; }
static DC_INLINE Vec8 fma(Vec8 a, Vec8 b, Vec8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
static DC_INLINE Vec8 fnma(Vec8 a, Vec8 b, Vec8 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
static DC_INLINE Vec8::Mask lt(Vec8 a, Vec8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
static DC_INLINE Vec8::Mask le(Vec8 a, Vec8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
static DC_INLINE Vec8::Mask gt(Vec8 a, Vec8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
static DC_INLINE Vec8::Mask ge(Vec8 a, Vec8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
static DC_INLINE Vec8::Mask eq(Vec8 a, Vec8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
static DC_INLINE Vec8::Mask isnan(Vec8 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
static DC_INLINE uint32_t bits(Vec8::Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps(m.m)); }
static DC_INLINE Vec8 select(Vec8::Mask m, Vec8 a, Vec8 b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
static DC_INLINE Vec8 max(Vec8 a, Vec8 b) { return {_mm256_max_ps(a.v, b.v)}; }
static DC_INLINE Vec8 min(Vec8 a, Vec8 b) { return {_mm256_min_ps(a.v, b.v)}; }
static DC_INLINE Vec8 abs(Vec8 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
static DC_INLINE Vec8 sqrt(Vec8 a) { return {_mm256_sqrt_ps(a.v)}; }
static DC_INLINE Vec8 round(Vec8 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
static DC_INLINE Vec8 floor(Vec8 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
static DC_INLINE Vec8 pow2i(Vec8 n) {
  const __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(e, 23))};
}
static DC_INLINE Vec8 exponent(Vec8 x) {
  const __m256i e = _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(x.v), 23), _mm256_set1_epi32(0xff));
  return {_mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(127)))};
}
static DC_INLINE Vec8 mantissa(Vec8 x) {
  const __m256i m = _mm256_and_si256(_mm256_castps_si256(x.v), _mm256_set1_epi32(0x007fffff));
  return {_mm256_castsi256_ps(_mm256_or_si256(m, _mm256_set1_epi32(0x3f800000)))};
}

}  // namespace dc::DC_ISA
