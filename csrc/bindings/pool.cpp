#include "ops/pool.h"

#include "bindings/bindings.h"

namespace dc {

void bind_pool(py::module_& m) {
  using namespace py::literals;
  using ops::PoolOptions;
  py::class_<PoolOptions>(m, "PoolOptions")
      .def(py::init([](const Dims& window, const Dims& stride, const Dims& padding, const Dims& dilation,
                       const Dims& outputs) { return PoolOptions{window, stride, padding, dilation, outputs}; }),
           "window"_a, "stride"_a, "padding"_a, "dilation"_a, "outputs"_a);
  m.def("max_pool", &ops::max_pool, "x"_a, "options"_a, NoGil());
  m.def("max_pool_values", &ops::max_pool_values, "x"_a, "options"_a, NoGil());
  m.def("pool_scatter", &ops::pool_scatter, "g"_a, "index"_a, "shape"_a, "options"_a, NoGil());
  m.def("pool_gather", &ops::pool_gather, "x"_a, "index"_a, "options"_a, NoGil());
  m.def(
      "average_pool",
      [](const Array& x, const PoolOptions& options, int divisor) {
        return ops::average_pool(x, options, static_cast<PoolDivisor>(divisor));
      },
      "x"_a, "options"_a, "divisor"_a, NoGil());
  m.def(
      "average_pool_grad",
      [](const Array& g, const Dims& shape, const PoolOptions& options, int divisor) {
        return ops::average_pool_grad(g, shape, options, static_cast<PoolDivisor>(divisor));
      },
      "g"_a, "shape"_a, "options"_a, "divisor"_a, NoGil());
}

}  // namespace dc
