// Vec<T>: one register of T in the instruction set this file is compiled for (DC_ISA).
// Every instruction set offers the same members, so kernels are written once. Vec<double> exists in
// the scalar build only. `load_n` and `store_n` never touch memory past n elements; load_n fills with 0.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef DC_ISA
#error "files of csrc/cpu are compiled once per instruction set with DC_ISA defined"
#endif

#define DC_INLINE inline __attribute__((always_inline))

#if defined(DC_ISA_AVX512)
#include "vec_avx512.h"
#elif defined(DC_ISA_AVX2)
#include "vec_avx2.h"
#else
#include "vec_scalar.h"
#endif

namespace dc::DC_ISA {

using VecF = Vec<float>;

template <class T>
static DC_INLINE T scalar_min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
static DC_INLINE T scalar_max(T a, T b) {
  return a < b ? b : a;
}

// f(i, n) for each register-sized piece of [0, count): n == Vec<T>::W but for the last piece.
template <class T, class F>
static DC_INLINE void for_vectors(int64_t count, const F& f) {
  constexpr int W = Vec<T>::W;
  int64_t i = 0;
  for (; i + W <= count; i += W) f(i, W);
  if (i < count) f(i, static_cast<int>(count - i));
}

}  // namespace dc::DC_ISA
