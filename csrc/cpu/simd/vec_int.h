// VecI: one register of int32, as many lanes as VecF, for window indices and random bits.
// Masks are those of VecF, so select() mixes the two. Loads from and stores to bytes widen and narrow.
// below(p, limit): lanes of W uint16 at p less than limit, in [1, 65536]. deinterleave(a, b) splits the pairs of the
// 2 W words a, b into first and second members, in an order that interleave undoes.
#pragma once
#include "vec.h"

namespace dc::DC_ISA {

#if defined(DC_ISA_AVX512)

struct VecI {
  static constexpr int W = 16;
  __m512i v;
  static DC_INLINE VecI set(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static DC_INLINE VecI load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static DC_INLINE VecI load_n(const int32_t* p, int n) { return {_mm512_maskz_loadu_epi32(VecF::first(n), p)}; }
  static DC_INLINE VecI load(const uint8_t* p) { return {_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p))}; }
  static DC_INLINE VecI load_n(const uint8_t* p, int n) {
    return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(VecF::first(n), p))};
  }
  DC_INLINE void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  DC_INLINE void store_n(int32_t* p, int n) const { _mm512_mask_storeu_epi32(p, VecF::first(n), v); }
  DC_INLINE void store(uint8_t* p) const { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(v)); }
  DC_INLINE void store_n(uint8_t* p, int n) const { _mm512_mask_cvtepi32_storeu_epi8(p, VecF::first(n), v); }
};
static DC_INLINE VecI operator+(VecI a, VecI b) { return {_mm512_add_epi32(a.v, b.v)}; }
static DC_INLINE VecI operator-(VecI a, VecI b) { return {_mm512_sub_epi32(a.v, b.v)}; }
static DC_INLINE VecI operator^(VecI a, VecI b) { return {_mm512_xor_si512(a.v, b.v)}; }
static DC_INLINE VecI operator&(VecI a, VecI b) { return {_mm512_and_si512(a.v, b.v)}; }
template <int N>
static DC_INLINE VecI shift_right(VecI a) {
  return {_mm512_srli_epi32(a.v, N)};
}
static DC_INLINE __mmask16 eq(VecI a, VecI b) { return _mm512_cmpeq_epi32_mask(a.v, b.v); }
static DC_INLINE VecI select(__mmask16 m, VecI a, VecI b) { return {_mm512_mask_blend_epi32(m, b.v, a.v)}; }
static DC_INLINE VecF to_float(VecI a) { return {_mm512_cvtepi32_ps(a.v)}; }
static DC_INLINE VecI to_int(VecF a) { return {_mm512_cvtps_epi32(a.v)}; }
static DC_INLINE __mmask16 mask_or(__mmask16 a, __mmask16 b) { return a | b; }
static DC_INLINE __mmask16 mask_and(__mmask16 a, __mmask16 b) { return a & b; }
static DC_INLINE bool mask_any(__mmask16 a) { return a != 0; }
static DC_INLINE VecF keep_where(__mmask16 m, VecF a) { return {_mm512_maskz_mov_ps(m, a.v)}; }
static DC_INLINE void stream(float* p, VecF a) { _mm512_stream_ps(p, a.v); }
static DC_INLINE __mmask16 below(const uint16_t* p, int32_t limit) {
  return _mm256_cmp_epu16_mask(_mm256_loadu_si256((const __m256i*)p),
                               _mm256_set1_epi16(static_cast<int16_t>(limit - 1)), _MM_CMPINT_LE);
}
static DC_INLINE void deinterleave(VecI a, VecI b, VecI& even, VecI& odd) {
  const __m512 x = _mm512_castsi512_ps(a.v), y = _mm512_castsi512_ps(b.v);
  even = {_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88))};
  odd = {_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xDD))};
}
static DC_INLINE void interleave(VecF even, VecF odd, VecF& a, VecF& b) {
  a = {_mm512_unpacklo_ps(even.v, odd.v)};
  b = {_mm512_unpackhi_ps(even.v, odd.v)};
}

#elif defined(DC_ISA_AVX2)

struct VecI {
  static constexpr int W = 8;
  __m256i v;
  static DC_INLINE VecI set(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static DC_INLINE VecI load(const int32_t* p) { return {_mm256_loadu_si256((const __m256i*)p)}; }
  static DC_INLINE VecI load_n(const int32_t* p, int n) { return {_mm256_maskload_epi32(p, VecF::first(n))}; }
  static DC_INLINE VecI load(const uint8_t* p) { return {_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p))}; }
  static DC_INLINE VecI load_n(const uint8_t* p, int n) {
    uint8_t buffer[8] = {};
    for (int i = 0; i < n; ++i) buffer[i] = p[i];
    return load(buffer);
  }
  DC_INLINE void store(int32_t* p) const { _mm256_storeu_si256((__m256i*)p, v); }
  DC_INLINE void store_n(int32_t* p, int n) const { _mm256_maskstore_epi32(p, VecF::first(n), v); }
  DC_INLINE void store(uint8_t* p) const {
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i*)p, _mm_packus_epi16(words, words));
  }
  DC_INLINE void store_n(uint8_t* p, int n) const {
    uint8_t buffer[8];
    store(buffer);
    for (int i = 0; i < n; ++i) p[i] = buffer[i];
  }
};
static DC_INLINE VecI operator+(VecI a, VecI b) { return {_mm256_add_epi32(a.v, b.v)}; }
static DC_INLINE VecI operator-(VecI a, VecI b) { return {_mm256_sub_epi32(a.v, b.v)}; }
static DC_INLINE VecI operator^(VecI a, VecI b) { return {_mm256_xor_si256(a.v, b.v)}; }
static DC_INLINE VecI operator&(VecI a, VecI b) { return {_mm256_and_si256(a.v, b.v)}; }
template <int N>
static DC_INLINE VecI shift_right(VecI a) {
  return {_mm256_srli_epi32(a.v, N)};
}
static DC_INLINE VecF::Mask eq(VecI a, VecI b) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))}; }
static DC_INLINE VecI select(VecF::Mask m, VecI a, VecI b) {
  return {_mm256_blendv_epi8(b.v, a.v, _mm256_castps_si256(m.m))};
}
static DC_INLINE VecF to_float(VecI a) { return {_mm256_cvtepi32_ps(a.v)}; }
static DC_INLINE VecI to_int(VecF a) { return {_mm256_cvtps_epi32(a.v)}; }
static DC_INLINE VecF::Mask mask_or(VecF::Mask a, VecF::Mask b) { return {_mm256_or_ps(a.m, b.m)}; }
static DC_INLINE VecF::Mask mask_and(VecF::Mask a, VecF::Mask b) { return {_mm256_and_ps(a.m, b.m)}; }
static DC_INLINE bool mask_any(VecF::Mask a) { return _mm256_movemask_ps(a.m) != 0; }
static DC_INLINE VecF keep_where(VecF::Mask m, VecF a) { return {_mm256_and_ps(m.m, a.v)}; }
static DC_INLINE void stream(float* p, VecF a) { _mm256_stream_ps(p, a.v); }
static DC_INLINE VecF::Mask below(const uint16_t* p, int32_t limit) {
  const __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(limit), v))};
}
static DC_INLINE void deinterleave(VecI a, VecI b, VecI& even, VecI& odd) {
  const __m256 x = _mm256_castsi256_ps(a.v), y = _mm256_castsi256_ps(b.v);
  even = {_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88))};
  odd = {_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xDD))};
}
static DC_INLINE void interleave(VecF even, VecF odd, VecF& a, VecF& b) {
  a = {_mm256_unpacklo_ps(even.v, odd.v)};
  b = {_mm256_unpackhi_ps(even.v, odd.v)};
}

#else

struct VecI {
  static constexpr int W = 1;
  int32_t v;
  static DC_INLINE VecI set(int32_t x) { return {x}; }
  template <class I>
  static DC_INLINE VecI load(const I* p) {
    return {static_cast<int32_t>(*p)};
  }
  template <class I>
  static DC_INLINE VecI load_n(const I* p, int n) {
    return {n > 0 ? static_cast<int32_t>(*p) : 0};
  }
  template <class I>
  DC_INLINE void store(I* p) const {
    *p = static_cast<I>(v);
  }
  template <class I>
  DC_INLINE void store_n(I* p, int n) const {
    if (n > 0) *p = static_cast<I>(v);
  }
};
static DC_INLINE VecI operator+(VecI a, VecI b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) + static_cast<uint32_t>(b.v))};
}
static DC_INLINE VecI operator-(VecI a, VecI b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) - static_cast<uint32_t>(b.v))};
}
static DC_INLINE VecI operator^(VecI a, VecI b) { return {a.v ^ b.v}; }
static DC_INLINE VecI operator&(VecI a, VecI b) { return {a.v & b.v}; }
template <int N>
static DC_INLINE VecI shift_right(VecI a) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) >> N)};
}
static DC_INLINE bool eq(VecI a, VecI b) { return a.v == b.v; }
static DC_INLINE VecI select(bool m, VecI a, VecI b) { return m ? a : b; }
static DC_INLINE VecF to_float(VecI a) { return {{static_cast<float>(a.v)}}; }
static DC_INLINE VecI to_int(VecF a) { return {static_cast<int32_t>(::lrintf(a.v))}; }
static DC_INLINE bool mask_or(bool a, bool b) { return a || b; }
static DC_INLINE bool mask_and(bool a, bool b) { return a && b; }
static DC_INLINE bool mask_any(bool a) { return a; }
static DC_INLINE VecF keep_where(bool m, VecF a) { return m ? a : VecF::zero(); }
static DC_INLINE Vec<double> keep_where(bool m, Vec<double> a) { return m ? a : Vec<double>::zero(); }
static DC_INLINE void stream(float* p, VecF a) { *p = a.v; }
static DC_INLINE bool below(const uint16_t* p, int32_t limit) {
  uint16_t v;
  ::memcpy(&v, p, sizeof v);  // p may point into words of 32 bits
  return v < limit;
}
static DC_INLINE void deinterleave(VecI a, VecI b, VecI& even, VecI& odd) { even = a, odd = b; }
static DC_INLINE void interleave(VecF even, VecF odd, VecF& a, VecF& b) { a = even, b = odd; }
static DC_INLINE void stream(double* p, Vec<double> a) { *p = a.v; }

#endif

// Full registers go through load/store, tails through load_n/store_n.
template <class T>
static DC_INLINE Vec<T> load_any(const T* p, int n) {
  return n == Vec<T>::W ? Vec<T>::load(p) : Vec<T>::load_n(p, n);
}
template <class T>
static DC_INLINE void store_any(T* p, Vec<T> v, int n) {
  if (n == Vec<T>::W)
    v.store(p);
  else
    v.store_n(p, n);
}

}  // namespace dc::DC_ISA
