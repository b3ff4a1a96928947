// Random words to numbers, on registers: uniform in [0, 1) and standard normal (kernels/random.h says which bits).
#pragma once
#include "math.h"
#include "vec_int.h"

namespace dc::DC_ISA {

static DC_INLINE VecI load_words(const uint32_t* words) { return VecI::load(reinterpret_cast<const int32_t*>(words)); }

template <class T>
static DC_INLINE Vec<T> unit(const uint32_t* words) {
  if constexpr (sizeof(T) == 4)
    return to_float(shift_right<8>(load_words(words))) * Vec<T>::set(T(0x1p-24));
  else
    return Vec<T>::set(static_cast<T>(words[0] >> 8) * T(0x1p-24));
}

static DC_INLINE double unit53(const uint32_t* words) {
  const uint64_t bits = static_cast<uint64_t>(words[1]) << 32 | words[0];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// cos and sin of 2 pi u, u in [0, 1): quarter turns taken off exactly, polynomials on [-pi/4, pi/4] (after Cephes).
static DC_INLINE void turn(VecF u, VecF& cosine, VecF& sine) {
  const VecF quarters = u * VecF::set(4.0f), whole = round(quarters);
  const VecF x = (quarters - whole) * VecF::set(1.57079632679489662f), z = x * x;
  VecF s = VecF::set(-1.9515295891e-4f);
  s = fma(s, z, VecF::set(8.3321608736e-3f));
  s = fma(s, z, VecF::set(-1.6666654611e-1f));
  s = fma(s * z, x, x);
  VecF c = VecF::set(2.443315711809948e-5f);
  c = fma(c, z, VecF::set(-1.388731625493765e-3f));
  c = fma(c, z, VecF::set(4.166664568298827e-2f));
  c = fma(c * z, z, fnma(VecF::set(0.5f), z, VecF::set(1.0f)));
  const VecI quadrant = to_int(whole), one = VecI::set(1), two = VecI::set(2);
  const auto swap = eq(quadrant & one, one);
  const VecF a = select(swap, s, c), b = select(swap, c, s);
  cosine = select(eq((quadrant + one) & two, two), -a, a);
  sine = select(eq(quadrant & two, two), -b, b);
}

// Standard normals from 2 W words (Box and Muller, 1958): of each pair of words the elements r cos and r sin.
static DC_INLINE void normal_pairs(const uint32_t* words, VecF& a, VecF& b) {
  VecI even, odd;
  deinterleave(load_words(words), load_words(words + VecF::W), even, odd);
  // 31 bits and a half, never 0: radii up to 6.66.
  const VecF u = fma(to_float(shift_right<1>(even)), VecF::set(0x1p-31f), VecF::set(0x1p-32f));
  const VecF r = sqrt(log(u) * VecF::set(-2.0f));
  VecF cosine, sine;
  turn(to_float(shift_right<8>(odd)) * VecF::set(0x1p-24f), cosine, sine);
  interleave(r * cosine, r * sine, a, b);
}

}  // namespace dc::DC_ISA
