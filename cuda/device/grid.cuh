// A barrier of all blocks of a cooperative launch, in global memory.
// The counter's lower 31 bits count arrivals: block 0 adds 2^31 - (blocks - 1) and every other block 1, so that the
// last arrival flips the top bit and leaves the rest zero. Nothing is reset between barriers or launches: the counter
// is set to zero once, when it is allocated, and again after a launch that failed.
#pragma once
#include "device/primitives.cuh"

namespace dc {

DC_DEVICE void grid_sync(unsigned* counter, unsigned blocks DC_PLACE_PARAMETER) {
  DC_REQUIRE_COOPERATIVE(blocks);
  sync_block(DC_PLACE_ONLY);
  const uint3 t = thread_index(), b = block_index();
  if ((t.x | t.y | t.z) == 0) {
    const unsigned share = (b.x | b.y | b.z) == 0 ? 0x80000000u - (blocks - 1u) : 1u;
    const unsigned before = add_release(counter, share);
    while (((before ^ load_acquire(counter)) & 0x80000000u) == 0) spin_wait(DC_PLACE_ONLY);
  }
  sync_block(DC_PLACE_ONLY);
}

}  // namespace dc
