// Convolution, NHWC: kernels/conv.h has the formula. Chooses among
//   1x1, stride 1, no padding: a GEMM over all pixels (matmul.cpp);
//   one input channel per group: lanes over channels (conv_depthwise.h);
//   gradient of an input with few channels: lanes over pixels (conv_thin.h);
//   3x3 and 5x5, stride 1, with channels enough: Winograd (conv_winograd.h);
//   everything else: register tiles over windows (conv_direct.h, conv_weight.h).
#include "kernels/conv.h"

#include "cpu/conv_depthwise.h"
#include "cpu/conv_direct.h"
#include "cpu/conv_thin.h"
#include "cpu/conv_weight.h"
#include "cpu/conv_winograd.h"

namespace dc::DC_ISA {

extern const MatmulKernels<float> matmul_f32;
#ifdef DC_ISA_SCALAR
extern const MatmulKernels<double> matmul_f64;
#endif

namespace {

const MatmulKernels<float>& matmul_of(const float*) { return matmul_f32; }
#ifdef DC_ISA_SCALAR
const MatmulKernels<double>& matmul_of(const double*) { return matmul_f64; }
#endif

bool pointwise(const Conv2dShape& s) {
  return s.r == 1 && s.s == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
         s.groups == 1 && s.p == s.h && s.q == s.w;
}

// packed: the direct panels, with room for the transformed ones behind them.
template <class T>
void winograd(const DirectShape& d, const T* x, T* packed, const T* bias, T* y, Context& context) {
  T* u = packed + d.packed_size();
  const auto run = [&]<int R>() {
    WinogradConv<T, R>::transform_filters(d, packed, u, context);
    WinogradConv<T, R>(d, x, bias, y).compute(u, context);
  };
  if (d.r == 3)
    run.template operator()<3>();
  else
    run.template operator()<5>();
}

template <class T>
void forward(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y, Context& context) {
  if (pointwise(s)) {
    MatmulShape g{};
    g.m = s.n * s.p * s.q, g.n = s.k, g.k = s.c;
    g.a_row = s.c, g.a_col = 1, g.b_row = 1, g.b_col = s.c, g.c_row = s.k;
    g.activation = s.activation;
    return matmul_of(x).gemm(g, x, w, nullptr, bias, y, context);
  }
  if (is_depthwise(s)) return depthwise_forward(s, x, w, bias, y, context);
  const DirectShape d = forward_shape(s);
  if (!winograd_pays(d)) return direct_forward(s, x, w, bias, y, context);
  T* packed = static_cast<T*>(thread_scratch(0, (d.packed_size() + winograd_filter_size(d)) * sizeof(T)));
  pack_filters(d, w, packed, context);
  winograd(d, x, packed, bias, y, context);
}

template <class T>
void grad_input(const Conv2dShape& s, const T* gy, const T* w, T* gx, Context& context) {
  if (pointwise(s)) {
    MatmulShape g{};
    g.m = s.n * s.p * s.q, g.n = s.c, g.k = s.k;
    g.a_row = s.k, g.a_col = 1, g.b_row = s.c, g.b_col = 1, g.c_row = s.c;
    return matmul_of(gy).gemm(g, gy, w, nullptr, nullptr, gx, context);
  }
  if (is_depthwise(s)) return depthwise_grad_input(s, gy, w, gx, context);
  if (thin_pays(s)) return ThinInputGradient<T>(s, gy, w, gx).compute(context);
  const PhaseTaps v(0, s.h, s.r, 1, s.pad_top, s.dilation_h), u(0, s.w, s.s, 1, s.pad_left, s.dilation_w);
  const DirectShape d = phase_shape(s, v, u);
  if (s.stride_h != 1 || s.stride_w != 1 || !winograd_pays(d)) return direct_grad_input(s, gy, w, gx, context);
  T* packed = static_cast<T*>(thread_scratch(0, (d.packed_size() + winograd_filter_size(d)) * sizeof(T)));
  pack_phase(s, d, v, u, w, packed, context);
  winograd(d, gy, packed, static_cast<const T*>(nullptr), gx, context);
}

template <class T>
void grad_weight(const Conv2dShape& s, const T* x, const T* gy, T* gw, Context& context) {
  if (pointwise(s)) {
    MatmulShape g{};
    g.m = s.k, g.n = s.c, g.k = s.n * s.p * s.q;
    g.a_row = 1, g.a_col = s.k, g.b_row = s.c, g.b_col = 1, g.c_row = s.c;
    return matmul_of(x).gemm(g, gy, x, nullptr, nullptr, gw, context);
  }
  if (is_depthwise(s))
    depthwise_grad_weight(s, x, gy, gw, context);
  else if (winograd_pays(forward_shape(s)) && s.r == 3)
    WinogradWeightGradient<T, 3>(s, x, gy, gw).compute(context);
  else if (winograd_pays(forward_shape(s)))
    WinogradWeightGradient<T, 5>(s, x, gy, gw).compute(context);
  else
    WeightGradient<T>(s, x, gy, gw).compute(context);
}

}  // namespace

extern const ConvKernels<float> conv_f32;
const ConvKernels<float> conv_f32 = {forward<float>, grad_input<float>, grad_weight<float>};
#ifdef DC_ISA_SCALAR
extern const ConvKernels<double> conv_f64;
const ConvKernels<double> conv_f64 = {forward<double>, grad_input<double>, grad_weight<double>};
#endif

}  // namespace dc::DC_ISA
