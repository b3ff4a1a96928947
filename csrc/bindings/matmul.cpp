#include "ops/matmul.h"

#include "bindings/bindings.h"

namespace dc {

void bind_matmul(py::module_& m) {
  using namespace py::literals;
  m.def("matmul", &ops::matmul, "a"_a, "b"_a, NoGil());
  m.def(
      "linear",
      [](const Array& x, const Array& w, const std::optional<Array>& bias, int activation) {
        return ops::linear(x, w, bias, static_cast<Activation>(activation));
      },
      "x"_a, "w"_a, "bias"_a = py::none(), "activation"_a = 0, NoGil());
}

}  // namespace dc
