// Pooling family, NHWC. Tap (i, j) of window (p, q) lies at row p * stride_h - pad_top + i * dilation_h (columns
// likewise); taps outside the image do not exist. Adaptive windows cover rows [p * h / P, ceil((p + 1) * h / P)).
// The index of a tap is i * s + j: it stays inside the window, so a byte holds it for windows of up to 256 taps.
#pragma once
#include "kernel.h"

namespace dc {

enum class PoolDivisor : int32_t {
  taps_inside = 0,  // taps inside the image
  taps_padded = 1,  // taps inside the image and its padding (count_include_pad)
  one = 2           // plain sums
};

struct PoolShape {
  int64_t n, h, w, c;  // image
  int64_t p, q;        // windows: (n, p, q, c)
  int64_t r, s;        // taps per window; adaptive: the largest window
  int64_t stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h, dilation_w;
  bool adaptive = false;
  PoolDivisor divisor = PoolDivisor::taps_inside;  // average only
};

template <class T>
struct PoolKernels {
  // First maximum wins, a NaN beats every number. index (n, p, q, c) may be null.
  Kernel<void(const PoolShape&, const T* x, T* y, uint8_t* index, Context&)> max;
  Kernel<void(const PoolShape&, const T* x, T* y, int32_t* index, Context&)> max_wide;  // more than 256 taps
  // gx[n, h, w, c] = sum of g over the windows whose index points at (h, w): gradient of max, and unpooling.
  Kernel<void(const PoolShape&, const T* g, const uint8_t* index, T* gx, Context&)> scatter;
  Kernel<void(const PoolShape&, const T* g, const int32_t* index, T* gx, Context&)> scatter_wide;
  // y[n, p, q, c] = x at the index (0 where it points outside): gradient of scatter.
  Kernel<void(const PoolShape&, const T* x, const uint8_t* index, T* y, Context&)> gather;
  Kernel<void(const PoolShape&, const T* x, const int32_t* index, T* y, Context&)> gather_wide;
  Kernel<void(const PoolShape&, const T* x, T* y, Context&)> average;
  Kernel<void(const PoolShape&, const T* g, T* gx, Context&)> average_grad;
};

}  // namespace dc
