// Pooling over windows of an NHWC image.
#pragma once
#include <optional>
#include <utility>

#include "core/array.h"
#include "kernels/pool.h"

namespace dc::ops {

// window, stride, dilation: (rows, columns); padding: (top, bottom, left, right). Adaptive pooling gives the sizes of
// the result in `outputs` instead; then the others are not read.
struct PoolOptions {
  Dims window, stride, padding, dilation, outputs;
};

// x (n, h, w, c) -> y (n, p, q, c) and the place of each maximum in its window, row-major (uint8, or int32 for windows
// of more than 256 taps).
std::pair<Array, Array> max_pool(const Array& x, const PoolOptions& options);
Array max_pool_values(const Array& x, const PoolOptions& options);
// g and index (n, p, q, c) -> shape (n, h, w, c): sums of g at the places index names, zero elsewhere.
Array pool_scatter(const Array& g, const Array& index, const Dims& shape, const PoolOptions& options);
// x (n, h, w, c) at the places index names.
Array pool_gather(const Array& x, const Array& index, const PoolOptions& options);
Array average_pool(const Array& x, const PoolOptions& options, PoolDivisor divisor);
Array average_pool_grad(const Array& g, const Dims& shape, const PoolOptions& options, PoolDivisor divisor);

}  // namespace dc::ops
