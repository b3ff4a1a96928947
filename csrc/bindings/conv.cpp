#include "ops/conv.h"

#include "bindings/bindings.h"

namespace dc {

void bind_conv(py::module_& m) {
  using namespace py::literals;
  m.def(
      "conv2d",
      [](const Array& x, const Array& w, const std::optional<Array>& bias, const Dims& stride, const Dims& padding,
         const Dims& dilation, int64_t groups, int activation) {
        return ops::conv2d(x, w, bias, {stride, padding, dilation, groups}, static_cast<Activation>(activation));
      },
      "x"_a, "w"_a, "bias"_a, "stride"_a, "padding"_a, "dilation"_a, "groups"_a, "activation"_a, NoGil());
  m.def(
      "conv2d_grad_input",
      [](const Array& g, const Array& w, const Dims& shape, const Dims& stride, const Dims& padding,
         const Dims& dilation,
         int64_t groups) { return ops::conv2d_grad_input(g, w, shape, {stride, padding, dilation, groups}); },
      "g"_a, "w"_a, "shape"_a, "stride"_a, "padding"_a, "dilation"_a, "groups"_a, NoGil());
  m.def(
      "conv2d_grad_weight",
      [](const Array& x, const Array& g, const Dims& shape, const Dims& stride, const Dims& padding,
         const Dims& dilation,
         int64_t groups) { return ops::conv2d_grad_weight(x, g, shape, {stride, padding, dilation, groups}); },
      "x"_a, "g"_a, "shape"_a, "stride"_a, "padding"_a, "dilation"_a, "groups"_a, NoGil());
}

}  // namespace dc
