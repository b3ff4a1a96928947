// Random numbers from Philox4x32-10 (core/philox.h): functions of (seed, stream, offset, element index) only. offset
// counts blocks of four words; `word j` below is word j % 4 of block offset + j / 4, and 64-bit numbers are made of two
// words, the first one low.
//   bits        word i
//   uniform     float: the 24 upper bits of word i; double: the 53 upper bits of words 2i, 2i + 1
//   bernoulli   1 where the 24 upper bits of word i, as a number in [0, 1), are < p (float and double alike)
//   normal      Box-Muller: elements 2j and 2j + 1 are r cos and r sin of words 2j, 2j + 1 (double: words 4j .. 4j +
//   3);
//               equal between instruction sets up to rounding, all others bit for bit
//   permutation Fisher-Yates from the back: i = n - 1 .. 1 swaps with floor(u_i (i + 1)), u_i = words 2i, 2i + 1
//   dropout     element i is kept where half-word i (low half of a word first) < keep, keep = (1 - p) rounded to a
//               multiple of 2^-16 (at least 2^-16 for p < 1), and scaled by 1 / keep; the gradient is the same map of g
#pragma once
#include "kernel.h"

namespace dc {

struct RandomKey {
  uint64_t seed, stream, offset;
};

template <class T>
struct RandomKernels {
  Kernel<void(const RandomKey&, int64_t n, uint32_t* y, Context&)> bits;
  Kernel<void(const RandomKey&, int64_t n, T low, T high, T* y, Context&)> uniform;  // [low, high)
  Kernel<void(const RandomKey&, int64_t n, T mean, T deviation, T* y, Context&)> normal;
  Kernel<void(const RandomKey&, int64_t n, T p, T* y, Context&)> bernoulli;
  Kernel<void(const RandomKey&, int64_t n, const T* p, T* y, Context&)> bernoulli_each;
  Kernel<void(const RandomKey&, int64_t n, int64_t* y, Context&)> permutation;
  Kernel<void(const RandomKey&, int64_t n, double p, const T* x, T* y, Context&)> dropout;  // x may be y
};

}  // namespace dc
