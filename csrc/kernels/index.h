// Indexing, ordering and running sums. All indices are int64 and were checked to lie in range.
// Three-part views: (outer, n, inner) with the axis of length n in the middle.
#pragma once
#include "kernel.h"

namespace dc {

struct AxisShape {
  int64_t outer, n, inner;
};

template <class T>
struct IndexKernels {
  // y[o, j, i] = x[o, index[j], i], y: (outer, m, inner). Embedding lookup is outer = 1.
  Kernel<void(const AxisShape&, int64_t m, const T* x, const int64_t* index, T* y, Context&)> take;
  // gx[o, index[j], i] += g[o, j, i], gx: (outer, n, inner) written whole, terms in order of j.
  Kernel<void(const AxisShape&, int64_t m, const T* g, const int64_t* index, T* gx, Context&)> take_grad;
  // y[o, j, i] = x[o, index[o, j, i], i] and its gradient; index, y and g: (outer, m, inner).
  Kernel<void(const AxisShape&, int64_t m, const T* x, const int64_t* index, T* y, Context&)> take_along;
  Kernel<void(const AxisShape&, int64_t m, const T* g, const int64_t* index, T* gx, Context&)> take_along_grad;
  // y (rows, c) = on where index says, else off; an index outside [0, c) leaves its row off.
  Kernel<void(int64_t rows, int64_t c, T on, T off, const int64_t* index, T* y, Context&)> one_hot;
  // First extreme along the axis into index (outer, inner); NaN counts as the extreme. n > 0.
  Kernel<void(const AxisShape&, const T* x, int64_t* index, Context&)> argmax;
  Kernel<void(const AxisShape&, const T* x, int64_t* index, Context&)> argmin;
  // Stable order of each row of (rows, n); NaN is larger than every number. values or index may be null.
  Kernel<void(int64_t rows, int64_t n, bool descending, const T* x, T* values, int64_t* index, Context&)> sort;
  // The first k of sort's result, k <= n.
  Kernel<void(int64_t rows, int64_t n, int64_t k, bool descending, const T* x, T* values, int64_t* index, Context&)>
      top_k;
  // Running sums along the axis, from its start or (reverse) from its end.
  Kernel<void(const AxisShape&, bool reverse, const T* x, T* y, Context&)> cumsum;
};

}  // namespace dc
