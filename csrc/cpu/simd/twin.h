// Twin<V>: two registers that go through the same operations side by side. A long formula of dependent steps leaves the
// machine idle for the latency of each; two of them fill the gaps.
#pragma once
#include "gates.h"

namespace dc::DC_ISA {

template <class V>
struct Twin {
  V a, b;
  struct Mask {
    typename V::Mask a, b;
  };
  template <class S>
  static DC_INLINE Twin set(S x) {
    return {V::set(x), V::set(x)};
  }
  static DC_INLINE Twin zero() { return {V::zero(), V::zero()}; }
};

#define DC_TWIN_UNARY(name)                        \
  template <class V>                               \
  static DC_INLINE Twin<V> name(Twin<V> x) {       \
    return {DC_ISA::name(x.a), DC_ISA::name(x.b)}; \
  }
DC_TWIN_UNARY(gate_sigmoid)
DC_TWIN_UNARY(gate_tanh)
#undef DC_TWIN_UNARY

template <class V>
static DC_INLINE Twin<V> operator-(Twin<V> x) {
  return {-x.a, -x.b};
}
template <class V>
static DC_INLINE Twin<V> operator+(Twin<V> x, Twin<V> y) {
  return {x.a + y.a, x.b + y.b};
}
template <class V>
static DC_INLINE Twin<V> operator-(Twin<V> x, Twin<V> y) {
  return {x.a - y.a, x.b - y.b};
}
template <class V>
static DC_INLINE Twin<V> operator*(Twin<V> x, Twin<V> y) {
  return {x.a * y.a, x.b * y.b};
}
template <class V>
static DC_INLINE Twin<V> fma(Twin<V> x, Twin<V> y, Twin<V> z) {
  return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)};
}
template <class V>
static DC_INLINE Twin<V> fnma(Twin<V> x, Twin<V> y, Twin<V> z) {
  return {fnma(x.a, y.a, z.a), fnma(x.b, y.b, z.b)};
}
template <class V>
static DC_INLINE typename Twin<V>::Mask lt(Twin<V> x, Twin<V> y) {
  return {lt(x.a, y.a), lt(x.b, y.b)};
}
template <class V>
static DC_INLINE typename Twin<V>::Mask gt(Twin<V> x, Twin<V> y) {
  return {gt(x.a, y.a), gt(x.b, y.b)};
}
template <class V>
static DC_INLINE typename Twin<V>::Mask isnan(Twin<V> x) {
  return {isnan(x.a), isnan(x.b)};
}
template <class V>
static DC_INLINE Twin<V> select(typename Twin<V>::Mask m, Twin<V> x, Twin<V> y) {
  return {select(m.a, x.a, y.a), select(m.b, x.b, y.b)};
}

}  // namespace dc::DC_ISA
