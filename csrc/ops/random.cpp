#include "ops/random.h"

#include <cmath>

#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

namespace {

// f(kernels, data, n) fills a new array of `shape`.
template <class F>
Array filled(const char* op, const Dims& shape, DType dtype, Device device, const F& f) {
  return dispatch_float(op, dtype, [&]<class T>(T) {
    Array y(shape, dtype, device);
    if (y.size() > 0) f(*kernels<T>(device).random, y.template data<T>(), y.size());
    return y;
  });
}

void check_probability(const char* op, double p) {
  DC_CHECK(p >= 0 && p <= 1, ArgumentError, op, ": expected a probability in [0, 1], got ", p);
}

}  // namespace

Array random_uniform(const Dims& shape, double low, double high, DType dtype, const RandomKey& key, Device device) {
  DC_CHECK(std::isfinite(low) && std::isfinite(high) && low <= high, ArgumentError,
           "uniform: expected finite low <= high, got ", low, " and ", high);
  return filled("uniform", shape, dtype, device, [&]<class T>(const RandomKernels<T>& k, T* y, int64_t n) {
    require(k.uniform, "uniform", device)(key, n, static_cast<T>(low), static_cast<T>(high), y, context(device));
  });
}

Array random_normal(const Dims& shape, double mean, double deviation, DType dtype, const RandomKey& key,
                    Device device) {
  DC_CHECK(std::isfinite(mean) && std::isfinite(deviation) && deviation >= 0, ArgumentError,
           "normal: expected a finite mean and deviation >= 0, got ", mean, " and ", deviation);
  return filled("normal", shape, dtype, device, [&]<class T>(const RandomKernels<T>& k, T* y, int64_t n) {
    require(k.normal, "normal", device)(key, n, static_cast<T>(mean), static_cast<T>(deviation), y, context(device));
  });
}

Array random_bernoulli(const Dims& shape, double p, DType dtype, const RandomKey& key, Device device) {
  check_probability("bernoulli", p);
  return filled("bernoulli", shape, dtype, device, [&]<class T>(const RandomKernels<T>& k, T* y, int64_t n) {
    require(k.bernoulli, "bernoulli", device)(key, n, static_cast<T>(p), y, context(device));
  });
}

Array random_bernoulli_each(const Array& p0, const RandomKey& key) {
  const Array p = contiguous(p0);
  return filled("bernoulli", p.shape(), p.dtype(), p.device(),
                [&]<class T>(const RandomKernels<T>& k, T* y, int64_t n) {
                  require(k.bernoulli_each, "bernoulli", p.device())(key, n, p.data<T>(), y, context(p.device()));
                });
}

Array random_bits(const Dims& shape, const RandomKey& key, Device device) {
  Array y(shape, DType::int32, device);
  if (y.size() > 0)
    require(kernels<float>(device).random->bits, "bits", device)(key, y.size(), y.data<uint32_t>(), context(device));
  return y;
}

Array random_permutation(int64_t n, const RandomKey& key, Device device) {
  DC_CHECK(n >= 0, ArgumentError, "permutation: expected n >= 0, got ", n);
  Array y({n}, DType::int64, device);
  if (n > 0)
    require(kernels<float>(device).random->permutation, "permutation", device)(key, n, y.data<int64_t>(),
                                                                               context(device));
  return y;
}

Array dropout(const Array& x0, double p, const RandomKey& key) {
  check_probability("dropout", p);
  const Array x = contiguous(x0);
  return filled("dropout", x.shape(), x.dtype(), x.device(), [&]<class T>(const RandomKernels<T>& k, T* y, int64_t n) {
    require(k.dropout, "dropout", x.device())(key, n, p, x.data<T>(), y, context(x.device()));
  });
}

}  // namespace dc::ops
