#include "ops/elementwise.h"

#include "bindings/bindings.h"

namespace dc {

void bind_elementwise(py::module_& m) {
  using namespace py::literals;
#define DC_BIND_UNARY(op)                                                                                  \
  m.def(                                                                                                   \
      #op, [](const Array& x, double p0, double p1) { return ops::unary(UnaryOp::op, x, p0, p1); }, "x"_a, \
      "p0"_a = 0.0, "p1"_a = 0.0, NoGil());
  DC_UNARY_OPS(DC_BIND_UNARY)
#define DC_BIND_BINARY(op)                                                                                          \
  m.def(                                                                                                            \
      #op,                                                                                                          \
      [](const Array& a, const Array& b, double p0, double p1) { return ops::binary(BinaryOp::op, a, b, p0, p1); }, \
      "a"_a, "b"_a, "p0"_a = 0.0, "p1"_a = 0.0, NoGil());
  DC_BINARY_OPS(DC_BIND_BINARY)
#define DC_BIND_COMPARE(op) \
  m.def(#op, [](const Array& a, const Array& b) { return ops::compare(CompareOp::op, a, b); }, "a"_a, "b"_a, NoGil());
  DC_COMPARE_OPS(DC_BIND_COMPARE)
  m.def("where", &ops::where, "condition"_a, "a"_a, "b"_a, NoGil());
}

}  // namespace dc
