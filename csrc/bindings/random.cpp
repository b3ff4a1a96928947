#include "ops/random.h"

#include "bindings/bindings.h"

namespace dc {

void bind_random(py::module_& m) {
  using namespace py::literals;
  // Plain lambdas: dtype objects are read before the GIL is released.
  m.def(
      "random_uniform",
      [](const Dims& shape, double low, double high, const py::object& dtype, uint64_t seed, uint64_t stream,
         uint64_t offset) {
        const DType t = dtype_from(dtype);
        py::gil_scoped_release release;
        return ops::random_uniform(shape, low, high, t, {seed, stream, offset});
      },
      "shape"_a, "low"_a, "high"_a, "dtype"_a, "seed"_a, "stream"_a, "offset"_a = 0);
  m.def(
      "random_normal",
      [](const Dims& shape, double mean, double deviation, const py::object& dtype, uint64_t seed, uint64_t stream,
         uint64_t offset) {
        const DType t = dtype_from(dtype);
        py::gil_scoped_release release;
        return ops::random_normal(shape, mean, deviation, t, {seed, stream, offset});
      },
      "shape"_a, "mean"_a, "deviation"_a, "dtype"_a, "seed"_a, "stream"_a, "offset"_a = 0);
  m.def(
      "random_bernoulli",
      [](const Dims& shape, double p, const py::object& dtype, uint64_t seed, uint64_t stream, uint64_t offset) {
        const DType t = dtype_from(dtype);
        py::gil_scoped_release release;
        return ops::random_bernoulli(shape, p, t, {seed, stream, offset});
      },
      "shape"_a, "p"_a, "dtype"_a, "seed"_a, "stream"_a, "offset"_a = 0);
  m.def(
      "random_bernoulli_each",
      [](const Array& p, uint64_t seed, uint64_t stream, uint64_t offset) {
        return ops::random_bernoulli_each(p, {seed, stream, offset});
      },
      "p"_a, "seed"_a, "stream"_a, "offset"_a = 0, NoGil());
  m.def(
      "random_bits",
      [](const Dims& shape, uint64_t seed, uint64_t stream, uint64_t offset) {
        return ops::random_bits(shape, {seed, stream, offset});
      },
      "shape"_a, "seed"_a, "stream"_a, "offset"_a = 0, NoGil());
  m.def(
      "random_permutation",
      [](int64_t n, uint64_t seed, uint64_t stream, uint64_t offset) {
        return ops::random_permutation(n, {seed, stream, offset});
      },
      "n"_a, "seed"_a, "stream"_a, "offset"_a = 0, NoGil());
  m.def(
      "dropout",
      [](const Array& x, double p, uint64_t seed, uint64_t stream, uint64_t offset) {
        return ops::dropout(x, p, {seed, stream, offset});
      },
      "x"_a, "p"_a, "seed"_a, "stream"_a, "offset"_a = 0, NoGil());
}

}  // namespace dc
