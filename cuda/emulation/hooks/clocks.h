// Which accesses of other threads have happened before what a thread does now: vector clocks.
//
// Each thread counts epochs of its own; a new one begins after each release. A thread's view says up to which epoch it
// has seen every other thread. Within a block a view is a vector shared by all since their last barrier, and the 32
// lanes of the own warp beside it, which sync_warp advances. Views of other blocks are vectors too, kept only of those
// blocks that a flag led to. So a barrier costs one vector, and a thousand threads stay affordable.
// Edges: sync_block, sync_warp, load_acquire, store_release, add_release, the end of a thread. Shuffles, votes and
// relaxed atomics are none, as on the device.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "emulation/thread.h"

namespace dc::emulation {

using Epochs = std::vector<uint32_t>;                             // by thread of a block
using Views = std::map<unsigned, std::shared_ptr<const Epochs>>;  // by block

struct ThreadClock {
  uint32_t epoch = 1;
  std::shared_ptr<const Epochs> block;  // null: nothing seen
  uint32_t warp[kWarpSize] = {};
  std::shared_ptr<const Views> others;
  // The flag polled last and its state then: polling again teaches nothing.
  const void* polled = nullptr;
  uint64_t polled_version = 0;
};

class Clocks {
 public:
  void launch_begins(unsigned threads_per_block);
  void block_begins(const Block& block);
  void block_ends(const Block& block) { blocks_.erase(block.linear), last_ = nullptr; }
  void block_synchronised(const Block& block);
  void lanes_synchronised(const Thread& any_of_them, unsigned mask);
  void release(const Thread& thread, const void* flag);
  void acquire(const Thread& thread, const void* flag);

  uint32_t epoch(const Thread& thread) { return clocks_of(thread.block->linear)[thread.linear].epoch; }
  // Has `thread` seen epoch `epoch` of thread `other` of block `block`?
  bool has_seen(const Thread& thread, unsigned block, unsigned other, uint32_t epoch);

 private:
  struct Flag {
    Views views;
    uint64_t version = 0;
  };
  std::vector<ThreadClock>& clocks_of(unsigned block);

  unsigned threads_ = 0;
  std::unordered_map<unsigned, std::vector<ThreadClock>> blocks_;
  std::vector<ThreadClock>* last_ = nullptr;
  unsigned last_block_ = 0;
  std::unordered_map<const void*, Flag> flags_;
};

}  // namespace dc::emulation
