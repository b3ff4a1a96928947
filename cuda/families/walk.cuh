// Strided spaces on a device: where element `flat` of an Nd lies in each operand.
#pragma once
#include "device/primitives.cuh"
#include "kernels/layout.h"

namespace dc::cuda {

struct Offsets {
  long long of[3];
};

template <int kOperands, class Index>
DC_DEVICE Offsets offsets_by(const Nd& nd, Index flat) {
  Offsets o{};
  for (int d = nd.ndim - 1; d >= 0; --d) {
    const Index size = static_cast<Index>(nd.shape[d]);
    const Index rest = flat / size, k = flat - rest * size;
    for (int i = 0; i < kOperands; ++i) o.of[i] += static_cast<long long>(k) * nd.stride[i][d];
    flat = rest;
  }
  return o;
}

// Division of 32-bit numbers where they suffice: that of 64 bits costs several times as much.
template <int kOperands>
DC_DEVICE Offsets offsets_of(const Nd& nd, long long flat) {
  if (nd.size <= 0x7FFFFFFF) return offsets_by<kOperands>(nd, static_cast<unsigned>(flat));
  return offsets_by<kOperands>(nd, static_cast<unsigned long long>(flat));
}

DC_DEVICE long long first_index(int threads) {
  return static_cast<long long>(block_index().x) * threads + thread_index().x;
}
DC_DEVICE long long grid_step(int threads) { return static_cast<long long>(grid_size().x) * threads; }

}  // namespace dc::cuda
