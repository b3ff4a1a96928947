#include "ops/index.h"

#include "bindings/bindings.h"

namespace dc {

void bind_index(py::module_& m) {
  using namespace py::literals;
  m.def("take", &ops::take, "x"_a, "index"_a, "axis"_a, NoGil());
  m.def("take_grad", &ops::take_grad, "g"_a, "index"_a, "size"_a, "axis"_a, NoGil());
  m.def("take_along", &ops::take_along, "x"_a, "index"_a, "axis"_a, NoGil());
  m.def("take_along_grad", &ops::take_along_grad, "g"_a, "index"_a, "size"_a, "axis"_a, NoGil());
  m.def(
      "one_hot",
      [](const Array& index, int64_t c, double on, double off, const py::object& dtype) {
        return ops::one_hot(index, c, on, off, dtype_from(dtype));
      },
      "index"_a, "c"_a, "on"_a, "off"_a, "dtype"_a);
  m.def("argmax", &ops::argmax, "x"_a, "axis"_a, "keepdims"_a, NoGil());
  m.def("argmin", &ops::argmin, "x"_a, "axis"_a, "keepdims"_a, NoGil());
  m.def("sort", &ops::sort, "x"_a, "descending"_a, NoGil());
  m.def("top_k", &ops::top_k, "x"_a, "k"_a, "descending"_a, NoGil());
  m.def("cumsum", &ops::cumsum, "x"_a, "axis"_a, "reverse"_a, NoGil());
}

}  // namespace dc
