// What gathers share: division by a number known at launch, and one or four neighbours in one access.
#pragma once
#include "device/primitives.cuh"
#include "runtime/run.h"

namespace dc::cuda {

// Quotients by `size` of numbers that are not negative. Those below 2^31 take a multiplication and a shift, exactly
// (Granlund and Montgomery, 1994, with a factor of 33 bits).
struct Divisor {
  long long size = 1;
  unsigned factor = 1, shift = 0;

  Divisor() = default;
  explicit Divisor(long long by) : size(by < 1 ? 1 : by) {
    while (shift < 31 && (1ll << shift) < size) ++shift;
    // A size of 2^31 and more gives 0: no factor, and 31 bits to shift away.
    const bool beyond = (1ll << shift) < size;
    factor =
        beyond ? 0u
               : static_cast<unsigned>(
                     (1ull << 32) * ((1ull << shift) - static_cast<uint64_t>(size)) / static_cast<uint64_t>(size) + 1);
  }

  DC_DEVICE unsigned of(unsigned n) const {  // n < 2^31
    return (static_cast<unsigned>(static_cast<unsigned long long>(n) * factor >> 32) + n) >> shift;
  }
  DC_DEVICE long long of(long long n) const {
    if (n <= 0x7FFFFFFF) return of(static_cast<unsigned>(n));
    return n / size;
  }
  // What is left of n; n becomes the quotient: the last coordinate of a flat index.
  DC_DEVICE long long peel(long long& n) const {
    const long long quotient = of(n), rest = n - quotient * size;
    n = quotient;
    return rest;
  }
};

template <class T, int kWidth>
struct Pack {
  T of[kWidth];
};

// Packs of four are 16-byte accesses to floats.
template <class T, int kWidth>
DC_DEVICE Pack<T, kWidth> load_pack(const T* p) {
  if constexpr (kWidth == 4) {
    const float4 v = load<float4>(p);
    return {{v.x, v.y, v.z, v.w}};
  } else {
    return {{*p}};
  }
}
template <class T, int kWidth>
DC_DEVICE void store_pack(T* p, const Pack<T, kWidth>& v) {
  if constexpr (kWidth == 4)
    store(p, float4{v.of[0], v.of[1], v.of[2], v.of[3]});
  else
    *p = v.of[0];
}
template <class T, int kWidth>
DC_DEVICE Pack<T, kWidth> pack_of(T value) {
  Pack<T, kWidth> v;
  DC_UNROLL
  for (int i = 0; i < kWidth; ++i) v.of[i] = value;
  return v;
}

// Rows of `row` floats from here on can be read and written in packs of four.
template <class T, class... P>
bool four_at_a_time(int64_t row, const P*... p) {
  return sizeof(T) == 4 && row % 4 == 0 && (aligned(p) && ...);
}

}  // namespace dc::cuda
