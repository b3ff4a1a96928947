#include "emulation/async_copy.h"

#include <cstring>

#include "emulation/observer.h"
#include "emulation/scheduler.h"

namespace dc::emulation {

namespace {

void perform(const PendingCopy& copy) {
  if (copy.valid)
    std::memcpy(copy.to, copy.from, copy.bytes);
  else
    std::memset(copy.to, 0, copy.bytes);
}

}  // namespace

void issue_copy(void* shared, const void* global, uint32_t bytes, bool valid, const Place& place) {
  const uintptr_t addresses = reinterpret_cast<uintptr_t>(shared) | (valid ? reinterpret_cast<uintptr_t>(global) : 0);
  if (addresses % bytes)
    fail("cp_async" + std::to_string(bytes) + ": an address is not a multiple of " + std::to_string(bytes), place);
  if (!current->block->shared.contains(shared, bytes))
    fail("cp_async" + std::to_string(bytes) + ": the target is not in the shared memory of this block", place);
  if (observer) {
    // Until the wait the hardware may write at any time, so the issue counts as a write, and the wait as another.
    const void* code = __builtin_return_address(0);
    observer->access(shared, bytes, Access::write, code);
    if (valid) observer->access(global, bytes, Access::read, code);
  }
  const PendingCopy copy{shared, global, bytes, valid};
  if (!current->copies) current->copies = std::make_unique<CopyQueue>();
  current->copies->copies.push_back(copy);
  if (scheduler().configuration().async == Async::early)
    perform(copy);
  else
    std::memset(shared, 0xFF, bytes);
}

void commit_copies() {
  if (!current->copies) current->copies = std::make_unique<CopyQueue>();
  CopyQueue& queue = *current->copies;
  queue.group_ends.push_back(queue.copies.size());
}

void wait_for_copies(size_t groups_left) {
  if (!current->copies || current->copies->group_ends.size() <= groups_left) return;
  CopyQueue& queue = *current->copies;
  const size_t groups = queue.group_ends.size() - groups_left, end = queue.group_ends[groups - 1];
  for (size_t i = 0; i < end; ++i) {
    const PendingCopy& copy = queue.copies[i];
    if (observer) observer->access(copy.to, copy.bytes, Access::completion, __builtin_return_address(0));
    if (scheduler().configuration().async == Async::late) perform(copy);
  }
  queue.copies.erase(queue.copies.begin(), queue.copies.begin() + static_cast<ptrdiff_t>(end));
  queue.group_ends.erase(queue.group_ends.begin(), queue.group_ends.begin() + static_cast<ptrdiff_t>(groups));
  for (size_t& group_end : queue.group_ends) group_end -= end;
}

}  // namespace dc::emulation
