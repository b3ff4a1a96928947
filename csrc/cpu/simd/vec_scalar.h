// One lane: the portable build (any CPU) and the float64 reference path.
#pragma once

namespace dc::DC_ISA {

template <class T>
struct Vec;

template <class T>
struct ScalarVec {
  using V = Vec<T>;
  using Mask = bool;
  static constexpr int W = 1;
  T v;
  static DC_INLINE V load(const T* p) { return V{{*p}}; }
  static DC_INLINE V load_n(const T* p, int n) { return V{{n > 0 ? *p : T(0)}}; }
  static DC_INLINE V set(T x) { return V{{x}}; }
  static DC_INLINE V zero() { return V{{T(0)}}; }
  static DC_INLINE V iota() { return V{{T(0)}}; }
  DC_INLINE void store(T* p) const { *p = v; }
  DC_INLINE void store_n(T* p, int n) const {
    if (n > 0) *p = v;
  }
  DC_INLINE T sum() const { return v; }
  DC_INLINE T hmax() const { return v; }
  DC_INLINE T hmin() const { return v; }
};

template <>
struct Vec<float> : ScalarVec<float> {};
template <>
struct Vec<double> : ScalarVec<double> {};

#define DC_SCALAR_OPERATORS(T)                                                               \
  static DC_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) { return {{a.v + b.v}}; }            \
  static DC_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) { return {{a.v - b.v}}; }            \
  static DC_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) { return {{a.v * b.v}}; }            \
  static DC_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) { return {{a.v / b.v}}; }            \
  static DC_INLINE Vec<T> operator-(Vec<T> a) { return {{-a.v}}; }                           \
  static DC_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return {{a.v * b.v + c.v}}; }  \
  static DC_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) { return {{c.v - a.v * b.v}}; } \
  static DC_INLINE bool lt(Vec<T> a, Vec<T> b) { return a.v < b.v; }                         \
  static DC_INLINE bool le(Vec<T> a, Vec<T> b) { return a.v <= b.v; }                        \
  static DC_INLINE bool gt(Vec<T> a, Vec<T> b) { return a.v > b.v; }                         \
  static DC_INLINE bool ge(Vec<T> a, Vec<T> b) { return a.v >= b.v; }                        \
  static DC_INLINE bool eq(Vec<T> a, Vec<T> b) { return a.v == b.v; }                        \
  static DC_INLINE bool isnan(Vec<T> a) { return a.v != a.v; }                               \
  static DC_INLINE Vec<T> select(bool m, Vec<T> a, Vec<T> b) { return m ? a : b; }           \
  static DC_INLINE Vec<T> max(Vec<T> a, Vec<T> b) { return {{a.v > b.v ? a.v : b.v}}; }      \
  static DC_INLINE Vec<T> min(Vec<T> a, Vec<T> b) { return {{a.v < b.v ? a.v : b.v}}; }
DC_SCALAR_OPERATORS(float)
DC_SCALAR_OPERATORS(double)
#undef DC_SCALAR_OPERATORS

static DC_INLINE uint32_t bits(bool m) { return m; }
static DC_INLINE Vec<float> abs(Vec<float> a) { return {{::fabsf(a.v)}}; }
static DC_INLINE Vec<double> abs(Vec<double> a) { return {{::fabs(a.v)}}; }
static DC_INLINE Vec<float> sqrt(Vec<float> a) { return {{::sqrtf(a.v)}}; }
static DC_INLINE Vec<double> sqrt(Vec<double> a) { return {{::sqrt(a.v)}}; }
static DC_INLINE Vec<float> round(Vec<float> a) { return {{::rintf(a.v)}}; }
static DC_INLINE Vec<double> round(Vec<double> a) { return {{::rint(a.v)}}; }
static DC_INLINE Vec<float> floor(Vec<float> a) { return {{::floorf(a.v)}}; }
static DC_INLINE Vec<double> floor(Vec<double> a) { return {{::floor(a.v)}}; }

// 2^n for integral n in [-126, 127].
static DC_INLINE Vec<float> pow2i(Vec<float> n) {
  const int32_t bits = (static_cast<int32_t>(n.v) + 127) << 23;
  float r;
  ::memcpy(&r, &bits, 4);
  return {{r}};
}
static DC_INLINE Vec<double> pow2i(Vec<double> n) {  // in [-1022, 1023]
  const int64_t bits = (static_cast<int64_t>(n.v) + 1023) << 52;
  double r;
  ::memcpy(&r, &bits, 8);
  return {{r}};
}
// floor(log2 x) and x / 2^that, in [1, 2), for normal x > 0.
static DC_INLINE Vec<float> exponent(Vec<float> x) {
  int32_t bits;
  ::memcpy(&bits, &x.v, 4);
  return {{static_cast<float>(((bits >> 23) & 0xff) - 127)}};
}
static DC_INLINE Vec<float> mantissa(Vec<float> x) {
  int32_t bits;
  ::memcpy(&bits, &x.v, 4);
  bits = (bits & 0x007fffff) | 0x3f800000;
  float r;
  ::memcpy(&r, &bits, 4);
  return {{r}};
}

}  // namespace dc::DC_ISA
