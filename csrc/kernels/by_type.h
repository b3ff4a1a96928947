// From the tag or the size of an element to its type: f gets a value of that type. In the namespace of the instruction
// set, as all that is compiled once for each.
#pragma once
#include "elementwise.h"

namespace dc::DC_ISA {

// Elements that are only moved: an unsigned type of their size.
template <class F>
static inline void by_itemsize(int itemsize, const F& f) {
  switch (itemsize) {
    case 1:
      return f(uint8_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

// bool is a uint8 here.
template <class F>
static inline void by_integer(ElementTag tag, const F& f) {
  switch (tag) {
    case ElementTag::int32:
      return f(int32_t{});
    case ElementTag::int64:
      return f(int64_t{});
    default:
      return f(uint8_t{});
  }
}

template <class F>
static inline void by_element(ElementTag tag, const F& f) {
  switch (tag) {
    case ElementTag::float32:
      return f(float{});
    case ElementTag::float64:
      return f(double{});
    default:
      return by_integer(tag, f);
  }
}

// The type whose arithmetic wraps where that of T is undefined.
template <class T>
struct Wrapping {
  using Type = uint32_t;
};
template <>
struct Wrapping<int64_t> {
  using Type = uint64_t;
};

}  // namespace dc::DC_ISA
