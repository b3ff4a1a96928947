#include "emulation/fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>

#ifdef DC_EMULATION_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef DC_EMULATION_UCONTEXT
// void dc_emulation_switch(void** save, void* to)
extern "C" __attribute__((visibility("hidden"))) void dc_emulation_switch(void** save, void* to);
#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl dc_emulation_switch
  .hidden dc_emulation_switch
  .type dc_emulation_switch, @function
dc_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size dc_emulation_switch, .-dc_emulation_switch
)");
#else
asm(R"(
  .text
  .p2align 4
  .globl dc_emulation_switch
  .hidden dc_emulation_switch
  .type dc_emulation_switch, %function
dc_emulation_switch:
  stp x29, x30, [sp, #-160]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
  .size dc_emulation_switch, .-dc_emulation_switch
)");
#endif
#endif

namespace dc::emulation {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kStacksPerSlab = 16;
// Each guard page splits a mapping, and Linux allows about 65,000 mappings: only the first stacks have one.
constexpr size_t kGuardedStacks = 16384;

}  // namespace

void switch_fiber(Fiber& from, Fiber& to) {
#ifdef DC_EMULATION_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
#ifdef DC_EMULATION_UCONTEXT
  swapcontext(&from.context, &to.context);
#else
  dc_emulation_switch(&from.stack_pointer, to.stack_pointer);
#endif
#ifdef DC_EMULATION_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void fiber_started() {
#ifdef DC_EMULATION_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

void adopt_host_stack(Fiber& host) {
#ifdef DC_EMULATION_ASAN
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  void* base = nullptr;
  pthread_attr_getstack(&attributes, &base, &host.stack_bytes);
  pthread_attr_destroy(&attributes);
  host.stack = static_cast<char*>(base);
#else
  (void)host;  // a switch needs no more than the stack pointer it saves
#endif
}

FiberPool::~FiberPool() {
  for (Fiber* fiber : all_) delete fiber;
  for (const Slab& slab : slabs_) munmap(slab.base, slab.bytes);
}

Fiber* FiberPool::take() {
  if (free_.empty() && !grow()) return nullptr;
  Fiber* fiber = free_.back();
  free_.pop_back();
  return fiber;
}

bool FiberPool::grow() {
  const bool guarded = all_.size() < kGuardedStacks;
  const size_t step = kStackBytes + (guarded ? kPage : 0), bytes = step * kStacksPerSlab;
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return false;
  slabs_.push_back({static_cast<char*>(base), bytes});
  for (size_t i = kStacksPerSlab; i-- > 0;) {
    char* low = static_cast<char*>(base) + i * step;
    if (guarded) {
      mprotect(low, kPage, PROT_NONE);  // a stack that overflows meets it and faults
      low += kPage;
    }
    Fiber* fiber = new Fiber;
    fiber->stack = low;
    fiber->stack_bytes = kStackBytes;
    prepare(*fiber);
    all_.push_back(fiber);
    free_.push_back(fiber);
  }
  return true;
}

void FiberPool::prepare(Fiber& fiber) const {
#ifdef DC_EMULATION_ASAN
  __asan_unpoison_memory_region(fiber.stack, fiber.stack_bytes);  // red zones of frames that were abandoned
#endif
#if defined(DC_EMULATION_UCONTEXT)
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = fiber.stack_bytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry_, 0);
#elif defined(__x86_64__)
  // What the switch pops: six registers, then the entry as return address; above it a null return address, which
  // ends stack walks and leaves the stack aligned as after a call.
  auto* top = reinterpret_cast<uint64_t*>(fiber.stack + fiber.stack_bytes);
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(entry_);
  for (int i = 0; i < 6; ++i) *--top = 0;
  fiber.stack_pointer = top;
#else
  auto* top = reinterpret_cast<uint64_t*>(fiber.stack + fiber.stack_bytes) - 20;  // the 160 bytes of the switch
  for (int i = 0; i < 20; ++i) top[i] = 0;
  top[1] = reinterpret_cast<uint64_t>(entry_);  // x30
  fiber.stack_pointer = top;
#endif
}

void FiberPool::restart_all() {
  free_ = all_;
  for (Fiber* fiber : all_) prepare(*fiber);
}

bool FiberPool::contains(const void* address) const {
  const char* a = static_cast<const char*>(address);
  for (const Slab& slab : slabs_)
    if (a >= slab.base && a < slab.base + slab.bytes) return true;
  return false;
}

}  // namespace dc::emulation
