// Matrix times vector, y[j] = sum_p x[p] M(j, p), for products with one row or one column.
// dots: M(j, p) = m[j * stride + p], rows read along p, four at a time, lanes over p; up to four vectors x at once.
// axpys: M(j, p) = m[p * stride + j], lanes over j; a block of y stays in registers over the whole of p, a long y in
// L1. Both read M once, in order: bound by memory. Lines of M are asked for some rows ahead, because blocks of one row
// are too short for the hardware to see a stream.
#pragma once
#include "cpu/gemm_micro.h"

namespace dc::DC_ISA {

#if defined(DC_ISA_AVX512)
static constexpr int kGemvVectors = 16;
#elif defined(DC_ISA_AVX2)
static constexpr int kGemvVectors = 12;
#else
static constexpr int kGemvVectors = 8;
#endif
static constexpr int kGemvBlock = kGemvVectors * VecF::W;

// C rows of m by X vectors x; y[i * y_stride + j].
template <class T, int C, int X>
static DC_INLINE void dot_block(const T* m, int64_t stride, const T* x, int64_t x_stride, int64_t k, T* y,
                                int64_t y_stride) {
  constexpr int W = Vec<T>::W, U = X == 1 ? 2 : 1;  // one vector alone needs two sums per row to hide latency
  Vec<T> acc[X][C][U];
#pragma GCC unroll 4
  for (int i = 0; i < X; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j)
#pragma GCC unroll 2
      for (int u = 0; u < U; ++u) acc[i][j][u] = Vec<T>::zero();
  int64_t p = 0;
  for (; p + U * W <= k; p += U * W)
#pragma GCC unroll 2
    for (int u = 0; u < U; ++u) {
      Vec<T> v[X];
#pragma GCC unroll 4
      for (int i = 0; i < X; ++i) v[i] = Vec<T>::load(x + i * x_stride + p + u * W);
#pragma GCC unroll 4
      for (int j = 0; j < C; ++j) {
        const Vec<T> row = Vec<T>::load(m + j * stride + p + u * W);
#pragma GCC unroll 4
        for (int i = 0; i < X; ++i) acc[i][j][u] = fma(row, v[i], acc[i][j][u]);
      }
    }
  for (; p < k; p += W) {
    const int count = static_cast<int>(k - p < W ? k - p : W);
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) {
      const Vec<T> row = Vec<T>::load_n(m + j * stride + p, count);
#pragma GCC unroll 4
      for (int i = 0; i < X; ++i) acc[i][j][0] = fma(row, Vec<T>::load_n(x + i * x_stride + p, count), acc[i][j][0]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < X; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) y[i * y_stride + j] = (U == 2 ? acc[i][j][0] + acc[i][j][U - 1] : acc[i][j][0]).sum();
}

template <class T, int X>
static inline void dots(const T* m, int64_t stride, const T* x, int64_t x_stride, int64_t k, int64_t rows, T* y,
                        int64_t y_stride) {
  constexpr int C = kTileRows >= 14 || X == 1 ? 4 : 2;
  int64_t j = 0;
  for (; j + C <= rows; j += C) dot_block<T, C, X>(m + j * stride, stride, x, x_stride, k, y + j, y_stride);
  for (; j < rows; ++j) dot_block<T, 1, X>(m + j * stride, stride, x, x_stride, k, y + j, y_stride);
}

template <class T, int V>
static DC_INLINE void axpy_block(const T* m, int64_t stride, const T* x, int64_t k, T* y) {
  constexpr int W = Vec<T>::W;
  constexpr int64_t kAhead = 6;
  Vec<T> acc[V];
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) acc[v] = Vec<T>::zero();
#pragma GCC unroll 1
  for (int64_t p = 0; p < k; ++p) {
    const T* row = m + p * stride;
    if (V > 1 && p + kAhead < k)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v)
        if ((v * W * sizeof(T)) % 64 == 0) __builtin_prefetch(row + kAhead * stride + v * W);
    const Vec<T> xp = Vec<T>::set(x[p]);
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) acc[v] = fma(Vec<T>::load(row + v * W), xp, acc[v]);
  }
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) acc[v].store(y + v * W);
}

// Four rows at a time along all columns, y in L1: long runs of memory for the prefetcher, sums in the same order.
template <class T>
static inline void axpy_rows(const T* m, int64_t stride, const T* x, int64_t k, int64_t columns, T* y) {
  constexpr int W = Vec<T>::W, R = 4;
  for (int64_t j = 0; j < columns; j += W) Vec<T>::zero().store(y + j);
  int64_t p = 0;
  for (; p + R <= k; p += R) {
    const T* row = m + p * stride;
    const Vec<T> x0 = Vec<T>::set(x[p]), x1 = Vec<T>::set(x[p + 1]), x2 = Vec<T>::set(x[p + 2]),
                 x3 = Vec<T>::set(x[p + 3]);
    for (int64_t j = 0; j < columns; j += W) {
      Vec<T> acc = fma(Vec<T>::load(row + j), x0, Vec<T>::load(y + j));
      acc = fma(Vec<T>::load(row + stride + j), x1, acc);
      acc = fma(Vec<T>::load(row + 2 * stride + j), x2, acc);
      fma(Vec<T>::load(row + 3 * stride + j), x3, acc).store(y + j);
    }
  }
  for (; p < k; ++p)
    for (int64_t j = 0; j < columns; j += W)
      fma(Vec<T>::load(m + p * stride + j), Vec<T>::set(x[p]), Vec<T>::load(y + j)).store(y + j);
}

template <class T>
static inline void axpys(const T* m, int64_t stride, const T* x, int64_t k, int64_t columns, T* y) {
  constexpr int W = Vec<T>::W;
  if (columns >= 2 * kGemvBlock && columns % W == 0) return axpy_rows(m, stride, x, k, columns, y);
  int64_t j = 0;
  for (; j + kGemvBlock <= columns; j += kGemvBlock) axpy_block<T, kGemvVectors>(m + j, stride, x, k, y + j);
  for (; j + 4 * W <= columns; j += 4 * W) axpy_block<T, 4>(m + j, stride, x, k, y + j);
  for (; j < columns; j += W) {
    const int count = static_cast<int>(columns - j < W ? columns - j : W);
    Vec<T> acc = Vec<T>::zero();
    for (int64_t p = 0; p < k; ++p) acc = fma(Vec<T>::load_n(m + p * stride + j, count), Vec<T>::set(x[p]), acc);
    acc.store_n(y + j, count);
  }
}

}  // namespace dc::DC_ISA
