// The functions that code compiled with -fsanitize=thread calls, ours instead of ThreadSanitizer's: one OS thread runs
// all emulated threads, so that its runtime would see no race at all. Link without -fsanitize=thread.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dc::emulation {

void install_hooks();
void observe(const void* address, size_t bytes, bool write, const void* code);

namespace {

// Static initialisation of this file runs because instrumented code refers to it.
const bool installed = (install_hooks(), true);

}  // namespace
}  // namespace dc::emulation

using dc::emulation::observe;

#define DC_CODE __builtin_return_address(0)
#define DC_VISIBLE __attribute__((visibility("default")))

extern "C" {

DC_VISIBLE void __tsan_init() {}
DC_VISIBLE void __tsan_func_entry(void*) {}
DC_VISIBLE void __tsan_func_exit() {}
DC_VISIBLE void __tsan_vptr_update(void**, void*) {}
DC_VISIBLE void __tsan_vptr_read(void**) {}
DC_VISIBLE void __tsan_read_range(void* p, size_t n) { observe(p, n, false, DC_CODE); }
DC_VISIBLE void __tsan_write_range(void* p, size_t n) { observe(p, n, true, DC_CODE); }
DC_VISIBLE void* __tsan_memcpy(void* to, const void* from, size_t n) {
  observe(from, n, false, DC_CODE);
  observe(to, n, true, DC_CODE);
  return std::memcpy(to, from, n);
}
DC_VISIBLE void* __tsan_memmove(void* to, const void* from, size_t n) {
  observe(from, n, false, DC_CODE);
  observe(to, n, true, DC_CODE);
  return std::memmove(to, from, n);
}
DC_VISIBLE void* __tsan_memset(void* to, int value, size_t n) {
  observe(to, n, true, DC_CODE);
  return std::memset(to, value, n);
}

#define DC_ACCESS(n)                                                                        \
  DC_VISIBLE void __tsan_read##n(void* p) { observe(p, n, false, DC_CODE); }                \
  DC_VISIBLE void __tsan_write##n(void* p) { observe(p, n, true, DC_CODE); }                \
  DC_VISIBLE void __tsan_unaligned_read##n(void* p) { observe(p, n, false, DC_CODE); }      \
  DC_VISIBLE void __tsan_unaligned_write##n(void* p) { observe(p, n, true, DC_CODE); }      \
  DC_VISIBLE void __tsan_read_write##n(void* p) { observe(p, n, true, DC_CODE); }           \
  DC_VISIBLE void __tsan_unaligned_read_write##n(void* p) { observe(p, n, true, DC_CODE); } \
  DC_VISIBLE void __tsan_volatile_read##n(void* p) { observe(p, n, false, DC_CODE); }       \
  DC_VISIBLE void __tsan_volatile_write##n(void* p) { observe(p, n, true, DC_CODE); }
DC_ACCESS(1)
DC_ACCESS(2)
DC_ACCESS(4)
DC_ACCESS(8)
DC_ACCESS(16)

// Atomics of the host's own code (shared pointers, guards of static variables): kernels have dc::atomic_*.
#define DC_HOST_ATOMIC(bits)                                                                                     \
  DC_VISIBLE uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) {                  \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                 \
  }                                                                                                              \
  DC_VISIBLE void __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t v, int) {               \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                    \
  }                                                                                                              \
  DC_VISIBLE uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t* p, uint##bits##_t v, int) {  \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                              \
  DC_VISIBLE uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile uint##bits##_t* p, uint##bits##_t v, int) { \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                           \
  }                                                                                                              \
  DC_VISIBLE uint##bits##_t __tsan_atomic##bits##_fetch_sub(volatile uint##bits##_t* p, uint##bits##_t v, int) { \
    return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                                           \
  }                                                                                                              \
  DC_VISIBLE int __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t* p, uint##bits##_t* e,    \
                                                               uint##bits##_t v, int, int) {                     \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                      \
  }                                                                                                              \
  DC_VISIBLE int __tsan_atomic##bits##_compare_exchange_weak(volatile uint##bits##_t* p, uint##bits##_t* e,      \
                                                             uint##bits##_t v, int, int) {                       \
    return __atomic_compare_exchange_n(p, e, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                       \
  }
DC_HOST_ATOMIC(8)
DC_HOST_ATOMIC(32)
DC_HOST_ATOMIC(64)
DC_VISIBLE void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

}  // extern "C"
