#include "ops/reduce.h"

#include "bindings/bindings.h"

namespace dc {

void bind_reduce(py::module_& m) {
  using namespace py::literals;
  const auto bind = [&](const char* python_name, ReduceOp op) {
    m.def(
        python_name,
        [op](const Array& x, const std::optional<Dims>& axes, bool keepdims) {
          return ops::reduce(op, x, axes.value_or(Dims{}), !axes.has_value(), keepdims);
        },
        "x"_a, "axes"_a = py::none(), "keepdims"_a = false, NoGil());
  };
  bind("sum", ReduceOp::sum);
  bind("max", ReduceOp::max);
  bind("min", ReduceOp::min);
  bind("prod", ReduceOp::prod);
  bind("sum_squares", ReduceOp::sum_squares);
  bind("sum_abs", ReduceOp::sum_abs);
}

}  // namespace dc
