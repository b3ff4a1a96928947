// Conversion of one element. The including file defines DC_INLINE.
#pragma once
#include <cstdint>

namespace dc::DC_ISA {

// Floats outside the range of an integer type saturate, NaN gives 0: the plain conversion is undefined there.
template <class From, class To>
static DC_INLINE To convert(From v) {
  constexpr bool from_float = static_cast<From>(0.5) != From(0);
  constexpr bool to_float = static_cast<To>(0.5) != To(0);
  if constexpr (from_float && !to_float) {
    constexpr To lowest = static_cast<To>(-1) < To(0) ? static_cast<To>(uint64_t{1} << (8 * sizeof(To) - 1)) : To(0);
    constexpr To highest = static_cast<To>(~lowest);
    if (v != v) return To(0);
    if (static_cast<double>(v) <= static_cast<double>(lowest)) return lowest;
    if (static_cast<double>(v) >= static_cast<double>(highest)) return highest;
    return static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

}  // namespace dc::DC_ISA
