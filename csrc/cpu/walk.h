// Walks a flat range of an Nd row by row.
#pragma once
#include "cpu/simd/vec.h"
#include "kernels/layout.h"

namespace dc::DC_ISA {

// Calls f(flat, n, o0, o1, o2) for each piece of an innermost row inside [begin, end): `flat` is the index of its
// first element in the contiguous result, n its length, o_i the element offset of operand i there.
template <class F>
static DC_INLINE void walk_rows(const Nd& nd, int64_t begin, int64_t end, const F& f) {
  if (begin >= end) return;
  const int last = nd.ndim - 1;
  const int64_t row = nd.shape[last];
  int64_t index[8] = {}, offset[3] = {};
  int64_t rest = begin;
  for (int d = last; d >= 0; --d) {
    index[d] = rest % nd.shape[d];
    rest /= nd.shape[d];
    for (int i = 0; i < 3; ++i) offset[i] += index[d] * nd.stride[i][d];
  }
  for (int64_t flat = begin; flat < end;) {
    const int64_t n = scalar_min(row - index[last], end - flat);
    f(flat, n, offset[0], offset[1], offset[2]);
    flat += n;
    index[last] += n;
    for (int i = 0; i < 3; ++i) offset[i] += n * nd.stride[i][last];
    for (int d = last; d > 0 && index[d] == nd.shape[d]; --d) {
      index[d] = 0;
      ++index[d - 1];
      for (int i = 0; i < 3; ++i) offset[i] += nd.stride[i][d - 1] - nd.shape[d] * nd.stride[i][d];
    }
  }
}

}  // namespace dc::DC_ISA
