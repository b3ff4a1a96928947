// What happens to blocks of a product's C once their values are complete, while they are in cache, by the thread that
// computed them. Blocks cover C, each element once, and their columns start at multiples of four.
//   NoFinish              nothing;
//   f(row, rows, column, n)   the block has been stored in C;
//   Taken<T>              the block is given away, and C is never written.
#pragma once
#include "cpu/simd/vec.h"

namespace dc::DC_ISA {

struct NoFinish {
  DC_INLINE void operator()(int64_t, int64_t, int64_t, int64_t) const {}
};

// give(owner, row, rows, column, n, values, stride) for each block; of most, foretell(owner, row, rows, column, n)
// comes before they are computed.
template <class T>
struct Taken {
  const void* owner;
  void (*give)(const void* owner, int64_t row, int64_t rows, int64_t column, int64_t n, const T* values,
               int64_t stride);
  void (*foretell)(const void* owner, int64_t row, int64_t rows, int64_t column, int64_t n);
};

template <class Finish>
static constexpr bool kTaken = false;
template <class T>
constexpr bool kTaken<Taken<T>> = true;

// Whether blocks have to be those of C, not of its transpose.
template <class Finish>
static constexpr bool kFinishes = !kTaken<Finish>;
template <>
constexpr bool kFinishes<NoFinish> = false;

}  // namespace dc::DC_ISA
