// Random arrays: functions of the key only.
#pragma once
#include "core/array.h"
#include "kernels/random.h"

namespace dc::ops {

Array random_bits(const RandomKey& key, const Dims& shape, Device device);  // the 32 bits of each word, as int32
Array random_uniform(const RandomKey& key, const Dims& shape, double low, double high, DType dtype, Device device);
Array random_normal(const RandomKey& key, const Dims& shape, double mean, double deviation, DType dtype, Device device);
Array random_bernoulli(const RandomKey& key, const Dims& shape, double p, DType dtype, Device device);
Array random_bernoulli_each(const RandomKey& key, const Array& p);
Array random_permutation(const RandomKey& key, int64_t n, Device device = {});
Array dropout(const RandomKey& key, const Array& x, double p);

}  // namespace dc::ops
