// What each optimizer does with one element; formulas in kernels/optim.h, operations and roundings the CPU's.
#pragma once
#include "families/lane.cuh"
#include "kernels/optim.h"

namespace dc::cuda {

namespace {

template <class T>
struct Element {
  T p, g, s[3];
};

// What a step touches.
struct Uses {
  bool grad, param, state[3];
};

template <class T>
struct ScaleStep {
  T factor;
};
template <class T>
struct AverageStep {
  T rest;
};

template <class T>
DC_DEVICE Uses uses(const SgdStep<T>& s) {
  return {true, true, {s.momentum != T(0), false, false}};
}
template <class T>
DC_DEVICE Uses uses(const AdagradStep<T>&) {
  return {true, true, {true, false, false}};
}
template <class T>
DC_DEVICE Uses uses(const RmspropStep<T>& s) {
  return {true, true, {true, s.centred, s.momentum != T(0)}};
}
template <class T>
DC_DEVICE Uses uses(const AdadeltaStep<T>&) {
  return {true, true, {true, true, false}};
}
template <class T>
DC_DEVICE Uses uses(const AdamStep<T>& s) {
  return {true, true, {true, true, s.amsgrad}};
}
template <class T>
DC_DEVICE Uses uses(const LionStep<T>&) {
  return {true, true, {true, false, false}};
}
template <class T>
DC_DEVICE Uses uses(const ScaleStep<T>&) {
  return {false, true, {false, false, false}};
}
template <class T>
DC_DEVICE Uses uses(const AverageStep<T>&) {
  return {false, false, {true, false, false}};
}

template <class T>
DC_DEVICE T fnma_of(T a, T b, T c) {
  return fnma(Lane<T>{a}, Lane<T>{b}, Lane<T>{c}).value;
}
// decay a + (1 - decay) b
template <class T>
DC_DEVICE T blend(T decay, T a, T b) {
  return fma_of(decay, a, (T(1) - decay) * b);
}
template <class T>
DC_DEVICE void prepare(const StepCommon<T>& s, Element<T>& e) {
  e.g = fma_of(s.l2, e.p, e.g * s.grad_scale);
  e.p = e.p * s.keep;
}

template <class T>
DC_DEVICE void update(const SgdStep<T>& s, Element<T>& e) {
  prepare(s, e);
  T d = e.g;
  if (s.momentum != T(0)) {
    e.s[0] = fma_of(s.momentum, e.s[0], e.g);
    d = s.nesterov ? fma_of(s.momentum, e.s[0], e.g) : e.s[0];
  }
  e.p = fnma_of(s.rate, d, e.p);
}
template <class T>
DC_DEVICE void update(const AdagradStep<T>& s, Element<T>& e) {
  prepare(s, e);
  e.s[0] = fma_of(e.g, e.g, e.s[0]);
  e.p = e.p - s.rate * e.g / (sqrt_of(e.s[0]) + s.epsilon);
}
template <class T>
DC_DEVICE void update(const RmspropStep<T>& s, Element<T>& e) {
  prepare(s, e);
  e.s[0] = blend(s.decay, e.s[0], e.g * e.g);
  T square = e.s[0];
  if (s.centred) {
    e.s[1] = blend(s.decay, e.s[1], e.g);
    square = fnma_of(e.s[1], e.s[1], square);
    square = square > T(0) ? square : T(0);  // rounding may leave a tiny negative variance
  }
  T d = e.g / (sqrt_of(square) + s.epsilon);
  if (s.momentum != T(0)) d = e.s[2] = fma_of(s.momentum, e.s[2], d);
  e.p = fnma_of(s.rate, d, e.p);
}
template <class T>
DC_DEVICE void update(const AdadeltaStep<T>& s, Element<T>& e) {
  prepare(s, e);
  e.s[0] = blend(s.decay, e.s[0], e.g * e.g);
  const T d = e.g * (sqrt_of(e.s[1] + s.epsilon) / sqrt_of(e.s[0] + s.epsilon));
  e.s[1] = blend(s.decay, e.s[1], d * d);
  e.p = fnma_of(s.rate, d, e.p);
}
template <class T>
DC_DEVICE void update(const AdamStep<T>& s, Element<T>& e) {
  prepare(s, e);
  e.s[0] = blend(s.beta1, e.s[0], e.g);
  e.s[1] = blend(s.beta2, e.s[1], e.g * e.g);
  const T change = fma_of(s.rate, e.s[0], s.rate_g * e.g);
  T square = e.s[1];
  if (s.amsgrad) {
    e.s[2] = e.s[2] > square ? e.s[2] : square;
    square = e.s[2];
  }
  e.p = e.p - (s.adaptive ? change / fma_of(sqrt_of(square), s.root_scale, s.epsilon) : change);
}
template <class T>
DC_DEVICE void update(const LionStep<T>& s, Element<T>& e) {
  prepare(s, e);
  const T direction = blend(s.beta1, e.s[0], e.g);
  const T change = direction > T(0) ? s.rate : direction < T(0) ? -s.rate : T(0);
  e.p = e.p - (direction != direction ? direction : change);  // NaN stays visible
  e.s[0] = blend(s.beta2, e.s[0], e.g);
}
template <class T>
DC_DEVICE void update(const ScaleStep<T>& s, Element<T>& e) {
  e.p = e.p * s.factor;
}
template <class T>
DC_DEVICE void update(const AverageStep<T>& s, Element<T>& e) {
  e.s[0] = fma_of(s.rest, e.p - e.s[0], e.s[0]);
}

}  // namespace

}  // namespace dc::cuda
