// Reductions of one warp, in a fixed order: a butterfly, so that every lane gets the same bits and every run and every
// device does. All 32 lanes take part; a lane without a value brings the neutral element.
#pragma once
#include "device/primitives.cuh"

namespace dc {

// combine(a, b) must be commutative: lanes i and i ^ d compute it with the arguments swapped.
template <class T, class Combine>
DC_DEVICE T warp_reduce(T v, const Combine& combine DC_PLACE_PARAMETER) {
  DC_UNROLL
  for (int distance = 16; distance > 0; distance /= 2)
    v = combine(v, shuffle_xor(kFullMask, v, distance DC_PLACE_ARGUMENT));
  return v;
}

struct Sum {
  template <class T>
  DC_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
// NaN if either is NaN, as numpy's maximum.
struct Maximum {
  template <class T>
  DC_DEVICE T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Minimum {
  template <class T>
  DC_DEVICE T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};

template <class T>
DC_DEVICE T warp_sum(T v DC_PLACE_PARAMETER) {
  return warp_reduce(v, Sum() DC_PLACE_ARGUMENT);
}
template <class T>
DC_DEVICE T warp_max(T v DC_PLACE_PARAMETER) {
  return warp_reduce(v, Maximum() DC_PLACE_ARGUMENT);
}
template <class T>
DC_DEVICE T warp_min(T v DC_PLACE_PARAMETER) {
  return warp_reduce(v, Minimum() DC_PLACE_ARGUMENT);
}

// A value and where it stood.
template <class T>
struct Indexed {
  T value;
  int index;
};

// The larger value; the lower index among equals. NaN counts as the largest, as in numpy's argmax.
template <class T>
DC_DEVICE Indexed<T> larger(const Indexed<T>& a, const Indexed<T>& b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  const bool equal = (a_nan && b_nan) || a.value == b.value;
  const bool first = equal ? a.index < b.index : a_nan || (!b_nan && a.value > b.value);
  return first ? a : b;
}

template <class T>
DC_DEVICE Indexed<T> warp_max_index(Indexed<T> v DC_PLACE_PARAMETER) {
  DC_UNROLL
  for (int distance = 16; distance > 0; distance /= 2)
    v = larger(v, Indexed<T>{shuffle_xor(kFullMask, v.value, distance DC_PLACE_ARGUMENT),
                             shuffle_xor(kFullMask, v.index, distance DC_PLACE_ARGUMENT)});
  return v;
}

// Sum of the lanes up to and including this one.
template <class T>
DC_DEVICE T warp_running_sum(T v DC_PLACE_PARAMETER) {
  DC_UNROLL
  for (unsigned distance = 1; distance < 32; distance *= 2) {
    const T before = shuffle_up(kFullMask, v, distance DC_PLACE_ARGUMENT);
    if (lane() >= distance) v = v + before;
  }
  return v;
}

}  // namespace dc
