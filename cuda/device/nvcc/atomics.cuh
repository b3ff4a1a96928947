// Atomics of int, unsigned and unsigned long long; flags with acquire and release at device scope. Addresses are
// generic, so that flags may be in global or shared memory.
#pragma once
#include <type_traits>

#include "device/nvcc/qualifiers.cuh"

namespace dc {

namespace nvcc {

template <class T>
inline constexpr bool kAtomicType =
    std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;

}  // namespace nvcc

#define DC_ATOMIC(name, intrinsic)                    \
  template <class T>                                  \
  DC_DEVICE T name(T* p, std::type_identity_t<T> v) { \
    static_assert(nvcc::kAtomicType<T>);              \
    return intrinsic(p, v);                           \
  }
DC_ATOMIC(atomic_add, ::atomicAdd)
DC_ATOMIC(atomic_max, ::atomicMax)
DC_ATOMIC(atomic_min, ::atomicMin)
DC_ATOMIC(atomic_exchange, ::atomicExch)
#undef DC_ATOMIC

template <class T>
DC_DEVICE T atomic_cas(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  static_assert(nvcc::kAtomicType<T>);
  return ::atomicCAS(p, expected, v);
}

template <class T>
DC_DEVICE T load_acquire(const T* p) {
  static_assert(nvcc::kAtomicType<T>);
  if constexpr (sizeof(T) == 8) {
    unsigned long long v;
    asm volatile("ld.acquire.gpu.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
    return v;
  } else {
    unsigned v;
    asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return static_cast<T>(v);
  }
}

template <class T>
DC_DEVICE void store_release(T* p, std::type_identity_t<T> v) {
  static_assert(nvcc::kAtomicType<T>);
  if constexpr (sizeof(T) == 8)
    asm volatile("st.release.gpu.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
  else
    asm volatile("st.release.gpu.u32 [%0], %1;" ::"l"(p), "r"(static_cast<unsigned>(v)) : "memory");
}

// Acquires as well.
template <class T>
DC_DEVICE T add_release(T* p, std::type_identity_t<T> v) {
  static_assert(nvcc::kAtomicType<T>);
  if constexpr (sizeof(T) == 8) {
    unsigned long long before;
    asm volatile("atom.add.acq_rel.gpu.u64 %0, [%1], %2;" : "=l"(before) : "l"(p), "l"(v) : "memory");
    return before;
  } else {
    unsigned before;
    asm volatile("atom.add.acq_rel.gpu.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(p), "r"(static_cast<unsigned>(v))
                 : "memory");
    return static_cast<T>(before);
  }
}

DC_DEVICE void spin_wait() { __nanosleep(20); }
DC_DEVICE void threadfence() { __threadfence(); }

}  // namespace dc
