// Convolution with one input channel per group: nothing to multiply as a matrix, every output sums r s products.
// Filters are turned to [tap][k] first, so that threads along channels, four each where there are as many outputs as
// inputs, read neighbours everywhere. A thread computes kPixels outputs of a row that share their taps; images come
// from the caches r s times.
// The gradient of the filters: a block owns `lanes` groups of channels and a part of the pixels, each thread kTaps sums
// in registers; its rows are added in shared memory, the parts by sum_parts. Bound: memory.
#pragma once
#include "families/gemm.cuh"
#include "families/walk.cuh"
#include "kernels/conv.h"

namespace dc::cuda {

constexpr int kDepthwiseThreads = 128, kPixels = 4, kTaps = 9;

struct Depthwise {
  long long n, c, k;
  int h, w, p, q, r, s, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int each;            // outputs of a channel
  int step_h, step_w;  // taps between two that reach the same pixel of x
  Activation activation;
};

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kDepthwiseThreads, 4)
    turn_depthwise(const T* DC_RESTRICT w, T* DC_RESTRICT turned, long long k, long long taps) {
  for (long long e = first_index(kDepthwiseThreads); e < k * taps; e += grid_step(kDepthwiseThreads)) {
    long long tap, channel;
    divide(e, k, &tap, &channel);
    turned[e] = w[channel * taps + tap];
  }
}

template <int kWide, class T>
DC_DEVICE void load_wide(const T* p, T (&v)[kWide]) {
  if constexpr (kWide == 4)
    load4(p, v);
  else
    v[0] = *p;
}
template <int kWide, class T>
DC_DEVICE void store_wide(T* p, const T (&v)[kWide]) {
  if constexpr (kWide == 4)
    store4(p, v);
  else
    *p = v[0];
}

template <class T, int kWide>
DC_KERNEL void DC_LAUNCH_BOUNDS(kDepthwiseThreads, 4)
    depthwise_forward(Depthwise d, const T* DC_RESTRICT x, const T* DC_RESTRICT turned, const T* DC_RESTRICT bias,
                      T* DC_RESTRICT y) {
  const long long groups = d.k / kWide, across = (d.q + kPixels - 1) / kPixels, size = d.n * d.p * across * groups;
  for (long long e = first_index(kDepthwiseThreads); e < size; e += grid_step(kDepthwiseThreads)) {
    long long rest, group, line, column, n, row;
    divide(e, groups, &rest, &group);
    divide(rest, across, &line, &column);
    divide(line, d.p, &n, &row);
    const long long k = group * kWide, c = d.each == 1 ? k : k / d.each;
    const int q0 = static_cast<int>(column) * kPixels;
    const int top = static_cast<int>(row) * d.stride_h - d.pad_h, left = q0 * d.stride_w - d.pad_w;
    T sums[kPixels][kWide] = {};
    for (int r = 0; r < d.r; ++r) {
      const int h = top + r * d.dilation_h;
      if (h < 0 || h >= d.h) continue;
      const T* line_of_x = x + (n * d.h + h) * d.w * d.c + c;
      const T* filter = turned + static_cast<long long>(r) * d.s * d.k + k;
      for (int s = 0; s < d.s; ++s, filter += d.k) {
        T f[kWide];
        load_wide<kWide>(filter, f);
        DC_UNROLL
        for (int u = 0; u < kPixels; ++u) {
          const int v = left + u * d.stride_w + s * d.dilation_w;
          if (v >= 0 && v < d.w && q0 + u < d.q) {
            T a[kWide];
            load_wide<kWide>(line_of_x + v * d.c, a);
            DC_UNROLL
            for (int i = 0; i < kWide; ++i) sums[u][i] += a[i] * f[i];
          }
        }
      }
    }
    T b[kWide] = {};
    if (bias) load_wide<kWide>(bias + k, b);
    for (int u = 0; u < kPixels; ++u) {
      if (q0 + u >= d.q) break;
      T v[kWide];
      DC_UNROLL
      for (int i = 0; i < kWide; ++i) v[i] = activate(sums[u][i] + b[i], d.activation);
      store_wide<kWide>(y + (line * d.q + q0 + u) * d.k + k, v);
    }
  }
}

// The first tap t of an axis with (at - t dilation) divisible by the stride, `taps` where there is none.
DC_DEVICE int first_tap(int at, int step, int stride, int dilation, int taps) {
  int t = 0;
  while (t < step && (at - t * dilation) % stride != 0) ++t;
  return t < step ? t : taps;
}

template <class T, int kWide>
DC_KERNEL void DC_LAUNCH_BOUNDS(kDepthwiseThreads, 4)
    depthwise_grad_input(Depthwise d, const T* DC_RESTRICT gy, const T* DC_RESTRICT turned, T* DC_RESTRICT gx) {
  const long long groups = d.c / kWide;
  const long long spots = (d.w + d.stride_w - 1) / d.stride_w, across = (spots + kPixels - 1) / kPixels;
  const long long size = d.n * d.h * d.stride_w * across * groups;
  for (long long e = first_index(kDepthwiseThreads); e < size; e += grid_step(kDepthwiseThreads)) {
    long long rest, group, line, column, spot, phase, n, row;
    divide(e, groups, &rest, &group);
    divide(rest, d.stride_w * across, &line, &column);
    divide(column, across, &phase, &spot);
    divide(line, d.h, &n, &row);
    // Pixels v0 + u stride, which all take their taps from q0 + u on.
    const int i0 = static_cast<int>(spot) * kPixels, v0 = static_cast<int>(phase) + i0 * d.stride_w;
    const int at_h = static_cast<int>(row) + d.pad_h, at_w = static_cast<int>(phase) + d.pad_w;
    const long long c = group * kWide;
    T sums[kPixels][kWide] = {};
    const int s0 = first_tap(at_w, d.step_w, d.stride_w, d.dilation_w, d.s);
    for (int r = first_tap(at_h, d.step_h, d.stride_h, d.dilation_h, d.r); r < d.r; r += d.step_h) {
      const int top = at_h - r * d.dilation_h, p = top / d.stride_h;
      if (top < 0 || p >= d.p) continue;
      const T* line_of_g = gy + (n * d.p + p) * d.q * d.k + c * d.each;
      int q0 = (at_w - s0 * d.dilation_w) / d.stride_w + i0;
      for (int s = s0; s < d.s; s += d.step_w, q0 -= d.step_w * d.dilation_w / d.stride_w) {
        const T* filter = turned + (static_cast<long long>(r) * d.s + s) * d.k + c * d.each;
        for (int j = 0; j < d.each; ++j) {
          T f[kWide];
          load_wide<kWide>(filter + j, f);
          DC_UNROLL
          for (int u = 0; u < kPixels; ++u) {
            const int q = q0 + u;
            if (q >= 0 && q < d.q) {
              T a[kWide];
              load_wide<kWide>(line_of_g + q * d.k + j, a);
              DC_UNROLL
              for (int i = 0; i < kWide; ++i) sums[u][i] += a[i] * f[i];
            }
          }
        }
      }
    }
    DC_UNROLL
    for (int u = 0; u < kPixels; ++u) {
      const int v = v0 + u * d.stride_w;
      if (v < d.w) store_wide<kWide>(gx + (line * d.w + v) * d.c + c, sums[u]);
    }
  }
}

// Grid: (blocks of channels and of taps, parts). k: pixels of gy.
template <class T, int kWide>
DC_KERNEL void DC_LAUNCH_BOUNDS(kDepthwiseThreads, 3)
    depthwise_grad_weight(Depthwise d, const T* DC_RESTRICT x, const T* DC_RESTRICT gy, Product<T> product, int lanes) {
  DC_SHARED(T[kTaps * kDepthwiseThreads * kWide], side);
  const int tid = static_cast<int>(thread_index().x), lane = tid % lanes, row = tid / lanes;
  const int rows = kDepthwiseThreads / lanes, channels = lanes * kWide, taps = d.r * d.s;
  const int tap_blocks = (taps + kTaps - 1) / kTaps;
  const long long k0 = static_cast<long long>(block_index().x / tap_blocks) * channels, k = k0 + lane * kWide;
  const int tap0 = static_cast<int>(block_index().x % tap_blocks) * kTaps;
  const long long part = block_index().y, begin = part * product.depth;
  const long long end = begin + product.depth < product.k ? begin + product.depth : product.k;
  T sums[kTaps][kWide] = {};
  if (k < d.k) {
    const long long c = d.each == 1 ? k : k / d.each;
    long long line, column, n, height;
    divide(begin + row, d.q, &line, &column);
    divide(line, d.p, &n, &height);
    int q = static_cast<int>(column), p = static_cast<int>(height);
    for (long long i = begin + row; i < end; i += rows) {
      T g[kWide];
      load_wide<kWide>(gy + i * d.k + k, g);
      const int top = p * d.stride_h - d.pad_h, left = q * d.stride_w - d.pad_w;
      const T* image = x + n * d.h * d.w * d.c + c;
      DC_UNROLL
      for (int t = 0; t < kTaps; ++t) {
        const int r = (tap0 + t) / d.s, s = tap0 + t - r * d.s;
        const int h = top + r * d.dilation_h, v = left + s * d.dilation_w;
        if (r < d.r && h >= 0 && h < d.h && v >= 0 && v < d.w) {
          T a[kWide];
          load_wide<kWide>(image + (static_cast<long long>(h) * d.w + v) * d.c, a);
          DC_UNROLL
          for (int w = 0; w < kWide; ++w) sums[t][w] += g[w] * a[w];
        }
      }
      for (q += rows; q >= d.q; q -= d.q)
        if (++p == d.p) p = 0, ++n;
    }
  }
  DC_UNROLL
  for (int t = 0; t < kTaps; ++t) store_wide<kWide>(side + (row * kTaps + t) * channels + lane * kWide, sums[t]);
  sync_block();
  const int mine = taps - tap0 < kTaps ? taps - tap0 : kTaps;
  for (int e = tid; e < channels * mine; e += kDepthwiseThreads) {
    const int channel = e / mine, t = e - channel * mine;
    T sum = side[t * channels + channel];
    for (int other = 1; other < rows; ++other) sum += side[(other * kTaps + t) * channels + channel];
    if (k0 + channel < d.k) product.partial[(part * d.k + k0 + channel) * taps + tap0 + t] = sum;
  }
}

}  // namespace dc::cuda
