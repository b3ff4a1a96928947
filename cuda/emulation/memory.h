// Vector accesses, and the memory of the emulated device.
#pragma once
#include <cstddef>
#include <cstdint>

#include "emulation/thread.h"

#if defined(__SANITIZE_THREAD__)
#define DC_EMULATION_HOOKS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DC_EMULATION_HOOKS 1
#endif
#endif

namespace dc::emulation {

// Memory of the emulated device, 256-byte aligned, filled with 0xFF bytes. Null when there is none.
void* allocate_device(size_t bytes);
void free_device(void* memory);
// Makes memory that a caching allocator hands out again look fresh.
void poison_device(void* memory, size_t bytes);
// From now on only the first `bytes` bytes of this allocation may be accessed; the access hooks see to it.
void limit_device(void* memory, size_t bytes);

[[noreturn]] void fail_misaligned(const void* address, size_t bytes, const Place& place);
// One access of 8 or 16 bytes in builds with access hooks, which would otherwise see its elements.
void copy_observed_read(void* value, const void* from, size_t bytes);
void copy_observed_write(void* to, const void* value, size_t bytes);

template <class V>
inline __attribute__((always_inline)) void check_vector(const void* address, const Place& place) {
  static_assert(sizeof(V) == 8 || sizeof(V) == 16, "vectors have 8 or 16 bytes");
  if (reinterpret_cast<uintptr_t>(address) % sizeof(V)) fail_misaligned(address, sizeof(V), place);
}

}  // namespace dc::emulation

namespace dc {

// One vector load: load<float4>(p). The address must be a multiple of its size.
template <class V>
inline __attribute__((always_inline)) V load(const void* p,
                                             const emulation::Place& place = emulation::Place::current()) {
  emulation::check_vector<V>(p, place);
  V v;
#ifdef DC_EMULATION_HOOKS
  emulation::copy_observed_read(&v, p, sizeof(V));
#else
  __builtin_memcpy(&v, p, sizeof(V));
#endif
  return v;
}
// The same for data that will not be used again soon; keeps it out of the first cache on the device.
template <class V>
inline __attribute__((always_inline)) V
ld_global_streaming(const void* p, const emulation::Place& place = emulation::Place::current()) {
  return load<V>(p, place);
}
template <class V>
inline __attribute__((always_inline)) void store(void* p, const V& v,
                                                 const emulation::Place& place = emulation::Place::current()) {
  emulation::check_vector<V>(p, place);
#ifdef DC_EMULATION_HOOKS
  emulation::copy_observed_write(p, &v, sizeof(V));
#else
  __builtin_memcpy(p, &v, sizeof(V));
#endif
}

}  // namespace dc
