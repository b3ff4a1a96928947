#include "emulation/hooks/clocks.h"

#include <algorithm>

namespace dc::emulation {

namespace {

using SharedEpochs = std::shared_ptr<const Epochs>;

// Elementwise maximum; one of the two where it already is that.
SharedEpochs join(const SharedEpochs& a, const SharedEpochs& b) {
  if (a == b || !b) return a;
  if (!a) return b;
  bool a_is = true, b_is = true;
  for (size_t i = 0; i < a->size() && (a_is || b_is); ++i) {
    a_is &= (*a)[i] >= (*b)[i];
    b_is &= (*b)[i] >= (*a)[i];
  }
  if (a_is || b_is) return a_is ? a : b;
  auto joined = std::make_shared<Epochs>(*a);
  for (size_t i = 0; i < joined->size(); ++i) (*joined)[i] = std::max((*joined)[i], (*b)[i]);
  return joined;
}

// `from`, except what it says about `own` block, joined into `into`.
void join_views(std::shared_ptr<const Views>& into, const Views& from, unsigned own) {
  std::shared_ptr<Views> changed;
  for (const auto& [block, epochs] : from) {
    if (block == own) continue;
    const Views* now = changed ? changed.get() : into.get();
    const auto known = now ? now->find(block) : Views::const_iterator{};
    const SharedEpochs before = now && known != now->end() ? known->second : nullptr;
    const SharedEpochs joined = join(before, epochs);
    if (joined == before) continue;
    if (!changed) changed = into ? std::make_shared<Views>(*into) : std::make_shared<Views>();
    (*changed)[block] = joined;
  }
  if (changed) into = changed;
}

// The own block's vector grows by `epochs`, and the lanes of the own warp with it.
void join_block(ThreadClock& clock, const SharedEpochs& epochs, unsigned first_of_warp) {
  clock.block = join(clock.block, epochs);
  for (unsigned i = 0; i < kWarpSize && first_of_warp + i < epochs->size(); ++i)
    clock.warp[i] = std::max(clock.warp[i], (*epochs)[first_of_warp + i]);
}

unsigned first_of_warp(const Thread& thread) { return thread.linear - thread.lane; }

}  // namespace

void Clocks::launch_begins(unsigned threads_per_block) {
  threads_ = threads_per_block;
  blocks_.clear();
  flags_.clear();
  last_ = nullptr;
}

void Clocks::block_begins(const Block& block) { blocks_[block.linear] = std::vector<ThreadClock>(threads_); }

std::vector<ThreadClock>& Clocks::clocks_of(unsigned block) {
  if (!last_ || last_block_ != block) {
    last_ = &blocks_[block];
    last_block_ = block;
  }
  return *last_;
}

void Clocks::block_synchronised(const Block& block) {
  std::vector<ThreadClock>& clocks = clocks_of(block.linear);
  auto seen = std::make_shared<Epochs>(threads_);
  std::shared_ptr<const Views> others;
  for (unsigned t = 0; t < threads_; ++t) {
    (*seen)[t] = clocks[t].epoch;
    if (clocks[t].others && clocks[t].others != others) {
      if (others)
        join_views(others, *clocks[t].others, block.linear);
      else
        others = clocks[t].others;
    }
  }
  for (unsigned t = 0; t < threads_; ++t) {
    ThreadClock& clock = clocks[t];
    const unsigned first = t - t % kWarpSize, lanes = std::min(kWarpSize, threads_ - first);
    clock.block = seen;
    std::copy_n(seen->begin() + first, lanes, clock.warp);
    clock.others = others;
    ++clock.epoch;
  }
}

void Clocks::lanes_synchronised(const Thread& any_of_them, unsigned mask) {
  ThreadClock* const clocks = clocks_of(any_of_them.block->linear).data() + first_of_warp(any_of_them);
  uint32_t seen[kWarpSize] = {};
  SharedEpochs block;
  std::shared_ptr<const Views> others;
  for (unsigned left = mask; left; left &= left - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(left));
    ThreadClock& clock = clocks[lane];
    clock.warp[lane] = clock.epoch;
    for (unsigned i = 0; i < kWarpSize; ++i) seen[i] = std::max(seen[i], clock.warp[i]);
    block = join(block, clock.block);
    if (clock.others && clock.others != others) {
      if (others)
        join_views(others, *clock.others, any_of_them.block->linear);
      else
        others = clock.others;
    }
  }
  for (unsigned left = mask; left; left &= left - 1) {
    ThreadClock& clock = clocks[__builtin_ctz(left)];
    std::copy_n(seen, kWarpSize, clock.warp);
    clock.block = block;
    clock.others = others;
    ++clock.epoch;
  }
}

void Clocks::release(const Thread& thread, const void* flag) {
  const unsigned own = thread.block->linear, first = first_of_warp(thread);
  ThreadClock& clock = clocks_of(own)[thread.linear];
  auto seen = clock.block ? std::make_shared<Epochs>(*clock.block) : std::make_shared<Epochs>(threads_);
  for (unsigned i = 0; i < kWarpSize && first + i < threads_; ++i)
    (*seen)[first + i] = std::max((*seen)[first + i], clock.warp[i]);
  (*seen)[thread.linear] = clock.epoch++;
  Flag& of_flag = flags_[flag];
  ++of_flag.version;
  SharedEpochs& entry = of_flag.views[own];
  entry = join(entry, seen);
  if (!clock.others) return;
  for (const auto& [block, epochs] : *clock.others) {
    SharedEpochs& other = of_flag.views[block];
    other = join(other, epochs);
  }
}

void Clocks::acquire(const Thread& thread, const void* flag) {
  const auto found = flags_.find(flag);
  if (found == flags_.end()) return;
  const unsigned own = thread.block->linear;
  ThreadClock& clock = clocks_of(own)[thread.linear];
  if (clock.polled == flag && clock.polled_version == found->second.version) return;
  clock.polled = flag;
  clock.polled_version = found->second.version;
  const Views& views = found->second.views;
  if (const auto here = views.find(own); here != views.end()) join_block(clock, here->second, first_of_warp(thread));
  join_views(clock.others, views, own);
}

bool Clocks::has_seen(const Thread& thread, unsigned block, unsigned other, uint32_t epoch) {
  const unsigned own = thread.block->linear;
  const ThreadClock& clock = clocks_of(own)[thread.linear];
  if (block == own) {
    if (other == thread.linear) return true;
    if (other / kWarpSize == thread.linear / kWarpSize) return clock.warp[other % kWarpSize] >= epoch;
    return clock.block && (*clock.block)[other] >= epoch;
  }
  if (!clock.others) return false;
  const auto found = clock.others->find(block);
  return found != clock.others->end() && (*found->second)[other] >= epoch;
}

}  // namespace dc::emulation
