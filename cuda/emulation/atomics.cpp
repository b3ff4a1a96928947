#include "emulation/atomics.h"

#include "emulation/observer.h"
#include "emulation/scheduler.h"

namespace dc::emulation {

namespace {

template <class T>
void check(const T* p, const Place& place, const void* code) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T)) fail("atomic access to a misaligned address", place);
  if (observer) observer->access(p, sizeof(T), Access::atomic, code);
}

template <class T>
T replace(T* p, T v) {
  const T before = *p;
  if (v != before) {
    *p = v;
    scheduler().note_progress();
  }
  return before;
}

}  // namespace

#define DC_CODE __builtin_return_address(0)

template <class T>
T atomic_add(T* p, T v, const Place& place) {
  check(p, place, DC_CODE);
  // Wraps around, as on the device.
  return replace(p, static_cast<T>(static_cast<unsigned long long>(*p) + static_cast<unsigned long long>(v)));
}
template <class T>
T atomic_max(T* p, T v, const Place& place) {
  check(p, place, DC_CODE);
  return replace(p, *p < v ? v : *p);
}
template <class T>
T atomic_min(T* p, T v, const Place& place) {
  check(p, place, DC_CODE);
  return replace(p, v < *p ? v : *p);
}
template <class T>
T atomic_exchange(T* p, T v, const Place& place) {
  check(p, place, DC_CODE);
  return replace(p, v);
}
template <class T>
T atomic_cas(T* p, T expected, T v, const Place& place) {
  check(p, place, DC_CODE);
  return *p == expected ? replace(p, v) : *p;
}
template <class T>
T load_acquire(const T* p, const Place& place) {
  check(p, place, DC_CODE);
  if (observer) observer->acquire(*current, p);
  return *p;
}
template <class T>
void store_release(T* p, T v, const Place& place) {
  check(p, place, DC_CODE);
  if (observer) observer->release(*current, p);
  replace(p, v);
}
template <class T>
T add_release(T* p, T v, const Place& place) {
  check(p, place, DC_CODE);
  if (observer) {
    observer->acquire(*current, p);
    observer->release(*current, p);
  }
  return replace(p, static_cast<T>(static_cast<unsigned long long>(*p) + static_cast<unsigned long long>(v)));
}

void spin(const Place& place) { scheduler().spin(place); }

#define DC_INSTANTIATE(T)                           \
  template T atomic_add(T*, T, const Place&);       \
  template T atomic_max(T*, T, const Place&);       \
  template T atomic_min(T*, T, const Place&);       \
  template T atomic_exchange(T*, T, const Place&);  \
  template T atomic_cas(T*, T, T, const Place&);    \
  template T load_acquire(const T*, const Place&);  \
  template void store_release(T*, T, const Place&); \
  template T add_release(T*, T, const Place&);
DC_INSTANTIATE(int)
DC_INSTANTIATE(unsigned)
DC_INSTANTIATE(unsigned long long)

}  // namespace dc::emulation
