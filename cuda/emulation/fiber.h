// Fibers: stacks of their own that one OS thread switches between. A switch saves the registers a callee must keep
// and swaps stack pointers (own assembly on x86-64 and aarch64, ucontext elsewhere).
#pragma once
#include <cstddef>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define DC_EMULATION_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DC_EMULATION_ASAN 1
#endif
#endif
#if !defined(__x86_64__) && !defined(__aarch64__)
#define DC_EMULATION_UCONTEXT 1
#include <ucontext.h>
#endif

namespace dc::emulation {

#ifdef DC_EMULATION_ASAN
inline constexpr size_t kStackBytes = 256 << 10;  // red zones around every local array
#else
inline constexpr size_t kStackBytes = 64 << 10;
#endif

struct Fiber {
  void* stack_pointer = nullptr;  // while suspended
  char* stack = nullptr;          // lowest address
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
#ifdef DC_EMULATION_UCONTEXT
  ucontext_t context;
#endif
};

// Leaves `from` suspended and continues `to`.
void switch_fiber(Fiber& from, Fiber& to);
// First thing a new fiber does: tells AddressSanitizer that the switch is over.
void fiber_started();
// Describes the stack of the calling OS thread, so that fibers can switch back to it.
void adopt_host_stack(Fiber& host);

// Owns every fiber ever made; `entry` is where a new one starts, and it never returns.
class FiberPool {
 public:
  explicit FiberPool(void (*entry)()) : entry_(entry) {}
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;
  ~FiberPool();

  // Null when the system has no memory for another stack.
  Fiber* take();
  // `fiber` is suspended at a point where it can begin something new.
  void give(Fiber* fiber) { free_.push_back(fiber); }
  // After a launch that failed: whatever fibers were doing is forgotten, and all start anew.
  void restart_all();
  bool contains(const void* address) const;
  size_t size() const { return all_.size(); }

 private:
  void prepare(Fiber& fiber) const;
  bool grow();

  void (*entry_)();
  std::vector<Fiber*> all_, free_;
  struct Slab {
    char* base;
    size_t bytes;
  };
  std::vector<Slab> slabs_;
};

}  // namespace dc::emulation
