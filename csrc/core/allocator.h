// Raw memory of a device, and the caching pool in front of it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/device.h"

namespace dc {

inline constexpr size_t kHugePage = size_t{2} << 20;
// `bytes`, a multiple of kHugePage, aligned to and advised as huge pages; null when memory is out. Free with std::free.
void* allocate_huge_pages(size_t bytes);

class RawAllocator {
 public:
  virtual ~RawAllocator() = default;
  virtual void* allocate(size_t bytes) = 0;  // null when memory is out
  virtual void release(void* p, size_t bytes) = 0;
  // A kept block of `block` bytes goes out for `bytes`, or comes back: checked builds mark what is off limits.
  virtual void hand_out(void* p, size_t bytes, size_t block) = 0;
  virtual void take_back(void* p, size_t block) = 0;
};

// 64-byte aligned; blocks of 2 MiB and more are aligned to and advised as huge pages.
class CpuAllocator final : public RawAllocator {
 public:
  void* allocate(size_t bytes) override;
  void release(void* p, size_t bytes) override;
  void hand_out(void* p, size_t bytes, size_t block) override;
  void take_back(void* p, size_t block) override;
};

struct MemoryStatistics {
  uint64_t current = 0;      // bytes handed out now
  uint64_t peak = 0;         // largest value of current since the last reset
  uint64_t cached = 0;       // bytes kept for reuse
  uint64_t allocations = 0;  // requests so far
  uint64_t cache_hits = 0;   // requests served from kept blocks
};

// Blocks that belong to a recording: they serve it alone until it is dropped.
struct PrivateBlocks {
  std::map<size_t, std::vector<void*>> free;
};

// Blocks come in size classes, eight per power of two (at most 12.5 % of slack), and are kept for reuse.
class CachingPool {
 public:
  explicit CachingPool(Device device, std::unique_ptr<RawAllocator> raw) : device_(device), raw_(std::move(raw)) {}
  void* allocate(size_t bytes);
  void release(void* p, size_t bytes);
  void empty_cache();
  // Between the two, blocks come from the system and from `blocks`, and go back there for as long as it lives.
  void begin_private(PrivateBlocks* blocks);
  void end_private();
  // The blocks are everybody's from now on.
  void drop_private(PrivateBlocks* blocks);
  MemoryStatistics statistics() const;
  void reset_peak();
  // Blocks above the limit go back to the system at once.
  void set_cache_limit(uint64_t bytes);
  static size_t size_class(size_t bytes);
  std::mutex& mutex() { return mutex_; }  // for the handlers of fork

 private:
  void drop_cache();

  Device device_;
  std::unique_ptr<RawAllocator> raw_;
  mutable std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  PrivateBlocks* serving_ = nullptr;                 // null: allocations come from free_
  std::unordered_map<void*, PrivateBlocks*> owner_;  // blocks that were allocated for a recording
  MemoryStatistics statistics_;
  uint64_t cache_limit_ = UINT64_MAX;
};

CachingPool& pool(Device device);

}  // namespace dc
