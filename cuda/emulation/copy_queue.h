// Asynchronous copies of one thread that it has issued and not yet waited for, in groups.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dc::emulation {

struct PendingCopy {
  void* to;
  const void* from;
  uint32_t bytes;
  bool valid;  // false: zeros are written and `from` is not read
};

struct CopyQueue {
  std::vector<PendingCopy> copies;
  std::vector<size_t> group_ends;  // groups[i] = copies [group_ends[i - 1], group_ends[i])
  void clear() {
    copies.clear();
    group_ends.clear();
  }
};

}  // namespace dc::emulation
