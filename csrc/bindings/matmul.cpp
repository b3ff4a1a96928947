#include "ops/matmul.h"

#include "bindings/bindings.h"
#include "ops/optim.h"

namespace dc {

void bind_matmul(py::module_& m) {
  using namespace py::literals;
  m.def("matmul", &ops::matmul, "a"_a, "b"_a, NoGil());
  m.def(
      "linear",
      [](const Array& x, const Array& w, const std::optional<Array>& bias, int activation,
         const std::optional<Array>& packed) {
        return ops::linear(x, w, bias, static_cast<Activation>(activation), packed);
      },
      "x"_a, "w"_a, "bias"_a = py::none(), "activation"_a = 0, "packed"_a = py::none(), NoGil());
  m.def(
      "linear_grad",
      [](const Array& g, const Array& y, const Array& x, const Array& w, int activation, bool need_x, bool need_w,
         bool need_bias, const std::optional<ops::StepOptions>& w_step) {
        ops::LinearGrads r = ops::linear_grad(g, y, x, w, static_cast<Activation>(activation), need_x, need_w,
                                              need_bias, w_step ? &*w_step : nullptr);
        return std::tuple(std::move(r.x), std::move(r.w), std::move(r.bias));
      },
      "g"_a, "y"_a, "x"_a, "w"_a, "activation"_a, "need_x"_a, "need_w"_a, "need_bias"_a, "w_step"_a = py::none(),
      NoGil());
  m.def("pack_linear", &ops::pack_linear, "w"_a, NoGil());
}

}  // namespace dc
