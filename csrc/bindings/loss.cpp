#include "ops/loss.h"

#include "bindings/bindings.h"

namespace dc {

void bind_loss(py::module_& m) {
  using namespace py::literals;
  using ops::Reduction;
  m.def("softmax", &ops::softmax, "x"_a, NoGil());
  m.def("log_softmax", &ops::log_softmax, "x"_a, NoGil());
  m.def("softmax_grad", &ops::softmax_grad, "y"_a, "g"_a, NoGil());
  m.def("log_softmax_grad", &ops::log_softmax_grad, "y"_a, "g"_a, NoGil());
  m.def(
      "cross_entropy",
      [](const Array& x, const Array& labels, const std::optional<Array>& weights, double smoothing,
         const std::optional<int64_t>& ignore_label, int reduction) {
        return ops::cross_entropy(x, labels, weights,
                                  {smoothing, ignore_label.value_or(INT64_MIN), static_cast<Reduction>(reduction)});
      },
      "x"_a, "labels"_a, "weights"_a, "smoothing"_a, "ignore_label"_a, "reduction"_a, NoGil());
  m.def(
      "cross_entropy_grad",
      [](const Array& x, const Array& labels, const std::optional<Array>& weights, const Array& lse, const Array& g,
         double factor, double smoothing, const std::optional<int64_t>& ignore_label) {
        return ops::cross_entropy_grad(x, labels, weights, lse, g, factor,
                                       {smoothing, ignore_label.value_or(INT64_MIN), Reduction::none});
      },
      "x"_a, "labels"_a, "weights"_a, "lse"_a, "g"_a, "factor"_a, "smoothing"_a, "ignore_label"_a, NoGil());
  m.def(
      "soft_cross_entropy",
      [](const Array& x, const Array& t, const std::optional<Array>& weights, int reduction) {
        return ops::soft_cross_entropy(x, t, weights, static_cast<Reduction>(reduction));
      },
      "x"_a, "t"_a, "weights"_a, "reduction"_a, NoGil());
  m.def("soft_cross_entropy_grad", &ops::soft_cross_entropy_grad, "x"_a, "t"_a, "weights"_a, "lse"_a, "g"_a, "factor"_a,
        "need_x"_a, "need_t"_a, NoGil());
  m.def("bce_logits", &ops::bce_logits, "x"_a, "t"_a, "pos_weight"_a, NoGil());
  m.def("bce_logits_grad", &ops::bce_logits_grad, "x"_a, "t"_a, "pos_weight"_a, "g"_a, "need_x"_a, "need_t"_a, NoGil());
}

}  // namespace dc
