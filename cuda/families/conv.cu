// Convolution, NHWC: kernels/conv.h has the formula. Products of matrices that are never stored (conv_windows.cuh):
//   forward       y[pixel, k]   = sum over terms (r, s, c) of windows of x, and w as it lies
//   grad_input    gx[pixel, c]  = sum over terms (r, s, k) of windows of gy, and w turned to (c, r, s, k). With a
//   stride,
//                 pixels whose rows and columns leave the same rest see the same taps: one product for each rest
//   grad_weight   gw[k, term]   = sum over pixels of gy and windows of x, in parts that are added in their order
// Groups are batches. One tap, stride 1: products of plain matrices. One channel per group: conv_depthwise.cuh.
// The precision is `accurate` until tf32 has been measured on a GPU (precision.h).
#include <vector>

#include "core/error.h"
#include "families/conv_depthwise.cuh"
#include "families/conv_windows.cuh"
#include "families/families.h"
#include "families/gemm_simt.cuh"
#include "families/matmul.h"
#include "kernels/conv.h"

namespace dc::cuda {

namespace {

bool pointwise(const Conv2dShape& s) {
  return s.r == 1 && s.s == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
         s.groups == 1 && s.p == s.h && s.q == s.w;
}
bool depthwise(const Conv2dShape& s) { return s.c == s.groups && s.groups > 1; }

// Coordinates are numbers of 32 bits in the kernels.
void check_sizes(const char* op, const Conv2dShape& s) {
  constexpr int64_t kMost = int64_t{1} << 29;
  for (const int64_t size : {s.h + s.pad_top, s.w + s.pad_left, s.p * s.stride_h, s.q * s.stride_w, s.r * s.dilation_h,
                             s.s * s.dilation_w, s.c, s.k})
    DC_CHECK(size < kMost, ShapeError, op, ": a device takes sizes below ", kMost, ", got ", size);
}

template <class T>
Windows<T> windows_of_input(const Conv2dShape& s, const T* x) {
  const auto narrow = [](int64_t v) { return static_cast<int>(v); };
  return {x,
          s.n * s.p * s.q,
          narrow(s.p),
          narrow(s.q),
          narrow(s.h),
          narrow(s.w),
          narrow(s.c),
          narrow(s.s),
          narrow(s.c / s.groups),
          narrow(s.stride_h),
          narrow(s.stride_w),
          narrow(-s.pad_top),
          narrow(-s.pad_left),
          narrow(s.dilation_h),
          narrow(s.dilation_w),
          s.c / s.groups};
}

template <class T>
void forward(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y, Context& context) {
  constexpr const char* op = "conv2d";
  const int64_t pixels = s.n * s.p * s.q, kg = s.k / s.groups, terms = s.r * s.s * (s.c / s.groups);
  if (pointwise(s)) {
    MatmulShape g{};
    g.m = pixels, g.n = s.k, g.k = s.c;
    g.a_row = s.c, g.a_col = 1, g.b_row = 1, g.b_col = s.c, g.c_row = s.k;
    g.activation = s.activation;
    return product(op, conv_precision, g, x, w, bias, y, context);
  }
  check_sizes(op, s);
  if (depthwise(s))
    return run(op, context, depthwise_forward<T>, dim3(blocks_for(pixels * s.k, kDepthwiseThreads)),
               dim3(kDepthwiseThreads), 0, s, x, w, bias, y);
  const WindowsByTerm<T> a{windows_of_input(s, x)};
  const MatrixOperand<T> b{w, kg, terms, 1, kg * terms};
  const Output<T> out{y, s.k, 1, kg, bias, kg, s.activation, false, 0, 0, 0, 0, false};
  simt<false>(op, context, a, b, out, pixels, kg, terms, s.groups);
}

// The taps that reach pixels i stride + rest along one axis: first, first + step, ... They read gy at
// i + start - t dilation, t = 0, 1, ...
struct Taps {
  int64_t first = 0, step = 1, count = 0, start = 0, dilation = 1, positions;
  Taps(int64_t rest, int64_t size, int64_t taps, int64_t stride, int64_t pad, int64_t dilate)
      : positions(rest < size ? (size - rest - 1) / stride + 1 : 0) {
    while (first < taps && (rest + pad - first * dilate) % stride != 0) ++first;
    if (first >= taps) return;
    while (step * dilate % stride != 0) ++step;
    count = (taps - first - 1) / step + 1;
    dilation = step * dilate / stride;
    start = (rest + pad - first * dilate) / stride;
  }
};

constexpr int kTurnThreads = 256;

// turned[group][c][r][s][k] from the taps of one rest of w[group][k][r][s][c]. Filters are small beside images.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kTurnThreads, 4)
    turn_filters(const T* DC_RESTRICT w, T* DC_RESTRICT turned, Conv2dShape s, Taps v, Taps u) {
  const long long kg = s.k / s.groups, cg = s.c / s.groups, size = s.c * v.count * u.count * kg;
  for (long long e = first_index(kTurnThreads); e < size; e += grid_step(kTurnThreads)) {
    long long rest, k, j, i, c, group, channel;
    divide(e, kg, &rest, &k);
    divide(rest, u.count, &rest, &j);
    divide(rest, v.count, &channel, &i);
    divide(channel, cg, &group, &c);
    turned[e] = w[(((group * kg + k) * s.r + v.first + i * v.step) * s.s + u.first + j * u.step) * cg + c];
  }
}

template <class T>
void grad_input(const Conv2dShape& s, const T* gy, const T* w, T* gx, Context& context) {
  constexpr const char* op = "conv2d_grad_input";
  const int64_t kg = s.k / s.groups, cg = s.c / s.groups;
  if (pointwise(s)) {
    MatmulShape g{};
    g.m = s.n * s.p * s.q, g.n = s.c, g.k = s.k;
    g.a_row = s.k, g.a_col = 1, g.b_row = s.c, g.b_col = 1, g.c_row = s.c;
    return product(op, conv_precision, g, gy, w, static_cast<const T*>(nullptr), gx, context);
  }
  check_sizes(op, s);
  if (depthwise(s))
    return run(op, context, depthwise_grad_input<T>, dim3(blocks_for(s.n * s.h * s.w * s.c, kDepthwiseThreads)),
               dim3(kDepthwiseThreads), 0, s, gy, w, gx);
  const auto narrow = [](int64_t size) { return static_cast<int>(size); };
  const Scratch turned(op, context, static_cast<size_t>(s.k * s.r * s.s * cg + 1) * sizeof(T));
  for (int64_t y = 0; y < s.stride_h && y < s.h; ++y)
    for (int64_t x = 0; x < s.stride_w && x < s.w; ++x) {
      const Taps v(y, s.h, s.r, s.stride_h, s.pad_top, s.dilation_h);
      const Taps u(x, s.w, s.s, s.stride_w, s.pad_left, s.dilation_w);
      const int64_t terms = v.count * u.count * kg, pixels = s.n * v.positions * u.positions;
      if (terms > 0)
        run(op, context, turn_filters<T>, dim3(blocks_for(s.c * terms, kTurnThreads)), dim3(kTurnThreads), 0, w,
            turned.template as<T>(), s, v, u);
      const WindowsByTerm<T> a{{gy, pixels, narrow(v.positions), narrow(u.positions), narrow(s.p), narrow(s.q),
                                narrow(s.k), narrow(u.count), narrow(kg), 1, 1, narrow(v.start), narrow(u.start),
                                narrow(-v.dilation), narrow(-u.dilation), kg}};
      const MatrixOperand<T> b{turned.template as<T>(), cg, terms, 1, cg * terms};
      Output<T> out{gx + (y * s.w + x) * s.c, s.c, 1, cg, nullptr, 0, Activation::none, false, 0, 0, 0, 0, false};
      if (s.stride_h > 1 || s.stride_w > 1) {
        out.rows = v.positions, out.columns = u.positions;
        out.image_step = s.h * s.w * s.c, out.y_step = s.stride_h * s.w * s.c, out.row_step = s.stride_w * s.c;
      }
      simt<false>(op, context, a, b, out, pixels, cg, terms, s.groups);
    }
}

template <class T>
void grad_weight(const Conv2dShape& s, const T* x, const T* gy, T* gw, Context& context) {
  constexpr const char* op = "conv2d_grad_weight";
  const int64_t pixels = s.n * s.p * s.q, kg = s.k / s.groups, terms = s.r * s.s * (s.c / s.groups);
  if (pointwise(s)) {
    MatmulShape g{};
    g.m = s.k, g.n = s.c, g.k = pixels;
    g.a_row = 1, g.a_col = s.k, g.b_row = s.c, g.b_col = 1, g.c_row = s.c;
    return product(op, conv_precision, g, gy, x, static_cast<const T*>(nullptr), gw, context);
  }
  check_sizes(op, s);
  const Output<T> out{gw, terms, 1, kg * terms, nullptr, 0, Activation::none, false, 0, 0, 0, 0, false};
  if (depthwise(s)) {
    const int64_t taps = s.r * s.s, blocks = ceil_div(s.k, 32) * ceil_div(taps, kTaps);
    Product<T> sizes{s.k, taps, pixels, 1, 0, 0, nullptr, 0};
    sizes.splits = parts_of(blocks / 4 + 1, pixels, 64);
    sizes.depth = ceil_div(pixels, sizes.splits);
    const Scratch parts(op, context, static_cast<size_t>(s.k * taps * sizes.splits) * sizeof(T));
    sizes.partial = parts.template as<T>();
    run(op, context, depthwise_grad_weight<T>,
        dim3(static_cast<unsigned>(ceil_div(s.k, 32)), static_cast<unsigned>(ceil_div(taps, kTaps)),
             static_cast<unsigned>(sizes.splits)),
        dim3(32, kSideRows), 0, s, x, gy, sizes);
    return run(op, context, sum_parts<T>, dim3(blocks_for(s.k * taps, kSumThreads)), dim3(kSumThreads), 0, sizes, out);
  }
  const MatrixOperand<T> a{gy, kg, 1, s.k, kg};
  const WindowsByPixel<T> b{windows_of_input(s, x), terms};
  simt<false>(op, context, a, b, out, kg, terms, pixels, s.groups);
}

}  // namespace

const ConvKernels<float> conv_f32 = {forward<float>, grad_input<float>, grad_weight<float>};
const ConvKernels<double> conv_f64 = {forward<double>, grad_input<double>, grad_weight<double>};

}  // namespace dc::cuda
