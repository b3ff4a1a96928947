// Convolution with one input channel per group: nothing to multiply as a matrix, every output sums r s products.
// Split: threads run along channels, which are neighbours in memory; images come from the caches r s times.
// The gradient of the filters: a block owns 32 channels and a part of the pixels, each thread kTaps sums in registers;
// its rows are added in shared memory, the parts by sum_parts. Bound: memory.
#pragma once
#include "families/gemm.cuh"
#include "families/walk.cuh"
#include "kernels/conv.h"

namespace dc::cuda {

constexpr int kDepthwiseThreads = 128;

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kDepthwiseThreads, 4)
    depthwise_forward(Conv2dShape s, const T* DC_RESTRICT x, const T* DC_RESTRICT w, const T* DC_RESTRICT bias,
                      T* DC_RESTRICT y) {
  const long long each = s.k / s.groups, size = s.n * s.p * s.q * s.k;
  for (long long e = first_index(kDepthwiseThreads); e < size; e += grid_step(kDepthwiseThreads)) {
    long long pixel, k, line, q, n, p;
    divide(e, s.k, &pixel, &k);
    divide(pixel, s.q, &line, &q);
    divide(line, s.p, &n, &p);
    const long long c = each == 1 ? k : k / each;
    const T* filter = w + k * s.r * s.s;
    T sum = 0;
    for (long long r = 0; r < s.r; ++r) {
      const long long h = p * s.stride_h - s.pad_top + r * s.dilation_h;
      if (h < 0 || h >= s.h) continue;
      for (long long t = 0; t < s.s; ++t) {
        const long long v = q * s.stride_w - s.pad_left + t * s.dilation_w;
        if (v >= 0 && v < s.w) sum += x[((n * s.h + h) * s.w + v) * s.c + c] * filter[r * s.s + t];
      }
    }
    if (bias) sum += bias[k];
    y[e] = activate(sum, s.activation);
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kDepthwiseThreads, 4)
    depthwise_grad_input(Conv2dShape s, const T* DC_RESTRICT gy, const T* DC_RESTRICT w, T* DC_RESTRICT gx) {
  const long long each = s.k / s.groups, size = s.n * s.h * s.w * s.c;
  for (long long e = first_index(kDepthwiseThreads); e < size; e += grid_step(kDepthwiseThreads)) {
    long long pixel, c, line, v, n, h;
    divide(e, s.c, &pixel, &c);
    divide(pixel, s.w, &line, &v);
    divide(line, s.h, &n, &h);
    T sum = 0;
    for (long long r = 0; r < s.r; ++r) {
      long long p, q, rest;
      const long long top = h + s.pad_top - r * s.dilation_h;
      if (top < 0) break;
      divide(top, s.stride_h, &p, &rest);
      if (rest != 0 || p >= s.p) continue;
      for (long long t = 0; t < s.s; ++t) {
        const long long left = v + s.pad_left - t * s.dilation_w;
        if (left < 0) break;
        divide(left, s.stride_w, &q, &rest);
        if (rest != 0 || q >= s.q) continue;
        const T* g = gy + ((n * s.p + p) * s.q + q) * s.k + c * each;
        for (long long j = 0; j < each; ++j) sum += g[j] * w[((c * each + j) * s.r + r) * s.s + t];
      }
    }
    gx[e] = sum;
  }
}

constexpr int kTaps = 9, kSideRows = 4;  // taps of a block, threads of a channel

// Grid: (channels / 32, taps / kTaps, parts).
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(32 * kSideRows, 4)
    depthwise_grad_weight(Conv2dShape s, const T* DC_RESTRICT x, const T* DC_RESTRICT gy, Product<T> product) {
  DC_SHARED(T[kSideRows][kTaps][32], side);
  const int tx = static_cast<int>(thread_index().x), ty = static_cast<int>(thread_index().y);
  const long long k = static_cast<long long>(block_index().x) * 32 + tx, c = k / (s.k / s.groups);
  const int tap0 = static_cast<int>(block_index().y) * kTaps, part = static_cast<int>(block_index().z);
  const long long begin = part * product.depth;
  const long long end = begin + product.depth < product.k ? begin + product.depth : product.k;
  T sums[kTaps] = {};
  if (k < s.k)
    for (long long i = begin + ty; i < end; i += kSideRows) {
      long long line, q, n, p;
      divide(i, s.q, &line, &q);
      divide(line, s.p, &n, &p);
      const T g = gy[i * s.k + k];
      DC_UNROLL
      for (int t = 0; t < kTaps; ++t) {
        const int tap = tap0 + t;
        const int r = tap / static_cast<int>(s.s), u = tap - r * static_cast<int>(s.s);
        const long long h = p * s.stride_h - s.pad_top + r * s.dilation_h;
        const long long v = q * s.stride_w - s.pad_left + u * s.dilation_w;
        if (r < s.r && h >= 0 && h < s.h && v >= 0 && v < s.w) sums[t] += g * x[((n * s.h + h) * s.w + v) * s.c + c];
      }
    }
  DC_UNROLL
  for (int t = 0; t < kTaps; ++t) side[ty][t][tx] = sums[t];
  sync_block();
  for (int t = ty; t < kTaps && tap0 + t < s.r * s.s; t += kSideRows) {
    T sum = side[0][t][tx];
    for (int row = 1; row < kSideRows; ++row) sum += side[row][t][tx];
    if (k < s.k) product.partial[(part * s.k + k) * s.r * s.s + tap0 + t] = sum;
  }
}

}  // namespace dc::cuda
