// Row-wise softmax and the losses built on it; every matrix is (rows, c), contiguous.
// Cross-entropy of row i with label y, class weights w (1 where null) and label smoothing e:
//   loss_i = (1 - e) w_y (lse_i - x_iy) + e / c * sum_k w_k (lse_i - x_ik),   lse_i = log sum_k exp(x_ik)
// A row whose label equals ignore_label has loss 0 and gradient 0. Labels are int64 and were checked to be in [0, c).
// With soft targets t (rows, c): loss_i = sum_k w_k t_ik (lse_i - x_ik).
#pragma once
#include "kernel.h"

namespace dc {

// No checked label has this value: nothing is ignored.
inline constexpr int64_t kNoLabel = INT64_MIN;

template <class T>
struct CrossEntropyShape {
  int64_t rows, c;
  T smoothing = T(0);
  int64_t ignore_label = kNoLabel;
};

template <class T>
struct LossKernels {
  Kernel<void(int64_t rows, int64_t c, const T* x, T* y, Context&)> softmax;
  Kernel<void(int64_t rows, int64_t c, const T* x, T* y, Context&)> log_softmax;
  // From the output y: gx = y (g - sum g y), and gx = g - exp(y) sum g.
  Kernel<void(int64_t rows, int64_t c, const T* y, const T* g, T* gx, Context&)> softmax_grad;
  Kernel<void(int64_t rows, int64_t c, const T* y, const T* g, T* gx, Context&)> log_softmax_grad;
  // lse (rows) is kept for the gradient. weights: c values or null.
  Kernel<void(const CrossEntropyShape<T>&, const T* x, const int64_t* labels, const T* weights, T* loss, T* lse,
              Context&)>
      cross_entropy;
  // g: cotangent of each row's loss, at g[i * g_step] (g_step 0: one number for all rows), times g_scale.
  Kernel<void(const CrossEntropyShape<T>&, const T* x, const int64_t* labels, const T* weights, const T* lse,
              const T* g, int64_t g_step, T g_scale, T* gx, Context&)>
      cross_entropy_grad;
  Kernel<void(int64_t rows, int64_t c, const T* x, const T* t, const T* weights, T* loss, T* lse, Context&)>
      soft_cross_entropy;
  // gx or gt may be null.
  Kernel<void(int64_t rows, int64_t c, const T* x, const T* t, const T* weights, const T* lse, const T* g,
              int64_t g_step, T g_scale, T* gx, T* gt, Context&)>
      soft_cross_entropy_grad;
  // Elementwise -(v t log s(x) + (1 - t) log(1 - s(x))), s the logistic function, v: c values or null (1).
  Kernel<void(int64_t rows, int64_t c, const T* x, const T* t, const T* pos_weight, T* loss, Context&)> bce_logits;
  // g at [i * g_step] for element i, g_step 0 or 1; gx or gt may be null.
  Kernel<void(int64_t rows, int64_t c, const T* x, const T* t, const T* pos_weight, const T* g, int64_t g_step, T* gx,
              T* gt, Context&)>
      bce_logits_grad;
  // y[0] = scale times the sum of n numbers, in double until it is rounded once.
  Kernel<void(int64_t n, double scale, const T* x, T* y, Context&)> total;
};

}  // namespace dc
