// Normalisation family: y = (x - mean) * rstd * gamma + beta with rstd = 1 / sqrt(variance + epsilon).
// "Slab" kernels (batch, group, instance norm) see x as (slabs, rows, c) with channels last; statistics are taken
// over the rows and the c / groups channels of a group, per slab:
//   batch norm     slabs = 1, rows = n * h * w, groups = c
//   group norm     slabs = n, rows = h * w,     groups as given
//   instance norm  slabs = n, rows = h * w,     groups = c
// "Row" kernels (layer norm) see x as (rows, c) with statistics over c.
// gamma and beta hold c values each, or are null (1 and 0). relu: y = max(0, that), in the same pass; the gradient
// finds the mask again from x.
#pragma once
#include "kernel.h"

namespace dc {

struct SlabNormShape {
  int64_t slabs, rows, c, groups;
  bool relu = false;
};

template <class T>
struct NormKernels {
  // mean, rstd: (slabs, groups), written. variance (biased): (slabs, groups), may be null.
  Kernel<void(const SlabNormShape&, T epsilon, const T* x, const T* gamma, const T* beta, T* y, T* mean, T* rstd,
              T* variance, Context&)>
      slab;
  // The same map with given mean and rstd (inference); both may be null (0 and 1).
  Kernel<void(const SlabNormShape&, const T* x, const T* mean, const T* rstd, const T* gamma, const T* beta, T* y,
              Context&)>
      slab_apply;
  // gx (may be null) and ggamma, gbeta (c each, may both be null) from the saved mean and rstd; beta serves relu only.
  Kernel<void(const SlabNormShape&, const T* x, const T* g, const T* mean, const T* rstd, const T* gamma, const T* beta,
              T* gx, T* ggamma, T* gbeta, Context&)>
      slab_grad;
  // running = running + momentum * (batch - running); the variance is made unbiased with rows / (rows - 1).
  Kernel<void(int64_t c, int64_t rows, T momentum, const T* mean, const T* variance, T* running_mean,
              T* running_variance, Context&)>
      update_running;
  // mean, rstd: (rows).
  Kernel<void(int64_t rows, int64_t c, T epsilon, const T* x, const T* gamma, const T* beta, T* y, T* mean, T* rstd,
              Context&)>
      row;
  Kernel<void(int64_t rows, int64_t c, const T* x, const T* g, const T* mean, const T* rstd, const T* gamma, T* gx,
              T* ggamma, T* gbeta, Context&)>
      row_grad;
};

}  // namespace dc
