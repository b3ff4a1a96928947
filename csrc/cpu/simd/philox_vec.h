// Philox4x32-10 on registers. fill(first_block, words) writes the words of kBlocks consecutive blocks, in order;
// fill_rows(first_block, step, words) those of kRows runs of kRowWords / 4 blocks whose starts are `step` apart.
// A 64-bit lane holds one 32-bit word of one block: one multiplication gives both halves of a product, the upper
// halves of the other words are never read. Four registers of blocks run at once to hide the latency of the rounds.
#pragma once
#include "core/philox.h"
#include "vec.h"

namespace dc::DC_ISA {

struct PhiloxStream {
  uint64_t seed, stream;

#if defined(DC_ISA_AVX512) || defined(DC_ISA_AVX2)
#if defined(DC_ISA_AVX512)
  using Lanes = __m512i;
  static DC_INLINE Lanes set(int64_t x) { return _mm512_set1_epi64(x); }
  static DC_INLINE Lanes mul(Lanes a, Lanes b) { return _mm512_mul_epu32(a, b); }
  static DC_INLINE Lanes high(Lanes a) { return _mm512_srli_epi64(a, 32); }
  static DC_INLINE Lanes xor3(Lanes a, Lanes b, Lanes c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  static DC_INLINE Lanes add(Lanes a, Lanes b) { return _mm512_add_epi64(a, b); }
  // Blocks in the order that the unpacking of emit() turns into memory order.
  static DC_INLINE Lanes order() { return _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7); }
  static DC_INLINE void emit(Lanes c0, Lanes c1, Lanes c2, Lanes c3, uint32_t* words) {
    const Lanes a = _mm512_mask_blend_epi32(0xAAAA, c0, _mm512_slli_epi64(c1, 32));
    const Lanes b = _mm512_mask_blend_epi32(0xAAAA, c2, _mm512_slli_epi64(c3, 32));
    _mm512_storeu_si512(words, _mm512_unpacklo_epi64(a, b));
    _mm512_storeu_si512(words + 16, _mm512_unpackhi_epi64(a, b));
  }
#else
  using Lanes = __m256i;
  static DC_INLINE Lanes set(int64_t x) { return _mm256_set1_epi64x(x); }
  static DC_INLINE Lanes mul(Lanes a, Lanes b) { return _mm256_mul_epu32(a, b); }
  static DC_INLINE Lanes high(Lanes a) { return _mm256_srli_epi64(a, 32); }
  static DC_INLINE Lanes xor3(Lanes a, Lanes b, Lanes c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
  static DC_INLINE Lanes add(Lanes a, Lanes b) { return _mm256_add_epi64(a, b); }
  static DC_INLINE Lanes order() { return _mm256_setr_epi64x(0, 2, 1, 3); }
  static DC_INLINE void emit(Lanes c0, Lanes c1, Lanes c2, Lanes c3, uint32_t* words) {
    const Lanes a = _mm256_blend_epi32(c0, _mm256_slli_epi64(c1, 32), 0xAA);
    const Lanes b = _mm256_blend_epi32(c2, _mm256_slli_epi64(c3, 32), 0xAA);
    _mm256_storeu_si256((__m256i*)words, _mm256_unpacklo_epi64(a, b));
    _mm256_storeu_si256((__m256i*)(words + 8), _mm256_unpackhi_epi64(a, b));
  }
#endif
  static constexpr int kLanes = sizeof(Lanes) / 8, kBlocks = 4 * kLanes, kWords = 4 * kBlocks;
  static constexpr int kRows = 4, kRowWords = 4 * kLanes;

  DC_INLINE void fill(uint64_t first_block, uint32_t* words) const { fill_rows(first_block, kLanes, words); }

  DC_INLINE void fill_rows(uint64_t first_block, uint64_t step, uint32_t* words) const {
    const Lanes m0 = set(kPhiloxM0), m1 = set(kPhiloxM1);
    Lanes c0[4], c1[4], c2[4], c3[4];
    for (int b = 0; b < 4; ++b) {
      c0[b] = add(set(static_cast<int64_t>(first_block + static_cast<uint64_t>(b) * step)), order());
      c1[b] = high(c0[b]);
      c2[b] = set(static_cast<int64_t>(stream));
      c3[b] = high(c2[b]);
    }
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const Lanes key0 = set(k0), key1 = set(k1);
      for (int b = 0; b < 4; ++b) {
        const Lanes p0 = mul(c0[b], m0), p1 = mul(c2[b], m1);
        c0[b] = xor3(high(p1), c1[b], key0);
        c2[b] = xor3(high(p0), c3[b], key1);
        c1[b] = p1;
        c3[b] = p0;
      }
      k0 += kPhiloxW0;
      k1 += kPhiloxW1;
    }
    for (int b = 0; b < 4; ++b) emit(c0[b], c1[b], c2[b], c3[b], words + b * 4 * kLanes);
  }
#else
  static constexpr int kBlocks = 1, kWords = 4, kRows = 4, kRowWords = 4;
  void fill_rows(uint64_t first_block, uint64_t step, uint32_t* words) const {
    for (uint64_t r = 0; r < kRows; ++r) fill(first_block + r * step, words + r * kRowWords);
  }
  void fill(uint64_t first_block, uint32_t* words) const {
    const PhiloxBlock b = philox(seed, stream, first_block);
    ::memcpy(words, b.word, sizeof b.word);
  }
#endif
};

}  // namespace dc::DC_ISA
