// Storage: a block of bytes shared by arrays that remembers how to give itself back.
#pragma once
#include <atomic>
#include <functional>
#include <memory>

#include "core/device.h"

namespace dc {

class Storage {
 public:
  // Uninitialised memory from the pool of the device.
  static std::shared_ptr<Storage> allocate(size_t bytes, Device device);
  // Foreign memory (numpy, DLPack); `release` runs when the last array lets go.
  static std::shared_ptr<Storage> wrap(void* data, size_t bytes, Device device, bool readonly,
                                       std::function<void()> release);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  bool readonly() const { return readonly_; }
  // Counts writes in place, so that caches derived from the contents can tell that they are stale.
  uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void touch() { version_.fetch_add(1, std::memory_order_relaxed); }

  Storage(void* data, size_t bytes, Device device, bool readonly, std::function<void()> release)
      : data_(data), bytes_(bytes), device_(device), readonly_(readonly), release_(std::move(release)) {}

 private:
  void* data_;
  size_t bytes_;
  Device device_;
  bool readonly_;
  std::atomic<uint64_t> version_{0};
  std::function<void()> release_;  // empty: memory of the pool
};

}  // namespace dc
