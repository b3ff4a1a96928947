// Convolution family, NHWC: y[n,p,q,k] = sum_{r,s,c} x[n, p*stride_h - pad_top + r*dilation_h, q*..., c] w[k,r,s,c].
// Groups: output channel k of group g = k / (k_total / groups) sees input channels [g*cg, (g+1)*cg), cg = c / groups.
#pragma once
#include "kernel.h"
#include "matmul.h"

namespace dc {

struct Conv2dShape {
  int64_t n, h, w, c;  // input
  int64_t k, r, s;     // filters (k, r, s, c / groups)
  int64_t p, q;        // output (n, p, q, k)
  int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups;
  Activation activation = Activation::none;  // forward only
};

template <class T>
struct ConvKernels {
  // bias: k values or null.
  Kernel<void(const Conv2dShape&, const T* x, const T* w, const T* bias, T* y, Context&)> forward;
  Kernel<void(const Conv2dShape&, const T* gy, const T* w, T* gx, Context&)> grad_input;
  Kernel<void(const Conv2dShape&, const T* x, const T* gy, T* gw, Context&)> grad_weight;
};

}  // namespace dc
