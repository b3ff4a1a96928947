// Fast mathematics of float32. Errors as NVIDIA states them for these instructions (CUDA C++ Programming Guide,
// intrinsic functions; PTX ISA, tanh.approx); not measured here. The accurate functions are plain ::expf and so on.
#pragma once
#include "device/nvcc/qualifiers.cuh"

namespace dc {

// 2 + floor(|1.173 x|) ulp.
DC_DEVICE float fast_exp(float x) { return __expf(x); }
// Absolute error 2^-21.41 for x in [0.5, 2], 3 ulp elsewhere.
DC_DEVICE float fast_log(float x) { return __logf(x); }
// Relative error 2^-11.
DC_DEVICE float fast_tanh(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// 2 ulp for 2^-126 <= |b| <= 2^126; 0 beyond.
DC_DEVICE float fast_divide(float a, float b) { return __fdividef(a, b); }
// The error of fast_exp where x is negative, 4 ulp where it is not. x < -87 gives 0: exp(-x) is beyond fast_divide.
DC_DEVICE float fast_sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
// The rounded product: never part of a fused operation.
DC_DEVICE float multiply_rounded(float a, float b) { return __fmul_rn(a, b); }
DC_DEVICE double multiply_rounded(double a, double b) { return __dmul_rn(a, b); }
// 2 ulp.
DC_DEVICE float fast_rsqrt(float x) { return ::rsqrtf(x); }

}  // namespace dc
