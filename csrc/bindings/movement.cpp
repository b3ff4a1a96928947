#include "ops/movement.h"

#include "bindings/bindings.h"

namespace dc {

void bind_movement(py::module_& m) {
  using namespace py::literals;
  m.def("contiguous", &ops::contiguous, "x"_a, NoGil());
  m.def("copy", &ops::copy, "x"_a, NoGil());
  m.def("copy_into", [](const Array& x, Array& out) { ops::copy_into(x, out); }, "x"_a, "out"_a, NoGil());
  m.def(
      "cast", [](const Array& x, const py::object& dtype) { return ops::cast(x, dtype_from(dtype)); }, "x"_a,
      "dtype"_a);
  m.def("reshape", &ops::reshape, "x"_a, "shape"_a, NoGil());
  m.def("transpose", &ops::transpose, "x"_a, "axes"_a);
  m.def("broadcast_to", &ops::broadcast_to, "x"_a, "shape"_a);
  m.def("slice", &ops::slice, "x"_a, "starts"_a, "sizes"_a, "steps"_a);
  m.def("slice_embed", &ops::slice_embed, "g"_a, "shape"_a, "starts"_a, "steps"_a, NoGil());
  m.def("flip", &ops::flip, "x"_a, "axes"_a);
  m.def("concatenate", &ops::concatenate, "xs"_a, "axis"_a, NoGil());
}

}  // namespace dc
