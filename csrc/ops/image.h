// Resizing, grid sampling and augmentation of NHWC images.
#pragma once
#include <optional>
#include <utility>

#include "core/array.h"
#include "kernels/image.h"

namespace dc::ops {

// x (n, h, w, c) -> (n, size[0], size[1], c).
Array resize(const Array& x, const Dims& size, Resize mode);
Array resize_grad(const Array& g, const Dims& shape, Resize mode);
// x (n, h, w, c) at grid (n, p, q, 2) -> (n, p, q, c).
Array grid_sample(const Array& x, const Array& grid, bool border, bool align_corners);
std::pair<std::optional<Array>, std::optional<Array>> grid_sample_grad(const Array& x, const Array& grid,
                                                                       const Array& g, bool border, bool align_corners,
                                                                       bool need_x, bool need_grid);
// Images rows[i] of x (any, h, w, c; uint8 or the dtype of gain) -> (n, p, q, c) in the dtype of gain and bias (c);
// `options` holds everything but the sizes.
Array augment(const Array& x, const Array& rows, const std::optional<Array>& ids, const Array& gain, const Array& bias,
              const Dims& size, const AugmentShape& options);
// weight[i] x[i] + (1 - weight[i]) x[partner[i]].
Array mixup(const Array& x, const Array& weight, const Array& partner);

}  // namespace dc::ops
