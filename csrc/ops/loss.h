// Softmax and the losses built on it. Softmax runs over the last axis.
#pragma once
#include <optional>
#include <utility>

#include "core/array.h"
#include "kernels/loss.h"

namespace dc::ops {

Array softmax(const Array& x);
Array log_softmax(const Array& x);
Array softmax_grad(const Array& y, const Array& g);
Array log_softmax_grad(const Array& y, const Array& g);

struct CrossEntropyOptions {
  double smoothing = 0;
  std::optional<int64_t> ignore_label;
};

// x (..., c), labels (...) of an integer type in [0, c) or ignore_label -> the loss of each row and its log-sum-exp.
// With `total`, the losses come as one number: their sum times it.
std::pair<Array, Array> cross_entropy(const Array& x, const Array& labels, const std::optional<Array>& weights,
                                      const CrossEntropyOptions& options, std::optional<double> total = std::nullopt);
// g: shape of the labels, or one element for all rows; scaled by `scale`.
Array cross_entropy_grad(const Array& x, const Array& labels, const std::optional<Array>& weights, const Array& lse,
                         const Array& g, double scale, const CrossEntropyOptions& options);
// The same with target distributions t (..., c).
std::pair<Array, Array> soft_cross_entropy(const Array& x, const Array& t, const std::optional<Array>& weights);
std::pair<Array, Array> soft_cross_entropy_grad(const Array& x, const Array& t, const std::optional<Array>& weights,
                                                const Array& lse, const Array& g);
// Elementwise; pos_weight: one value per entry of the last axis.
Array bce_with_logits(const Array& x, const Array& t, const std::optional<Array>& pos_weight);
// Cotangents of x and t, each where it is needed.
std::pair<std::optional<Array>, std::optional<Array>> bce_with_logits_grad(const Array& x, const Array& t,
                                                                           const std::optional<Array>& pos_weight,
                                                                           const Array& g, bool need_x, bool need_t);

}  // namespace dc::ops
