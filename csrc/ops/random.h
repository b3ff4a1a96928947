// Random arrays: functions of (seed, stream, offset) and the place of the element, see kernels/random.h.
#pragma once
#include "core/array.h"
#include "kernels/random.h"

namespace dc::ops {

Array random_uniform(const Dims& shape, double low, double high, DType dtype, const RandomKey& key, Device device = {});
Array random_normal(const Dims& shape, double mean, double deviation, DType dtype, const RandomKey& key,
                    Device device = {});
// 1 with probability p, else 0.
Array random_bernoulli(const Dims& shape, double p, DType dtype, const RandomKey& key, Device device = {});
Array random_bernoulli_each(const Array& p, const RandomKey& key);
// int32 words, each of 32 random bits.
Array random_bits(const Dims& shape, const RandomKey& key, Device device = {});
// 0 .. n - 1 in random order, int64.
Array random_permutation(int64_t n, const RandomKey& key, Device device = {});
Array dropout(const Array& x, double p, const RandomKey& key);

}  // namespace dc::ops
