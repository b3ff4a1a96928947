// Reduction family over the middle axis of a contiguous (outer, r, inner) array.
#pragma once
#include "kernel.h"

namespace dc {

enum class ReduceOp : int32_t { sum, max, min, prod, sum_squares, sum_abs };

struct ReduceShape {
  int64_t outer, r, inner;
};

template <class T>
struct ReduceKernels {
  // y: (outer, inner). r == 0 gives the neutral element (0, -inf, inf, 1).
  Kernel<void(ReduceOp, const ReduceShape&, const T* x, T* y, Context&)> reduce;
};

}  // namespace dc
