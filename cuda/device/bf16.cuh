// bfloat16: the upper half of a float32. The same code on host and device, hence the same bits.
#pragma once
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include "device/nvcc/qualifiers.cuh"
#else
#include "emulation/qualifiers.h"
#endif

namespace dc {

struct bf16 {
  uint16_t bits;
};

DC_HOST_DEVICE uint32_t float_bits(float x) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(x);
#else
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
#endif
}

DC_HOST_DEVICE float bits_float(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
#endif
}

DC_HOST_DEVICE float to_float(bf16 x) { return bits_float(static_cast<uint32_t>(x.bits) << 16); }

// Round to nearest, ties to even; NaN stays NaN.
DC_HOST_DEVICE bf16 to_bf16(float x) {
  const uint32_t bits = float_bits(x);
  const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  const uint32_t rounded = nan ? bits | 0x00400000u : bits + 0x7FFFu + (bits >> 16 & 1u);
  return {static_cast<uint16_t>(rounded >> 16)};
}

// Two neighbours of a matrix row in one register: `low` has the lower address.
DC_HOST_DEVICE uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(to_bf16(high).bits) << 16 | to_bf16(low).bits;
}

}  // namespace dc
