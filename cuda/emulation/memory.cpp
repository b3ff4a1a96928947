#include "emulation/memory.h"

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "emulation/observer.h"
#include "emulation/scheduler.h"

namespace dc::emulation {

namespace {

constexpr size_t kAllocationAlignment = 256;
#ifdef DC_EMULATION_ASAN
constexpr size_t kGuard = 0;  // AddressSanitizer has its own, and must see the exact end
#else
constexpr size_t kGuard = 256;  // before and after: an access just outside meets no other allocation
#endif

}  // namespace

void* allocate_device(size_t bytes) {
  void* base = nullptr;
  if (bytes > kDeviceMemory || posix_memalign(&base, kAllocationAlignment, bytes + 2 * kGuard + (bytes == 0)) != 0)
    return nullptr;
  std::memset(base, 0xFF, bytes + 2 * kGuard);
  void* memory = static_cast<char*>(base) + kGuard;
  if (observer) {
    const std::lock_guard<std::mutex> hold(device_lock());  // a launch of another OS thread looks regions up
    observer->add_region(memory, bytes, MemoryKind::global);
  }
  return memory;
}

void free_device(void* memory) {
  if (!memory) return;
  if (observer) {
    const std::lock_guard<std::mutex> hold(device_lock());
    observer->remove_region(memory);
  }
  std::free(static_cast<char*>(memory) - kGuard);
}

void poison_device(void* memory, size_t bytes) { std::memset(memory, 0xFF, bytes); }

void limit_device(void* memory, size_t bytes) {
  if (!observer) return;
  const std::lock_guard<std::mutex> hold(device_lock());
  observer->remove_region(memory);
  observer->add_region(memory, bytes, MemoryKind::global);
}

void fail_misaligned(const void* address, size_t bytes, const Place& place) {
  fail("an access of " + std::to_string(bytes) + " bytes at an address that is " +
           std::to_string(reinterpret_cast<uintptr_t>(address) % bytes) + " past a multiple of " +
           std::to_string(bytes),
       place);
}

void copy_observed_read(void* value, const void* from, size_t bytes) {
  if (observer) observer->access(from, bytes, Access::read, __builtin_return_address(0));
  std::memcpy(value, from, bytes);
}

void copy_observed_write(void* to, const void* value, size_t bytes) {
  if (observer) observer->access(to, bytes, Access::write, __builtin_return_address(0));
  std::memcpy(to, value, bytes);
}

}  // namespace dc::emulation
