#include "core/allocator.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "core/accelerator.h"
#include "core/error.h"

namespace dc {

namespace {
// In AddressSanitizer builds the slack of a block and blocks in the cache are off limits, as if each array had been
// allocated with its exact size and freed at once. Without it these do nothing.
#ifdef __SANITIZE_ADDRESS__
void poison(void* p, size_t bytes) { __asan_poison_memory_region(p, bytes); }
void unpoison(void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
void poison(void*, size_t) {}
void unpoison(void*, size_t) {}
#endif
}  // namespace

void* allocate_huge_pages(size_t bytes) {
  void* p = std::aligned_alloc(kHugePage, bytes);
  if (p) madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

void* CpuAllocator::allocate(size_t bytes) {
  if (bytes < kHugePage) return std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  return allocate_huge_pages((bytes + kHugePage - 1) / kHugePage * kHugePage);
}

void CpuAllocator::release(void* p, size_t bytes) {
  unpoison(p, bytes);
  std::free(p);
}

void CpuAllocator::hand_out(void* p, size_t bytes, size_t block) {
  unpoison(p, bytes);
  poison(static_cast<char*>(p) + bytes, block - bytes);
}

void CpuAllocator::take_back(void* p, size_t block) { poison(p, block); }

size_t CachingPool::size_class(size_t bytes) {
  if (bytes <= 512) return std::max<size_t>((bytes + 63) / 64 * 64, 64);
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

void* CachingPool::allocate(size_t bytes) {
  DC_CHECK(bytes <= (size_t{1} << 62), OutOfMemoryError, "memory: expected at most 2^62 bytes, got ", bytes);
  const size_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  void* p = nullptr;
  ++statistics_.allocations;
  auto& free = serving_ ? serving_->free : free_;
  if (auto it = free.find(size); it != free.end() && !it->second.empty()) {
    p = it->second.back();
    it->second.pop_back();
    statistics_.cached -= size;
    ++statistics_.cache_hits;
  } else {
    p = raw_->allocate(size);
    if (!p) {
      drop_cache();
      p = raw_->allocate(size);
    }
    DC_CHECK(p, OutOfMemoryError, "memory: ", device_, " has no ", size, " bytes left; ", statistics_.current,
             " bytes are in use by arrays");
    if (serving_) owner_[p] = serving_;
  }
  statistics_.current += size;
  statistics_.peak = std::max(statistics_.peak, statistics_.current);
  raw_->hand_out(p, bytes, size);
  return p;
}

void CachingPool::release(void* p, size_t bytes) {
  const size_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  statistics_.current -= size;
  if (!owner_.empty()) {
    if (const auto it = owner_.find(p); it != owner_.end()) {
      raw_->take_back(p, size);
      it->second->free[size].push_back(p);
      statistics_.cached += size;
      return;
    }
  }
  if (statistics_.cached + size > cache_limit_) {
    raw_->release(p, size);
    return;
  }
  raw_->take_back(p, size);
  free_[size].push_back(p);
  statistics_.cached += size;
}

void CachingPool::drop_cache() {
  for (auto& [size, list] : free_)
    for (void* p : list) {
      raw_->release(p, size);
      statistics_.cached -= size;
    }
  free_.clear();
}

void CachingPool::empty_cache() {
  std::lock_guard lock(mutex_);
  drop_cache();
}

void CachingPool::begin_private(PrivateBlocks* blocks) {
  std::lock_guard lock(mutex_);
  serving_ = blocks;
}

void CachingPool::end_private() {
  std::lock_guard lock(mutex_);
  serving_ = nullptr;
}

void CachingPool::drop_private(PrivateBlocks* blocks) {
  std::lock_guard lock(mutex_);
  for (auto& [size, list] : blocks->free) free_[size].insert(free_[size].end(), list.begin(), list.end());
  blocks->free.clear();
  std::erase_if(owner_, [&](const auto& entry) { return entry.second == blocks; });
}

MemoryStatistics CachingPool::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

void CachingPool::reset_peak() {
  std::lock_guard lock(mutex_);
  statistics_.peak = statistics_.current;
}

void CachingPool::set_cache_limit(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  cache_limit_ = bytes;
}

namespace {
// Never destroyed: arrays may outlive static destruction inside the interpreter.
CachingPool& cpu_pool() {
  static CachingPool* instance = [] {
    auto* made = new CachingPool(Device{}, std::make_unique<CpuAllocator>());
    // A fork waits until no thread is inside the pool, or the child would find it locked for ever.
    pthread_atfork([] { cpu_pool().mutex().lock(); }, [] { cpu_pool().mutex().unlock(); },
                   [] { cpu_pool().mutex().unlock(); });
    return made;
  }();
  return *instance;
}
}  // namespace

CachingPool& pool(Device device) {
  if (device.kind == DeviceKind::cpu) return cpu_pool();
  static auto* pools = new PerDevice<CachingPool>;
  return pools->of(device, [&](Accelerator& a) { return new CachingPool(device, a.allocator(device.index)); });
}

}  // namespace dc
