// Barriers, shuffles and votes.
#pragma once
#include "device/nvcc/qualifiers.cuh"

namespace dc {

DC_DEVICE void sync_block() { __syncthreads(); }
DC_DEVICE bool sync_block_or(bool p) { return __syncthreads_or(p) != 0; }
DC_DEVICE bool sync_block_and(bool p) { return __syncthreads_and(p) != 0; }
DC_DEVICE int sync_block_count(bool p) { return __syncthreads_count(p); }
DC_DEVICE void sync_warp(unsigned mask = 0xFFFFFFFFu) { __syncwarp(mask); }

template <class T>
DC_DEVICE T shuffle(unsigned mask, T v, int lane) {
  return __shfl_sync(mask, v, lane);
}
template <class T>
DC_DEVICE T shuffle_xor(unsigned mask, T v, int lanes) {
  return __shfl_xor_sync(mask, v, lanes);
}
template <class T>
DC_DEVICE T shuffle_up(unsigned mask, T v, unsigned lanes) {
  return __shfl_up_sync(mask, v, lanes);
}
template <class T>
DC_DEVICE T shuffle_down(unsigned mask, T v, unsigned lanes) {
  return __shfl_down_sync(mask, v, lanes);
}
DC_DEVICE unsigned ballot(unsigned mask, bool p) { return __ballot_sync(mask, p); }
DC_DEVICE int count_bits(unsigned v) { return __popc(v); }
DC_DEVICE bool any(unsigned mask, bool p) { return __any_sync(mask, p) != 0; }
DC_DEVICE bool all(unsigned mask, bool p) { return __all_sync(mask, p) != 0; }

}  // namespace dc
