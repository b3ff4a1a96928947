// Indexing, ordering and running sums. Indices may be int64, int32 or uint8, negative ones count from the end.
#pragma once
#include <utility>

#include "core/array.h"

namespace dc::ops {

// The slices of x along `axis` named by index (any shape): axis is replaced by the axes of index.
Array take(const Array& x, const Array& index, int64_t axis);
// g shaped like take(x, index, axis) -> x with `size` along axis, repeated slices added up.
Array take_grad(const Array& g, const Array& index, int64_t size, int64_t axis);
// y[..., j, ...] = x[..., index[..., j, ...], ...]; index has the shape of x but for `axis`.
Array take_along(const Array& x, const Array& index, int64_t axis);
Array take_along_grad(const Array& g, const Array& index, int64_t size, int64_t axis);
// (...,) -> (..., c) of on and off; every index must be in [0, c).
Array one_hot(const Array& index, int64_t c, double on, double off, DType dtype);
// First extreme along axis, int64, without that axis (or with size 1).
Array argmax(const Array& x, int64_t axis, bool keepdims);
Array argmin(const Array& x, int64_t axis, bool keepdims);
// Along the last axis: values and int64 places, stable; the first k of them.
std::pair<Array, Array> sort(const Array& x, bool descending);
std::pair<Array, Array> top_k(const Array& x, int64_t k, bool descending);
Array cumsum(const Array& x, int64_t axis, bool reverse);

}  // namespace dc::ops
