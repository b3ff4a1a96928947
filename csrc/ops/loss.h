// Softmax along the last axis and losses.
#pragma once
#include <optional>
#include <tuple>

#include "core/array.h"

namespace dc::ops {

Array softmax(const Array& x);
Array log_softmax(const Array& x);
// From the output y of each.
Array softmax_grad(const Array& y, const Array& g);
Array log_softmax_grad(const Array& y, const Array& g);

enum class Reduction { none = 0, sum = 1, mean = 2 };

struct CrossEntropyOptions {
  double smoothing = 0;
  int64_t ignore_label = INT64_MIN;
  Reduction reduction = Reduction::mean;
};

// x (..., c), labels (...) of int64 or int32, weights (c) or none -> loss (...) or (), log-sum-exp (...), and the
// factor between the sum of the rows and the result: 1, or 1 / sum of the weights of the labels that count.
std::tuple<Array, Array, double> cross_entropy(const Array& x, const Array& labels, const std::optional<Array>& weights,
                                               const CrossEntropyOptions& options);
Array cross_entropy_grad(const Array& x, const Array& labels, const std::optional<Array>& weights, const Array& lse,
                         const Array& g, double factor, const CrossEntropyOptions& options);
// Targets t (..., c); mean is over rows.
std::tuple<Array, Array, double> soft_cross_entropy(const Array& x, const Array& t, const std::optional<Array>& weights,
                                                    Reduction reduction);
std::pair<std::optional<Array>, std::optional<Array>> soft_cross_entropy_grad(const Array& x, const Array& t,
                                                                              const std::optional<Array>& weights,
                                                                              const Array& lse, const Array& g,
                                                                              double factor, bool need_x, bool need_t);
// Elementwise; pos_weight (c) or none.
Array bce_logits(const Array& x, const Array& t, const std::optional<Array>& pos_weight);
std::pair<std::optional<Array>, std::optional<Array>> bce_logits_grad(const Array& x, const Array& t,
                                                                      const std::optional<Array>& pos_weight,
                                                                      const Array& g, bool need_x, bool need_t);

}  // namespace dc::ops
