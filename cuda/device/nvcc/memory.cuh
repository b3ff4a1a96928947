// Vector accesses of 8 and 16 bytes.
#pragma once
#include "device/nvcc/qualifiers.cuh"

namespace dc {

template <class V>
DC_DEVICE V load(const void* p) {
  static_assert(sizeof(V) == 8 || sizeof(V) == 16, "vectors have 8 or 16 bytes");
  return *static_cast<const V*>(p);
}
// For data in global memory that will not be used again soon: it does not stay in the first cache.
template <class V>
DC_DEVICE V ld_global_streaming(const void* p) {
  static_assert(sizeof(V) == 8 || sizeof(V) == 16, "vectors have 8 or 16 bytes");
  return __ldcs(static_cast<const V*>(p));
}
template <class V>
DC_DEVICE void store(void* p, const V& v) {
  static_assert(sizeof(V) == 8 || sizeof(V) == 16, "vectors have 8 or 16 bytes");
  *static_cast<V*>(p) = v;
}

namespace nvcc {

// The address that instructions on shared memory take.
DC_DEVICE unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

}  // namespace nvcc

}  // namespace dc
