// Optimizer steps in place over lists of tensors, one launch for all. csrc/ops turns learning rate, step count and
// bias corrections into the factors below, in double.
#pragma once
#include "kernel.h"

namespace dc {

// Tensor i has size[i] elements at param[i], grad[i], state[j][i]; the states a step uses are named there.
template <class T>
struct TensorList {
  int64_t count;
  const int64_t* size;
  T* const* param;
  const T* const* grad;
  T* const* state[3];
};

// Before every step: g = grad * grad_scale + l2 * p, then p = p * keep (decoupled decay: keep = 1 - rate * decay).
template <class T>
struct StepCommon {
  T rate, grad_scale = T(1), l2 = T(0), keep = T(1);
};

template <class T>
struct SgdStep : StepCommon<T> {  // state 0: v if momentum != 0
  T momentum = T(0);              // v = momentum v + g; p -= rate v
  bool nesterov = false;          // p -= rate (g + momentum v)
};
template <class T>
struct AdagradStep : StepCommon<T> {  // state 0: s += g^2; p -= rate g / (sqrt(s) + epsilon)
  T epsilon;
};
template <class T>
struct RmspropStep : StepCommon<T> {  // state 0: s = decay s + (1 - decay) g^2
  T decay, epsilon;
  bool centred = false;  // state 1: a = decay a + (1 - decay) g; s - a^2 in place of s
  T momentum = T(0);     // state 2: v = momentum v + g / (sqrt(s) + epsilon); p -= rate v
};
template <class T>
struct AdadeltaStep : StepCommon<T> {  // state 0: s as in RMSprop; d = g sqrt(u + epsilon) / sqrt(s + epsilon)
  T decay, epsilon;                    // state 1: u = decay u + (1 - decay) d^2; p -= rate d
};
// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p -= (rate m + rate_g g) / (sqrt(v) root_scale + epsilon)
// covers Adam, AdamW, NAdam (rate_g != 0) and RAdam (not adaptive in its first steps: no denominator).
template <class T>
struct AdamStep : StepCommon<T> {  // states 0, 1: m, v
  T beta1, beta2, epsilon, rate_g = T(0), root_scale = T(1);
  bool amsgrad = false;  // state 2: the largest v so far, used in place of v
  bool adaptive = true;
};
template <class T>
struct LionStep : StepCommon<T> {  // state 0: p -= rate sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g
  T beta1, beta2;
};

template <class T>
struct OptimKernels {
  Kernel<void(const TensorList<T>&, const SgdStep<T>&, Context&)> sgd;
  Kernel<void(const TensorList<T>&, const AdagradStep<T>&, Context&)> adagrad;
  Kernel<void(const TensorList<T>&, const RmspropStep<T>&, Context&)> rmsprop;
  Kernel<void(const TensorList<T>&, const AdadeltaStep<T>&, Context&)> adadelta;
  Kernel<void(const TensorList<T>&, const AdamStep<T>&, Context&)> adam;
  Kernel<void(const TensorList<T>&, const LionStep<T>&, Context&)> lion;
  // squares[i] = sum of grad[i]^2.
  Kernel<void(const TensorList<T>&, double* squares, Context&)> squared_norms;
  // param *= factor.
  Kernel<void(const TensorList<T>&, T factor, Context&)> scale;
  // state 0 += (1 - decay) (param - state 0): moving averages of the parameters.
  Kernel<void(const TensorList<T>&, T decay, Context&)> average;
  // finite[i] = 1 if grad[i] holds neither NaN nor infinity, else 0.
  Kernel<void(const TensorList<T>&, uint8_t* finite, Context&)> all_finite;
  // w: (outer, units, inner); scales w[:, u, :] so that its Euclidean norm is at most limit.
  Kernel<void(int64_t outer, int64_t units, int64_t inner, T limit, T* w, Context&)> max_norm;
};

}  // namespace dc
