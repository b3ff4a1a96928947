// The value type of csrc/kernels/functors.h on a device: one number of one thread. Accurate functions of the device's
// library; they differ from the CPU's polynomials by a few ulp.
#pragma once
#include <cmath>

#include "device/primitives.cuh"

#define DC_INLINE DC_DEVICE

namespace dc::cuda {

template <class T>
struct Lane {
  T value;
  static DC_DEVICE Lane set(T x) { return {x}; }
  static DC_DEVICE Lane zero() { return {T(0)}; }
  DC_DEVICE T sum() const { return value; }
};

template <class T>
DC_DEVICE Lane<T> operator+(Lane<T> a, Lane<T> b) {
  return {a.value + b.value};
}
template <class T>
DC_DEVICE Lane<T> operator-(Lane<T> a, Lane<T> b) {
  return {a.value - b.value};
}
template <class T>
DC_DEVICE Lane<T> operator*(Lane<T> a, Lane<T> b) {
  return {a.value * b.value};
}
template <class T>
DC_DEVICE Lane<T> operator/(Lane<T> a, Lane<T> b) {
  return {a.value / b.value};
}
template <class T>
DC_DEVICE Lane<T> operator-(Lane<T> a) {
  return {-a.value};
}
template <class T>
DC_DEVICE bool gt(Lane<T> a, Lane<T> b) {
  return a.value > b.value;
}
template <class T>
DC_DEVICE bool lt(Lane<T> a, Lane<T> b) {
  return a.value < b.value;
}
template <class T>
DC_DEVICE bool ge(Lane<T> a, Lane<T> b) {
  return a.value >= b.value;
}
template <class T>
DC_DEVICE bool le(Lane<T> a, Lane<T> b) {
  return a.value <= b.value;
}
template <class T>
DC_DEVICE bool isnan(Lane<T> a) {
  return a.value != a.value;
}
template <class T>
DC_DEVICE Lane<T> select(bool condition, Lane<T> yes, Lane<T> no) {
  return condition ? yes : no;
}
// a b + c, and c - a b
template <class T>
DC_DEVICE Lane<T> fma(Lane<T> a, Lane<T> b, Lane<T> c) {
  return {::fma(a.value, b.value, c.value)};
}
template <class T>
DC_DEVICE Lane<T> fnma(Lane<T> a, Lane<T> b, Lane<T> c) {
  return {::fma(-a.value, b.value, c.value)};
}
template <>
DC_DEVICE Lane<float> fma(Lane<float> a, Lane<float> b, Lane<float> c) {
  return {::fmaf(a.value, b.value, c.value)};
}
template <>
DC_DEVICE Lane<float> fnma(Lane<float> a, Lane<float> b, Lane<float> c) {
  return {::fmaf(-a.value, b.value, c.value)};
}

#define DC_LANE_FUNCTION(name, of_float, of_double)                         \
  DC_DEVICE Lane<float> name(Lane<float> x) { return {of_float(x.value)}; } \
  DC_DEVICE Lane<double> name(Lane<double> x) { return {of_double(x.value)}; }
DC_LANE_FUNCTION(abs, ::fabsf, ::fabs)
DC_LANE_FUNCTION(exp, ::expf, ::exp)
DC_LANE_FUNCTION(expm1, ::expm1f, ::expm1)
DC_LANE_FUNCTION(log, ::logf, ::log)
DC_LANE_FUNCTION(log1p, ::log1pf, ::log1p)
DC_LANE_FUNCTION(sqrt, ::sqrtf, ::sqrt)
DC_LANE_FUNCTION(sin, ::sinf, ::sin)
DC_LANE_FUNCTION(cos, ::cosf, ::cos)
DC_LANE_FUNCTION(erf, ::erff, ::erf)
DC_LANE_FUNCTION(tanh, ::tanhf, ::tanh)
DC_LANE_FUNCTION(round, ::rintf, ::rint)  // ties to even, as numpy
DC_LANE_FUNCTION(floor, ::floorf, ::floor)
#undef DC_LANE_FUNCTION

DC_DEVICE Lane<float> pow(Lane<float> a, Lane<float> b) { return {::powf(a.value, b.value)}; }
DC_DEVICE Lane<double> pow(Lane<double> a, Lane<double> b) { return {::pow(a.value, b.value)}; }

// 1 / (1 + exp(-x)), exact in both tails: exp of a positive number never divides.
template <class T>
DC_DEVICE Lane<T> sigmoid(Lane<T> x) {
  const Lane<T> one = {T(1)}, e = exp(-abs(x)), positive = one / (one + e);
  return x.value < 0 ? e * positive : positive;
}
// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))
template <class T>
DC_DEVICE Lane<T> softplus(Lane<T> x) {
  const Lane<T> top = x.value < 0 ? Lane<T>{T(0)} : x;
  return top + log1p(exp(-abs(x)));
}

// The same of plain numbers.
template <class T>
DC_DEVICE T exp_of(T x) {
  return exp(Lane<T>{x}).value;
}
template <class T>
DC_DEVICE T log_of(T x) {
  return log(Lane<T>{x}).value;
}
template <class T>
DC_DEVICE T sqrt_of(T x) {
  return sqrt(Lane<T>{x}).value;
}
template <class T>
DC_DEVICE T fma_of(T a, T b, T c) {
  return fma(Lane<T>{a}, Lane<T>{b}, Lane<T>{c}).value;
}

}  // namespace dc::cuda
