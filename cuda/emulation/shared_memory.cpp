#include "emulation/shared_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "emulation/fiber.h"
#include "emulation/limits.h"
#include "emulation/observer.h"

#ifdef DC_EMULATION_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace dc::emulation {

namespace {

constexpr size_t kAlignment = 1024;  // of dynamic memory, and at most of a variable
constexpr size_t kGap = 256;         // after each variable
// Room for every byte a block may have, with a gap and lost alignment per variable; committed as it is touched.
constexpr size_t kBuffer = 1 << 20;
constexpr size_t kMargin = 1024;  // before it: what the system mapped there, a stack perhaps, is not next to it

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

SharedMemory::~SharedMemory() {
  if (!base_) return;
  close_all();
#ifdef DC_EMULATION_ASAN
  __asan_unpoison_memory_region(base_, kBuffer);
#endif
  munmap(base_ - kMargin, kMargin + kBuffer);
}

bool SharedMemory::begin(size_t dynamic_bytes) {
  if (base_) {
    close_all();
  } else {
    void* fresh =
        mmap(nullptr, kMargin + kBuffer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fresh == MAP_FAILED) return false;
    base_ = static_cast<unsigned char*>(fresh) + kMargin;
#ifdef DC_EMULATION_ASAN
    __asan_poison_memory_region(base_, kBuffer);
#endif
  }
  dynamic_bytes_ = dynamic_bytes;
  if (dynamic_bytes) open(dynamic_bytes);
  return true;
}

void SharedMemory::close_all() {
  if (observer) {
    if (dynamic_bytes_) observer->remove_region(base_);
    for (const Variable& v : variables_) observer->remove_region(v.address);
  }
#ifdef DC_EMULATION_ASAN
  __asan_poison_memory_region(base_, used_);
#endif
  variables_.clear();
  static_bytes_ = dynamic_bytes_ = used_ = 0;
}

unsigned char* SharedMemory::open(size_t bytes) {
  unsigned char* address = base_ + used_;
  used_ = round_up(used_ + bytes + kGap, kGap);
#ifdef DC_EMULATION_ASAN
  __asan_unpoison_memory_region(address, bytes);
#endif
  std::memset(address, 0xFF, bytes);
  if (observer) observer->add_region(address, bytes, MemoryKind::shared);
  return address;
}

void* SharedMemory::variable(const void* tag, size_t bytes, size_t alignment) {
  for (const Variable& v : variables_)
    if (v.tag == tag) return v.address;
  static_bytes_ += bytes;
  used_ = round_up(used_, alignment);
  if (static_bytes_ > kMaxStaticShared || static_bytes_ + dynamic_bytes_ > kMaxSharedMemory || alignment > kAlignment ||
      used_ + bytes + kGap > kBuffer)
    return nullptr;
  unsigned char* address = open(bytes);
  variables_.push_back({tag, address, bytes});
  return address;
}

bool SharedMemory::contains(const void* address, size_t bytes) const {
  const auto* a = static_cast<const unsigned char*>(address);
  if (a >= base_ && a + bytes <= base_ + dynamic_bytes_) return true;
  for (const Variable& v : variables_)
    if (a >= v.address && a + bytes <= v.address + v.bytes) return true;
  return false;
}

}  // namespace dc::emulation
