// Reductions of one block, in a fixed order: each warp by its butterfly, then every warp the results of all warps by
// the same butterfly, so that all threads have the result. The block's size must be a multiple of 32 (at most 1024,
// so that one warp holds one result of each), and all its threads must call. Two barriers each.
#pragma once
#include "device/warp.cuh"

namespace dc {

DC_DEVICE unsigned warps_of_block() {
  const uint3 n = block_size();
  return n.x * n.y * n.z / 32;
}

template <class T, class Combine>
DC_DEVICE T block_reduce(T v, T neutral, const Combine& combine DC_PLACE_PARAMETER) {
  DC_SHARED(T[32], of_warps);
  v = warp_reduce(v, combine DC_PLACE_ARGUMENT);
  if (lane() == 0) of_warps[warp()] = v;
  sync_block(DC_PLACE_ONLY);
  const T mine = lane() < warps_of_block() ? of_warps[lane()] : neutral;
  sync_block(DC_PLACE_ONLY);  // the next reduction writes here again
  return warp_reduce(mine, combine DC_PLACE_ARGUMENT);
}

template <class T>
DC_DEVICE T block_sum(T v DC_PLACE_PARAMETER) {
  return block_reduce(v, T(0), Sum() DC_PLACE_ARGUMENT);
}
// `lowest` is what a thread without a value would bring, and cannot exceed a value: -infinity, INT_MIN.
template <class T>
DC_DEVICE T block_max(T v, T lowest DC_PLACE_PARAMETER) {
  return block_reduce(v, lowest, Maximum() DC_PLACE_ARGUMENT);
}
template <class T>
DC_DEVICE T block_min(T v, T highest DC_PLACE_PARAMETER) {
  return block_reduce(v, highest, Minimum() DC_PLACE_ARGUMENT);
}

// The largest value of the block and the lowest index where it stands. `lowest` as above.
template <class T>
DC_DEVICE Indexed<T> block_max_index(Indexed<T> v, T lowest DC_PLACE_PARAMETER) {
  DC_SHARED(T[32], values);
  DC_SHARED(int[32], indices);
  v = warp_max_index(v DC_PLACE_ARGUMENT);
  if (lane() == 0) {
    values[warp()] = v.value;
    indices[warp()] = v.index;
  }
  sync_block(DC_PLACE_ONLY);
  const bool mine = lane() < warps_of_block();
  const Indexed<T> other = {mine ? values[lane()] : lowest, mine ? indices[lane()] : 0x7FFFFFFF};
  sync_block(DC_PLACE_ONLY);
  return warp_max_index(other DC_PLACE_ARGUMENT);
}

}  // namespace dc
