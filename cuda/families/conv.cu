// Convolution, NHWC: kernels/conv.h has the formula. Products of matrices that are never stored (conv_windows.cuh):
//   forward       y[pixel, k]   = sum over terms (r, s, c) of windows of x, and w as it lies
//   grad_input    gx[pixel, c]  = sum over terms (r, s, k) of windows of gy, and w turned to (c, r, s, k). With a
//                 stride, pixels whose places leave the same rest see the same taps: one product for each rest
//   grad_weight   gw[k, term]   = sum over pixels of gy and windows of x, in parts that are added in their order
// Groups are batches. One tap, stride 1: products of plain matrices. One channel per group: conv_depthwise.cuh.
// One or three input channels, forward: conv_thin.cuh.
// The precision is `accurate` until tf32 has been measured on a GPU (precision.h).
#include <algorithm>
#include <initializer_list>
#include <numeric>

#include "core/error.h"
#include "families/conv_depthwise.cuh"
#include "families/conv_feed.cuh"
#include "families/conv_thin.cuh"
#include "families/conv_windows.cuh"
#include "families/families.h"
#include "families/gemm_mma.cuh"
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

int narrow(int64_t size) { return static_cast<int>(size); }

// Coordinates are numbers of 32 bits in the kernels.
void check_sizes(const char* op, const Conv2dShape& s) {
  constexpr int64_t kMost = int64_t{1} << 29;
  for (const int64_t size : {s.h + s.pad_top, s.w + s.pad_left, s.p * s.stride_h, s.q * s.stride_w, s.r * s.dilation_h,
                             s.s * s.dilation_w, s.c, s.k})
    DC_CHECK(size < kMost, ShapeError, op, ": a device takes sizes below ", kMost, ", got ", size);
}

template <class T>
Windows<T> windows_of_input(const Conv2dShape& s, const T* x) {
  Windows<T> v{};
  v.image = x;
  v.pixels = s.n * s.p * s.q;
  v.grid_rows = narrow(s.p), v.grid_columns = narrow(s.q);
  v.height = narrow(s.h), v.width = narrow(s.w), v.pitch = narrow(s.c);
  v.taps_w = narrow(s.s), v.channels = narrow(s.c / s.groups);
  v.stride_h = narrow(s.stride_h), v.stride_w = narrow(s.stride_w);
  v.start_h = narrow(-s.pad_top), v.start_w = narrow(-s.pad_left);
  v.tap_h = narrow(s.dilation_h), v.tap_w = narrow(s.dilation_w);
  v.batch_step = s.c / s.groups;
  return v;
}

Depthwise depthwise_shape(const Conv2dShape& s, bool backwards) {
  Depthwise d{};
  d.n = s.n, d.c = s.c, d.k = s.k;
  d.h = narrow(s.h), d.w = narrow(s.w), d.p = narrow(s.p), d.q = narrow(s.q), d.r = narrow(s.r), d.s = narrow(s.s);
  d.stride_h = narrow(s.stride_h), d.stride_w = narrow(s.stride_w);
  d.pad_h = narrow(s.pad_top), d.pad_w = narrow(s.pad_left);
  d.dilation_h = narrow(s.dilation_h), d.dilation_w = narrow(s.dilation_w);
  d.each = narrow(s.k / s.groups);
  d.step_h = narrow(s.stride_h / std::gcd(s.stride_h, s.dilation_h));
  d.step_w = narrow(s.stride_w / std::gcd(s.stride_w, s.dilation_w));
  d.activation = backwards ? Activation::none : s.activation;
  return d;
}

// Whether threads may take four channels each.
template <class T>
bool four_channels(const Conv2dShape& s, std::initializer_list<const T*> operands) {
  bool four = sizeof(T) == sizeof(float) && s.c == s.k && multiple_of_4(s.c);
  for (const T* p : operands) four = four && aligned(p);
  return four;
}

template <class T>
void depthwise_turn(const char* op, Context& context, const Conv2dShape& s, const T* w, T* turned) {
  run(op, context, turn_depthwise<T>, dim3(blocks_for(s.k * s.r * s.s, kDepthwiseThreads)), dim3(kDepthwiseThreads), 0,
      w, turned, s.k, s.r * s.s);
}

template <class T>
void depthwise_y(const char* op, Context& context, const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y) {
  const Scratch turned(op, context, static_cast<size_t>(s.k * s.r * s.s) * sizeof(T));
  depthwise_turn(op, context, s, w, turned.template as<T>());
  const Depthwise d = depthwise_shape(s, false);
  const auto with = [&](auto kernel, int wide) {
    const int64_t items = s.n * s.p * ceil_div(s.q, kPixels) * (s.k / wide);
    run(op, context, kernel, dim3(blocks_for(items, kDepthwiseThreads)), dim3(kDepthwiseThreads), 0, d, x,
        turned.template as<const T>(), bias, y);
  };
  if constexpr (sizeof(T) == sizeof(float))
    if (four_channels<T>(s, {x, bias, y})) return with(depthwise_forward<T, 4>, 4);
  with(depthwise_forward<T, 1>, 1);
}

template <class T>
void depthwise_gx(const char* op, Context& context, const Conv2dShape& s, const T* gy, const T* w, T* gx) {
  const Scratch turned(op, context, static_cast<size_t>(s.k * s.r * s.s + 1) * sizeof(T));
  if (s.k > 0) depthwise_turn(op, context, s, w, turned.template as<T>());
  const Depthwise d = depthwise_shape(s, true);
  const auto with = [&](auto kernel, int wide) {
    const int64_t items = s.n * s.h * s.stride_w * ceil_div(ceil_div(s.w, s.stride_w), kPixels) * (s.c / wide);
    run(op, context, kernel, dim3(blocks_for(items, kDepthwiseThreads)), dim3(kDepthwiseThreads), 0, d, gy,
        turned.template as<const T>(), gx);
  };
  if constexpr (sizeof(T) == sizeof(float))
    if (four_channels<T>(s, {gy, gx})) return with(depthwise_grad_input<T, 4>, 4);
  with(depthwise_grad_input<T, 1>, 1);
}

template <class T>
void depthwise_gw(const char* op, Context& context, const Conv2dShape& s, const T* x, const T* gy,
                  const Output<T>& out) {
  const int64_t taps = s.r * s.s, pixels = s.n * s.p * s.q;
  const auto with = [&](auto kernel, int wide) {
    int lanes = 32;
    while (lanes > 4 && lanes / 2 * wide >= s.k) lanes /= 2;
    const int64_t blocks = ceil_div(s.k, lanes * wide) * ceil_div(taps, kTaps);
    constexpr int64_t kBlocks = 1056, kMost = 256, kLeast = 16;  // kLeast: pixels of a thread
    Product<T> sizes{s.k, taps, pixels, 1, 0, 0, nullptr, 0};
    const int64_t wanted = std::min(std::min(kBlocks / blocks, kMost), pixels * lanes / (kLeast * kDepthwiseThreads));
    sizes.depth = std::max<int64_t>(1, ceil_div(pixels, std::max<int64_t>(1, wanted)));
    sizes.splits = narrow(std::max<int64_t>(1, ceil_div(pixels, sizes.depth)));
    const Scratch parts(op, context, static_cast<size_t>(s.k * taps * sizes.splits) * sizeof(T));
    sizes.partial = parts.template as<T>();
    run(op, context, kernel, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(sizes.splits)),
        dim3(kDepthwiseThreads), 0, depthwise_shape(s, true), x, gy, sizes, lanes);
    run_sum(op, context, sizes, out);
  };
  if constexpr (sizeof(T) == sizeof(float))
    if (four_channels<T>(s, {x, gy})) return with(depthwise_grad_weight<T, 4>, 4);
  with(depthwise_grad_weight<T, 1>, 1);
}

// out[pixel, j] = sum over terms of windows and b[j, term]; and out[j, term] = sum over pixels of a and windows.
template <class T>
void sum_terms(const char* op, Context& context, const Windows<T>& windows, const MatrixOperand<T>& b,
               const Output<T>& out, int64_t terms, int64_t groups) {
  if constexpr (sizeof(T) == sizeof(float))
    if (mma_pays(conv_precision, windows.pixels, b.outer, terms, groups))
      return mma(op, context, conv_precision, TermTiles{windows, wide_windows(windows)}, matrix_tiles<true>(b, terms),
                 out, windows.pixels, b.outer, terms, groups);
  simt<false>(op, context, WindowsByTerm<T>{windows}, b, out, windows.pixels, b.outer, terms, groups);
}
template <class T>
void sum_pixels(const char* op, Context& context, const MatrixOperand<T>& a, const Windows<T>& windows,
                const Output<T>& out, int64_t terms, int64_t groups) {
  if constexpr (sizeof(T) == sizeof(float))
    if (mma_pays(conv_precision, a.outer, terms, windows.pixels, groups))
      return mma(op, context, conv_precision, matrix_tiles<false>(a, windows.pixels),
                 PixelTiles{windows, terms, wide_windows(windows)}, out, a.outer, terms, windows.pixels, groups);
  simt<false>(op, context, a, WindowsByPixel<T>{windows, terms}, out, a.outer, terms, windows.pixels, groups);
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
  if (depthwise(s)) return depthwise_y(op, context, s, x, w, bias, y);
  const MatrixOperand<T> b{w, kg, terms, 1, kg * terms};
  const Output<T> out{y, s.k, 1, kg, bias, kg, s.activation, false, 0, 0, 0, 0, false};
  if constexpr (sizeof(T) == sizeof(float))
    if (thin_pays(pixels, s.k, terms, s.c, s.groups))
      return thin(op, context, windows_of_input(s, x), w, out, narrow(terms), narrow(s.k));
  sum_terms(op, context, windows_of_input(s, x), b, out, terms, s.groups);
}

// The taps that reach pixels i stride + rest along one axis: first, first + step, ... They read gy at
// i + start - t dilation, t = 0, 1, ...
struct Taps {
  int64_t first = 0, step = 1, count = 0, start = 0, dilation = 1, positions;
  Taps(int64_t rest, int64_t size, int64_t taps, int64_t stride, int64_t pad, int64_t dilate)
      : positions((size - rest - 1) / stride + 1) {
    while (step * dilate % stride != 0) ++step;
    while (first < step && (rest + pad - first * dilate) % stride != 0) ++first;
    if (first >= step || first >= taps) return;
    count = (taps - first - 1) / step + 1;
    dilation = step * dilate / stride;
    start = (rest + pad - first * dilate) / stride;
  }
};

template <class T>
Windows<T> windows_of_gradient(const Conv2dShape& s, const T* gy, const Taps& rows, const Taps& columns) {
  Windows<T> v{};
  v.image = gy;
  v.pixels = s.n * rows.positions * columns.positions;
  v.grid_rows = narrow(rows.positions), v.grid_columns = narrow(columns.positions);
  v.height = narrow(s.p), v.width = narrow(s.q), v.pitch = narrow(s.k);
  v.taps_w = narrow(columns.count), v.channels = narrow(s.k / s.groups);
  v.stride_h = v.stride_w = 1;
  v.start_h = narrow(rows.start), v.start_w = narrow(columns.start);
  v.tap_h = narrow(-rows.dilation), v.tap_w = narrow(-columns.dilation);
  v.batch_step = s.k / s.groups;
  return v;
}

// Taps of one axis in the order of the rests that they belong to.
struct TapOrder {
  long long taps, step;
  DC_HOST_DEVICE long long before(long long first) const {
    return first * (taps / step) + (first < taps % step ? first : taps % step);
  }
  DC_HOST_DEVICE long long count(long long first) const { return before(first + 1) - before(first); }
};

constexpr int kTurnTile = 32, kTurnRows = 8;

// The filters of each rest as turned[group][c][r][s][k], behind each other. Blocks step over tiles of k x c of a tap.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kTurnTile* kTurnRows, 4)
    turn_filters(const T* DC_RESTRICT w, T* DC_RESTRICT turned, Conv2dShape s, TapOrder rows, TapOrder columns,
                 long long tiles) {
  DC_SHARED(T[kTurnTile][kTurnTile + 1], tile);
  const long long kg = s.k / s.groups, cg = s.c / s.groups;
  const long long k_tiles = (kg + kTurnTile - 1) / kTurnTile, c_tiles = (cg + kTurnTile - 1) / kTurnTile;
  const int tx = static_cast<int>(thread_index().x), ty = static_cast<int>(thread_index().y);
  for (long long t = block_index().x; t < tiles; t += grid_size().x) {
    long long rest, k0, c0, group, tap, r, q;
    divide(t, c_tiles, &rest, &c0);
    divide(rest, k_tiles, &rest, &k0);
    divide(rest, s.r * s.s, &group, &tap);
    divide(tap, s.s, &r, &q);
    k0 *= kTurnTile, c0 *= kTurnTile;
    for (int i = ty; i < kTurnTile; i += kTurnRows)
      if (k0 + i < kg && c0 + tx < cg) tile[i][tx] = w[((group * kg + k0 + i) * s.r * s.s + tap) * cg + c0 + tx];
    sync_block();
    const long long v = r % rows.step, u = q % columns.step, across = columns.count(u), down = rows.count(v);
    T* to = turned + s.c * kg * (rows.before(v) * s.s + down * columns.before(u));
    for (int i = ty; i < kTurnTile; i += kTurnRows)
      if (c0 + i < cg && k0 + tx < kg)
        to[(((group * cg + c0 + i) * down + r / rows.step) * across + q / columns.step) * kg + k0 + tx] = tile[tx][i];
    sync_block();
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
  if (depthwise(s)) return depthwise_gx(op, context, s, gy, w, gx);
  const Scratch turned(op, context, static_cast<size_t>(s.k * s.r * s.s * cg + 1) * sizeof(T));
  const TapOrder rows{s.r, Taps(0, s.h, s.r, s.stride_h, s.pad_top, s.dilation_h).step};
  const TapOrder columns{s.s, Taps(0, s.w, s.s, s.stride_w, s.pad_left, s.dilation_w).step};
  const int64_t tiles = ceil_div(kg, kTurnTile) * ceil_div(cg, kTurnTile) * s.groups * s.r * s.s;
  if (tiles > 0)
    run(op, context, turn_filters<T>, dim3(blocks_for(tiles, 1)), dim3(kTurnTile, kTurnRows), 0, w,
        turned.template as<T>(), s, rows, columns, tiles);
  for (int64_t y = 0; y < s.stride_h && y < s.h; ++y)
    for (int64_t x = 0; x < s.stride_w && x < s.w; ++x) {
      const Taps v(y, s.h, s.r, s.stride_h, s.pad_top, s.dilation_h);
      const Taps u(x, s.w, s.s, s.stride_w, s.pad_left, s.dilation_w);
      const int64_t terms = v.count * u.count * kg;
      const Windows<T> a = windows_of_gradient(s, gy, v, u);
      const T* filters = turned.template as<T>();
      if (terms > 0) filters += s.c * kg * (rows.before(v.first) * s.s + v.count * columns.before(u.first));
      const MatrixOperand<T> b{filters, cg, terms, 1, cg * terms};
      Output<T> out{gx + (y * s.w + x) * s.c, s.c, 1, cg, nullptr, 0, Activation::none, false, 0, 0, 0, 0, false};
      if (s.stride_h > 1 || s.stride_w > 1) {
        out.rows = v.positions, out.columns = u.positions;
        out.image_step = s.h * s.w * s.c, out.y_step = s.stride_h * s.w * s.c, out.row_step = s.stride_w * s.c;
      }
      sum_terms(op, context, a, b, out, terms, s.groups);
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
  if (depthwise(s)) return depthwise_gw(op, context, s, x, gy, out);
  const MatrixOperand<T> a{gy, kg, 1, s.k, kg};
  sum_pixels(op, context, a, windows_of_input(s, x), out, terms, s.groups);
}

}  // namespace

const ConvKernels<float> conv_f32 = {forward<float>, grad_input<float>, grad_weight<float>};
const ConvKernels<double> conv_f64 = {forward<double>, grad_input<double>, grad_weight<double>};

}  // namespace dc::cuda
