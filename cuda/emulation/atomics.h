// Atomics of int, unsigned and unsigned long long, and flags with acquire and release. There are none of floating
// types: their result would depend on the order of threads.
// atomic_* are relaxed: they order nothing around them. load_acquire, store_release and add_release do.
#pragma once
#include <type_traits>

#include "emulation/qualifiers.h"
#include "emulation/thread.h"

namespace dc::emulation {

template <class T>
inline constexpr bool kAtomicType =
    std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;

template <class T>
T atomic_add(T* p, T v, const Place& place);
template <class T>
T atomic_max(T* p, T v, const Place& place);
template <class T>
T atomic_min(T* p, T v, const Place& place);
template <class T>
T atomic_exchange(T* p, T v, const Place& place);
template <class T>
T atomic_cas(T* p, T expected, T v, const Place& place);
template <class T>
T load_acquire(const T* p, const Place& place);
template <class T>
void store_release(T* p, T v, const Place& place);
template <class T>
T add_release(T* p, T v, const Place& place);
void spin(const Place& place);

}  // namespace dc::emulation

namespace dc {

#define DC_ATOMIC(name)                                                                                            \
  template <class T>                                                                                               \
  DC_DEVICE T name(T* p, std::type_identity_t<T> v, const emulation::Place& place = emulation::Place::current()) { \
    static_assert(emulation::kAtomicType<T>);                                                                      \
    return emulation::name(p, v, place);                                                                           \
  }
DC_ATOMIC(atomic_add)
DC_ATOMIC(atomic_max)
DC_ATOMIC(atomic_min)
DC_ATOMIC(atomic_exchange)
DC_ATOMIC(add_release)  // acquires as well
#undef DC_ATOMIC

// Returns what was there; `v` is stored where that was `expected`.
template <class T>
DC_DEVICE T atomic_cas(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v,
                       const emulation::Place& place = emulation::Place::current()) {
  static_assert(emulation::kAtomicType<T>);
  return emulation::atomic_cas(p, expected, v, place);
}
template <class T>
DC_DEVICE T load_acquire(const T* p, const emulation::Place& place = emulation::Place::current()) {
  static_assert(emulation::kAtomicType<T>);
  return emulation::load_acquire(p, place);
}
template <class T>
DC_DEVICE void store_release(T* p, std::type_identity_t<T> v,
                             const emulation::Place& place = emulation::Place::current()) {
  static_assert(emulation::kAtomicType<T>);
  emulation::store_release(p, v, place);
}
// In every loop that polls: the other threads run.
DC_DEVICE void spin_wait(const emulation::Place& place = emulation::Place::current()) { emulation::spin(place); }
// One OS thread runs all, hence memory is always in order here.
DC_DEVICE void threadfence() {}

}  // namespace dc
