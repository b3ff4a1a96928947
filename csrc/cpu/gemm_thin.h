// Products that no register tile serves: one row, one column, a few rows. For Product (gemm_product.h), whose terms
// these are; the sums are those of gemv.h. Bound by memory.
#pragma once
#include "core/parallel.h"
#include "cpu/gemm_finish.h"
#include "cpu/gemm_pack.h"
#include "cpu/gemv.h"

namespace dc::DC_ISA {

static constexpr int64_t kTaskWork = 1 << 17;  // multiply-adds that pay for waking a thread

template <class T, class Finish>
struct ThinProduct {
  const MatmulShape& s;
  const T* a;
  const T* b;
  const T* bias;
  T* c;
  const Finish& finish;

  // Row `row` of C, or its only column.
  void finish_vector(const T* y, int64_t begin, int64_t end, bool column, int64_t row) const {
    for (int64_t j = begin; j < end; ++j) {
      T* at = column ? c + j * s.c_row : c + row * s.c_row + j;
      T x = y[j - begin];
      if (s.accumulate) x = x + *at;
      if (bias) x = x + bias[column ? 0 : j];
      *at = x;
    }
    if (column) {
      activate_rows(c + begin * s.c_row, end - begin, s.c_row, 1, s.activation);
      finish(begin, end - begin, 0, 1);
    } else {
      activate_rows(c + row * s.c_row + begin, 1, 0, end - begin, s.activation);
      finish(row, 1, begin, end - begin);
    }
  }

  // m == 1 (y = a B) or n == 1 (y = A b): element (j, p) of the matrix at m[j * along + p * across].
  void vector(Context& context) const {
    const bool column = s.n == 1;
    const T* matrix = column ? a : b;
    const T* x = column ? b : a;
    const int64_t length = column ? s.m : s.n, x_stride = column ? s.b_row : s.a_col;
    const int64_t along = column ? s.a_row : s.b_col, across = column ? s.a_col : s.b_row;
    if (x_stride != 1) {
      T* copy = static_cast<T*>(thread_scratch(0, s.k * sizeof(T)));
      for (int64_t p = 0; p < s.k; ++p) copy[p] = x[p * x_stride];
      x = copy;
    }
    const int64_t least = max64(kTaskWork / 2 / max64(s.k, 1), length / 8);
    const int64_t grain = min64(kVectorChunk, max64(1, least / kGemvBlock) * kGemvBlock);
    parallel_for(context, length, grain, [&](int64_t begin, int64_t end) {
      alignas(64) T y[kVectorChunk];
      for (int64_t j = begin; j < end; j += kVectorChunk) {
        const int64_t stop = min64(end, j + kVectorChunk);
        if (across == 1)
          dots<T, 1>(matrix + j * along, along, x, 0, s.k, stop - j, y, 0);
        else
          axpys(matrix + j, across, x, s.k, stop - j, y);
        finish_vector(y, j, stop, column, 0);
      }
    });
  }
  static constexpr int64_t kVectorChunk = 8 * kGemvBlock;

  // A few rows of A against columns of B that are contiguous in k: packing B would cost more than the product.
  static constexpr int64_t kFewRows = 8;
  static bool in_few_rows(const MatmulShape& s) {
    return s.m <= kFewRows && s.a_col == 1 && s.b_row == 1 && s.b_col != 1;
  }
  void few_rows(Context& context) const {
    constexpr int64_t kChunk = 64;
    const int64_t grain = min64(kChunk, max64(4, kTaskWork / (s.m * s.k) / 4 * 4));
    parallel_for(context, s.n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; j += kChunk) {
        const int64_t stop = min64(end, j + kChunk);
        T y[4 * kChunk];
        for (int64_t i = 0; i < s.m; i += 4) {
          const int64_t rows = min64(4, s.m - i);
          const auto some = [&]<int X>() {
            dots<T, X>(b + j * s.b_col, s.b_col, a + i * s.a_row, s.a_row, s.k, stop - j, y, kChunk);
          };
          if (rows == 4) some.template operator()<4>();
          if (rows == 3) some.template operator()<3>();
          if (rows == 2) some.template operator()<2>();
          if (rows == 1) some.template operator()<1>();
          for (int64_t t = 0; t < rows; ++t) finish_vector(y + t * kChunk, j, stop, false, i + t);
        }
      }
    });
  }
};

}  // namespace dc::DC_ISA
