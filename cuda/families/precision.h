// How products of float32 are computed, for matmul and for conv each.
//   strict    float32 multiply-adds, no tensor cores
//   accurate  tensor cores, each number as three bfloat16 planes, six products: the error of float32
//   high      two planes, three products: a relative error of about 2^-17 per term
//   tf32      one product of numbers rounded to 11 bits: a relative error of about 2^-11 per term
// Infinities and NaN are those of float32 in every precision: a result that is not finite is computed again in float32.
// `conv` starts as `accurate`: nobody has measured tf32 of these kernels on a GPU yet.
#pragma once
#include <atomic>
#include <cstdint>

namespace dc::cuda {

enum class Precision : int32_t { strict = 0, accurate = 1, high = 2, tf32 = 3 };

inline constexpr const char* kPrecisionNames[] = {"strict", "accurate", "high", "tf32"};

inline std::atomic<Precision> matmul_precision{Precision::accurate};
inline std::atomic<Precision> conv_precision{Precision::accurate};

}  // namespace dc::cuda
