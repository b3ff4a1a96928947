// cp.async: copies of 16 or 4 bytes from global to shared memory that complete when their issuer waits for them.
// Async::late poisons the target at issue and copies at the wait, Async::early copies at issue.
#pragma once
#include "emulation/qualifiers.h"
#include "emulation/thread.h"

namespace dc::emulation {

inline void forget_copies(Thread& thread) {
  if (thread.copies) thread.copies->clear();
}

void issue_copy(void* shared, const void* global, uint32_t bytes, bool valid, const Place& place);
void commit_copies();
void wait_for_copies(size_t groups_left);

}  // namespace dc::emulation

namespace dc {

DC_DEVICE void cp_async16(void* shared, const void* global, bool valid = true,
                          const emulation::Place& place = emulation::Place::current()) {
  emulation::issue_copy(shared, global, 16, valid, place);
}
DC_DEVICE void cp_async4(void* shared, const void* global, bool valid = true,
                         const emulation::Place& place = emulation::Place::current()) {
  emulation::issue_copy(shared, global, 4, valid, place);
}
DC_DEVICE void cp_async_commit() { emulation::commit_copies(); }
template <int N>
DC_DEVICE void cp_async_wait() {
  emulation::wait_for_copies(N);
}

}  // namespace dc
