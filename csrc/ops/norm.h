// Batch, group, instance and layer normalisation; channels are the last axis.
#pragma once
#include <optional>
#include <tuple>

#include "core/array.h"

namespace dc::ops {

using Grads = std::tuple<std::optional<Array>, std::optional<Array>, std::optional<Array>>;  // x, gamma, beta

// Statistics per channel over all other axes: y, mean (c), rstd (c). Running statistics, where given, are moved in
// place: running += momentum (batch - running), variance unbiased. relu: y = max(0, y) in the same pass.
std::tuple<Array, Array, Array> batch_norm(const Array& x, const std::optional<Array>& gamma,
                                           const std::optional<Array>& beta, const std::optional<Array>& running_mean,
                                           const std::optional<Array>& running_var, double momentum, double epsilon,
                                           bool relu);
// Statistics per sample (axis 0) and group of channels; groups = c is instance norm. mean, rstd: (n, groups).
std::tuple<Array, Array, Array> group_norm(const Array& x, const std::optional<Array>& gamma,
                                           const std::optional<Array>& beta, int64_t groups, double epsilon);
// per_sample: false for batch norm. beta is read for relu only.
Grads slab_norm_grad(const Array& x, const Array& g, const Array& mean, const Array& rstd,
                     const std::optional<Array>& gamma, const std::optional<Array>& beta, bool per_sample, bool relu,
                     bool need_x, bool need_affine);
// Statistics over the last `axes` axes; gamma and beta have their shape. mean, rstd: the leading axes.
std::tuple<Array, Array, Array> layer_norm(const Array& x, const std::optional<Array>& gamma,
                                           const std::optional<Array>& beta, int64_t axes, double epsilon);
Grads layer_norm_grad(const Array& x, const Array& g, const Array& mean, const Array& rstd,
                      const std::optional<Array>& gamma, int64_t axes, bool need_x, bool need_affine);
// x * scale + shift, scale and shift (c): inference of batch norm; relu as there.
Array scale_shift(const Array& x, const Array& scale, const Array& shift, bool relu);

}  // namespace dc::ops
