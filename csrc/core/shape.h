// Dims: up to eight int64 values in place, used for shapes and strides; the rules of broadcasting.
#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <ostream>

#include "core/error.h"

namespace dc {

inline constexpr int kMaxDims = 8;

class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values) {
    for (int64_t v : values) push_back(v);
  }
  static Dims filled(int n, int64_t value) {
    Dims d;
    for (int i = 0; i < n; ++i) d.push_back(value);
    return d;
  }
  int size() const { return size_; }
  int64_t& operator[](int i) { return values_[i]; }
  int64_t operator[](int i) const { return values_[i]; }
  const int64_t* begin() const { return values_; }
  const int64_t* end() const { return values_ + size_; }
  int64_t back() const { return values_[size_ - 1]; }
  void push_back(int64_t v) {
    DC_CHECK(size_ < kMaxDims, ShapeError, "array: expected at most ", kMaxDims, " dimensions");
    values_[size_++] = v;
  }
  bool operator==(const Dims& o) const { return size_ == o.size_ && std::equal(begin(), end(), o.begin()); }

 private:
  int size_ = 0;
  int64_t values_[kMaxDims];
};

inline std::ostream& operator<<(std::ostream& out, const Dims& d) {
  out << '(';
  for (int i = 0; i < d.size(); ++i) out << (i ? ", " : "") << d[i];
  return out << (d.size() == 1 ? ",)" : ")");
}

// Number of elements; checked against overflow of int64.
inline int64_t count(const Dims& shape) {
  int64_t n = 1;
  for (int64_t v : shape) {
    DC_CHECK(v >= 0, ShapeError, "array: expected sizes >= 0, got ", shape);
    DC_CHECK(!__builtin_mul_overflow(n, v, &n), ShapeError, "array: ", shape, " has more than 2^63 elements");
  }
  return n;
}

// A product that may wrap around: for strides that nobody follows, of empty axes and of axes of size 1.
inline int64_t wrapping_product(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

inline Dims contiguous_strides(const Dims& shape) {
  Dims s = Dims::filled(shape.size(), 1);
  for (int i = shape.size() - 2; i >= 0; --i) s[i] = wrapping_product(s[i + 1], std::max<int64_t>(shape[i + 1], 1));
  return s;
}

inline Dims broadcast(const char* op, const Dims& a, const Dims& b) {
  const int n = std::max(a.size(), b.size());
  Dims r = Dims::filled(n, 1);
  for (int i = 0; i < n; ++i) {
    const int ia = i - (n - a.size()), ib = i - (n - b.size());
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    DC_CHECK(da == db || da == 1 || db == 1, ShapeError, op, ": expected shapes that broadcast, got ", a, " and ", b);
    r[i] = da == 1 ? db : da;
  }
  return r;
}

// Axis in [-n, n) as an index in [0, n).
inline int normalize_axis(const char* op, int64_t axis, int n) {
  DC_CHECK(axis >= -n && axis < n, ArgumentError, op, ": expected an axis in [", -n, ", ", n, "), got ", axis);
  return static_cast<int>(axis < 0 ? axis + n : axis);
}

}  // namespace dc
