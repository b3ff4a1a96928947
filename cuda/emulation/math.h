// Fast mathematics. The host's functions are accurate: errors stated here are the device's, and tests of kernels must
// allow them.
#pragma once
#include <cmath>

#include "emulation/qualifiers.h"

namespace dc {

DC_DEVICE float fast_exp(float x) { return std::exp(x); }
DC_DEVICE float fast_log(float x) { return std::log(x); }
DC_DEVICE float fast_tanh(float x) { return std::tanh(x); }
DC_DEVICE float fast_sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
DC_DEVICE float fast_divide(float a, float b) { return a / b; }
DC_DEVICE float fast_rsqrt(float x) { return 1.0f / std::sqrt(x); }

// The rounded product: never part of a fused operation, which some hosts would make of it.
template <class T>
DC_DEVICE T multiply_rounded(T a, T b) {
  volatile T product = a * b;
  return product;
}

}  // namespace dc
