// sync_block and its votes. Threads that have ended no longer count, as on the device.
#pragma once
#include "emulation/thread.h"

namespace dc::emulation {

// Called when a thread of `block` has ended: the others may have waited for it.
void block_lost_thread(Block& block);

// A barrier of the whole block; `vote` of all threads is combined, and every thread gets the result.
Votes meet_block(const char* name, bool vote, const Place& place);

}  // namespace dc::emulation

namespace dc {

inline void sync_block(const emulation::Place& place = emulation::Place::current()) {
  emulation::meet_block("sync_block", false, place);
}
inline bool sync_block_or(bool p, const emulation::Place& place = emulation::Place::current()) {
  return emulation::meet_block("sync_block_or", p, place).any;
}
inline bool sync_block_and(bool p, const emulation::Place& place = emulation::Place::current()) {
  return emulation::meet_block("sync_block_and", p, place).all;
}
inline int sync_block_count(bool p, const emulation::Place& place = emulation::Place::current()) {
  return emulation::meet_block("sync_block_count", p, place).count;
}

}  // namespace dc
