#include "ops/random.h"

#include <cmath>

#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

Array random_bits(const RandomKey& key, const Dims& shape, Device device) {
  Array y(shape, DType::int32, device);
  if (y.size() > 0) kernels<float>(y.device()).random->bits(key, y.size(), y.data<uint32_t>(), context(y.device()));
  return y;
}

Array random_uniform(const RandomKey& key, const Dims& shape, double low, double high, DType dtype, Device device) {
  DC_CHECK(std::isfinite(low) && std::isfinite(high) && low <= high, ArgumentError,
           "uniform: expected finite low <= high, got ", low, " and ", high);
  return dispatch_float("uniform", dtype, [&]<class T>(T) {
    Array y(shape, dtype, device);
    if (y.size() > 0)
      kernels<T>(y.device())
          .random->uniform(key, y.size(), static_cast<T>(low), static_cast<T>(high), y.template data<T>(),
                           context(y.device()));
    return y;
  });
}

Array random_normal(const RandomKey& key, const Dims& shape, double mean, double deviation, DType dtype,
                    Device device) {
  DC_CHECK(std::isfinite(mean) && std::isfinite(deviation) && deviation >= 0, ArgumentError,
           "normal: expected a finite mean and deviation >= 0, got ", mean, " and ", deviation);
  return dispatch_float("normal", dtype, [&]<class T>(T) {
    Array y(shape, dtype, device);
    if (y.size() > 0)
      kernels<T>(y.device())
          .random->normal(key, y.size(), static_cast<T>(mean), static_cast<T>(deviation), y.template data<T>(),
                          context(y.device()));
    return y;
  });
}

Array random_bernoulli(const RandomKey& key, const Dims& shape, double p, DType dtype, Device device) {
  DC_CHECK(p >= 0 && p <= 1, ArgumentError, "bernoulli: expected p in [0, 1], got ", p);
  return dispatch_float("bernoulli", dtype, [&]<class T>(T) {
    Array y(shape, dtype, device);
    if (y.size() > 0)
      kernels<T>(y.device())
          .random->bernoulli(key, y.size(), static_cast<T>(p), y.template data<T>(), context(y.device()));
    return y;
  });
}

Array random_bernoulli_each(const RandomKey& key, const Array& p0) {
  const Array p = contiguous(p0);
  return dispatch_float("bernoulli", p.dtype(), [&]<class T>(T) {
    Array y(p.shape(), p.dtype(), p.device());
    if (y.size() > 0)
      kernels<T>(p.device())
          .random->bernoulli_each(key, p.size(), p.data<T>(), y.template data<T>(), context(p.device()));
    return y;
  });
}

Array random_permutation(const RandomKey& key, int64_t n, Device device) {
  DC_CHECK(n >= 0, ArgumentError, "permutation: expected n >= 0, got ", n);
  Array y({n}, DType::int64, device);
  if (n > 0) kernels<float>(y.device()).random->permutation(key, n, y.data<int64_t>(), context(y.device()));
  return y;
}

Array dropout(const RandomKey& key, const Array& x0, double p) {
  DC_CHECK(p >= 0 && p <= 1, ArgumentError, "dropout: expected p in [0, 1], got ", p);
  const Array x = contiguous(x0);
  return dispatch_float("dropout", x.dtype(), [&]<class T>(T) {
    Array y(x.shape(), x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device()).random->dropout(key, x.size(), p, x.data<T>(), y.template data<T>(), context(x.device()));
    return y;
  });
}

}  // namespace dc::ops
