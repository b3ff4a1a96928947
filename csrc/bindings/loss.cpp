#include "ops/loss.h"

#include "bindings/bindings.h"

namespace dc {

void bind_loss(py::module_& m) {
  using namespace py::literals;
  m.def("softmax", &ops::softmax, "x"_a, NoGil());
  m.def("log_softmax", &ops::log_softmax, "x"_a, NoGil());
  m.def("softmax_grad", &ops::softmax_grad, "y"_a, "g"_a, NoGil());
  m.def("log_softmax_grad", &ops::log_softmax_grad, "y"_a, "g"_a, NoGil());
  m.def(
      "cross_entropy",
      [](const Array& x, const Array& labels, const std::optional<Array>& weights, double smoothing,
         std::optional<int64_t> ignore,
         std::optional<double> total) { return ops::cross_entropy(x, labels, weights, {smoothing, ignore}, total); },
      "x"_a, "labels"_a, "weights"_a, "smoothing"_a, "ignore_label"_a, "total"_a, NoGil());
  m.def(
      "cross_entropy_grad",
      [](const Array& x, const Array& labels, const std::optional<Array>& weights, const Array& lse, const Array& g,
         double scale, double smoothing, std::optional<int64_t> ignore) {
        return ops::cross_entropy_grad(x, labels, weights, lse, g, scale, {smoothing, ignore});
      },
      "x"_a, "labels"_a, "weights"_a, "lse"_a, "g"_a, "scale"_a, "smoothing"_a, "ignore_label"_a, NoGil());
  m.def("soft_cross_entropy", &ops::soft_cross_entropy, "x"_a, "t"_a, "weights"_a, NoGil());
  m.def("soft_cross_entropy_grad", &ops::soft_cross_entropy_grad, "x"_a, "t"_a, "weights"_a, "lse"_a, "g"_a, NoGil());
  m.def("bce_with_logits", &ops::bce_with_logits, "x"_a, "t"_a, "pos_weight"_a, NoGil());
  m.def("bce_with_logits_grad", &ops::bce_with_logits_grad, "x"_a, "t"_a, "pos_weight"_a, "g"_a, "need_x"_a = true,
        "need_t"_a = true, NoGil());
}

}  // namespace dc
