#include "ops/matmul.h"

#include "bindings/bindings.h"

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
  m.def("pack_linear", &ops::pack_linear, "w"_a, NoGil());
}

}  // namespace dc
