// Packing for the register tile of gemm_micro.h.
// B panel: columns j .. j + kTileColumns as [k][kTileColumns], missing columns filled with 0.
// A panel: `rows` rows as [k][rows].
// A source whose k index is contiguous is transposed in registers, W x W at a time.
#pragma once
#include "cpu/gemm_micro.h"
#include "cpu/simd/transpose.h"

namespace dc::DC_ISA {

static DC_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static DC_INLINE int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static DC_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// dst[p * dst_stride + i] = src[i * src_stride + p] for i < rows <= W, p < k, dst_stride >= rows. Whole vectors are
// stored, what lies past `rows` being overwritten by the next p; the last ones stop at `stored` lanes.
template <class T>
static DC_INLINE void pack_transposed(const T* src, int64_t src_stride, int rows, int64_t k, T* dst, int64_t dst_stride,
                                      int stored) {
  constexpr int W = Vec<T>::W;
  for (int64_t p = 0; p < k; p += W) {
    const int count = static_cast<int>(k - p < W ? k - p : W);
    Vec<T> r[W];
    if (rows == W && count == W) {
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) r[i] = Vec<T>::load(src + i * src_stride + p);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) r[i] = i < rows ? Vec<T>::load_n(src + i * src_stride + p, count) : Vec<T>::zero();
    }
    transpose(r);
    if (p + W < k) {
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) r[i].store(dst + (p + i) * dst_stride);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i)
        if (i < count) r[i].store_n(dst + (p + i) * dst_stride, stored);
    }
  }
}

// y[j * y_row + i] = x[i * x_row + j] for i < rows, j < n. Reads whole vectors: x_row >= n rounded up to them. Nothing
// outside of y's block is written.
template <class T>
static inline void store_transposed(const T* x, int64_t x_row, int64_t rows, int64_t n, T* y, int64_t y_row) {
  constexpr int W = Vec<T>::W;
  for (int64_t j = 0; j < n; j += W)
    for (int64_t i = 0; i < rows; i += W) {
      const int count = static_cast<int>(min64(W, rows - i));
      Vec<T> r[W];
#pragma GCC unroll 16
      for (int l = 0; l < W; ++l) r[l] = l < count ? Vec<T>::load(x + (i + l) * x_row + j) : Vec<T>::zero();
      transpose(r);
#pragma GCC unroll 16
      for (int l = 0; l < W; ++l)
        if (j + l < n) store_any(y + (j + l) * y_row + i, r[l], count);
    }
}

// One B panel: n <= kTileColumns columns, element (p, j) at b[p * row + j * col].
template <class T>
static inline void pack_b_panel(const T* b, int64_t row, int64_t col, int64_t k, int64_t n, T* dst) {
  constexpr int W = Vec<T>::W;
  if (col == 1) {
    if (n == kTileColumns) {
      for (int64_t p = 0; p < k; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) Vec<T>::load(b + p * row + v * W).store(dst + p * kTileColumns + v * W);
    } else {
      for (int64_t p = 0; p < k; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) {
          const int64_t left = n - v * W;
          const int count = static_cast<int>(left < 0 ? 0 : left < W ? left : W);
          Vec<T>::load_n(b + p * row + v * W, count).store(dst + p * kTileColumns + v * W);
        }
    }
    return;
  }
  for (int v = 0; v < kTileVectors; ++v) {
    const int64_t left = n - v * W;
    const int count = static_cast<int>(left < 0 ? 0 : left < W ? left : W);
    pack_transposed(b + (count > 0 ? v * W : 0) * col, col, count, k, dst + v * W, kTileColumns, W);
  }
}

// One A panel: element (i, p) at a[i * row + p * col].
template <class T>
static inline void pack_a_panel(const T* a, int64_t row, int64_t col, int64_t rows, int64_t k, T* dst) {
  constexpr int W = Vec<T>::W;
  if constexpr (kTileRows <= W) {
    const int count = static_cast<int>(rows);
    if (col == 1) {
      pack_transposed(a, row, count, k, dst, rows, count);
    } else {
      int64_t p = 0;
      for (; p + W < k; ++p) Vec<T>::load_n(a + p * col, count).store(dst + p * rows);
      for (; p < k; ++p) Vec<T>::load_n(a + p * col, count).store_n(dst + p * rows, count);
    }
  } else {
    for (int64_t p = 0; p < k; ++p)
      for (int64_t i = 0; i < rows; ++i) dst[p * rows + i] = a[i * row + p * col];
  }
}

}  // namespace dc::DC_ISA
