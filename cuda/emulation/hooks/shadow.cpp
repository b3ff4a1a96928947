#include "emulation/hooks/shadow.h"

namespace dc::emulation {

namespace {

constexpr uintptr_t kNear = 256;  // allocations and variables keep this distance

}  // namespace

void Region::begin(uint64_t this_launch) {
  if (launch == this_launch) return;
  launch = this_launch;
  cells.assign((bytes + granule - 1) / granule, Cell{});
}

void Region::refine(size_t new_granule) {
  const size_t parts = granule / new_granule;
  std::vector<Cell> finer((bytes + new_granule - 1) / new_granule);
  for (size_t i = 0; i < finer.size(); ++i) finer[i] = cells[i / parts];
  cells.swap(finer);
  granule = new_granule;
}

void RegionMap::add(const void* base, size_t bytes, MemoryKind kind) {
  if (!bytes) return;
  auto region = std::make_unique<Region>();
  region->base = reinterpret_cast<uintptr_t>(base);
  region->bytes = bytes;
  region->kind = kind;
  last_ = nullptr;
  regions_[region->base] = std::move(region);
}

void RegionMap::remove(const void* base) {
  last_ = nullptr;
  regions_.erase(reinterpret_cast<uintptr_t>(base));
}

Region* RegionMap::find(uintptr_t address, bool& outside) {
  outside = false;
  if (last_ && address - last_->base < last_->bytes) return last_;
  const auto after = regions_.upper_bound(address);
  if (after != regions_.begin()) {
    Region* before = std::prev(after)->second.get();
    if (address - before->base < before->bytes) return last_ = before;
    outside = address - before->base - before->bytes < kNear;
    if (outside) return before;
  }
  outside = after != regions_.end() && after->first - address <= kNear;
  return outside ? after->second.get() : nullptr;
}

}  // namespace dc::emulation
