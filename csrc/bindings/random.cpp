#include "ops/random.h"

#include "bindings/bindings.h"

namespace dc {

RandomKey random_key_from(const std::tuple<py::int_, py::int_, py::int_>& key) {
  const auto word = [](const py::int_& v) {
    const unsigned long long r = PyLong_AsUnsignedLongLongMask(v.ptr());
    if (PyErr_Occurred()) throw py::error_already_set();
    return static_cast<uint64_t>(r);
  };
  return {word(std::get<0>(key)), word(std::get<1>(key)), word(std::get<2>(key))};
}

using Key = std::tuple<py::int_, py::int_, py::int_>;

void bind_random(py::module_& m) {
  using namespace py::literals;
  m.def(
      "random_bits",
      [](const Key& key, const Dims& shape, const std::string& device) {
        return ops::random_bits(random_key_from(key), shape, device_from(device));
      },
      "key"_a, "shape"_a, "device"_a);
  m.def(
      "random_uniform",
      [](const Key& key, const Dims& shape, double low, double high, const py::object& dtype,
         const std::string& device) {
        return ops::random_uniform(random_key_from(key), shape, low, high, dtype_from(dtype), device_from(device));
      },
      "key"_a, "shape"_a, "low"_a, "high"_a, "dtype"_a, "device"_a);
  m.def(
      "random_normal",
      [](const Key& key, const Dims& shape, double mean, double deviation, const py::object& dtype,
         const std::string& device) {
        return ops::random_normal(random_key_from(key), shape, mean, deviation, dtype_from(dtype), device_from(device));
      },
      "key"_a, "shape"_a, "mean"_a, "deviation"_a, "dtype"_a, "device"_a);
  m.def(
      "random_bernoulli",
      [](const Key& key, const Dims& shape, double p, const py::object& dtype, const std::string& device) {
        return ops::random_bernoulli(random_key_from(key), shape, p, dtype_from(dtype), device_from(device));
      },
      "key"_a, "shape"_a, "p"_a, "dtype"_a, "device"_a);
  m.def(
      "random_bernoulli_each",
      [](const Key& key, const Array& p) { return ops::random_bernoulli_each(random_key_from(key), p); }, "key"_a,
      "p"_a);
  m.def(
      "random_permutation",
      [](const Key& key, int64_t n, const std::string& device) {
        return ops::random_permutation(random_key_from(key), n, device_from(device));
      },
      "key"_a, "n"_a, "device"_a = "cpu");
  m.def(
      "dropout",
      [](const Key& key, const Array& x, double p) {
        const RandomKey k = random_key_from(key);
        py::gil_scoped_release release;
        return ops::dropout(k, x, p);
      },
      "key"_a, "x"_a, "p"_a);
}

}  // namespace dc
