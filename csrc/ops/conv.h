// Two-dimensional convolution and its two gradients, NHWC images, (k, r, s, c / groups) filters.
#pragma once
#include <optional>

#include "core/array.h"
#include "kernels/conv.h"

namespace dc::ops {

struct ConvOptions {
  Dims stride{1, 1};
  Dims padding{0, 0, 0, 0};  // top, bottom, left, right
  Dims dilation{1, 1};
  int64_t groups = 1;
};

Array conv2d(const Array& x, const Array& w, const std::optional<Array>& bias, const ConvOptions& options,
             Activation activation);
// The gradients of sum(g * conv2d(x, w)): `shape` is that of x, or of w.
Array conv2d_grad_input(const Array& g, const Array& w, const Dims& shape, const ConvOptions& options);
Array conv2d_grad_weight(const Array& x, const Array& g, const Dims& shape, const ConvOptions& options);

}  // namespace dc::ops
