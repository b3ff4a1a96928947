// Products in which A has few rows or B few columns: the other operand, `many`, is read once and nothing is reused
// but the few. Split: along p, a group of lanes computes one result of each of the few by dot products; across, a
// thread owns four neighbours and the warps of a block take turns along p, added in shared memory in their order.
// Long sums are cut into parts. Bound: memory, one itemsize per element of `many`.
#pragma once
#include "families/gemm.cuh"

namespace dc::cuda {

constexpr int kFew = 4, kFewThreads = 128, kFewWarps = kFewThreads / 32, kFewColumns = 128;

template <class T>
struct FewProduct {
  MatrixOperand<T> few, many;
  Output<T> out;
  Product<T> product;
  int turned;          // the few are columns of C
  int wide, wide_few;  // groups of four of `many` and of the few are aligned
  int lanes;           // of a dot product

  DC_DEVICE void select(long long* begin, long long* end) {
    long long batch, split;
    divide(product.first + block_index().z, product.splits, &batch, &split);
    few.select(batch);
    many.select(batch);
    if (product.splits > 1)
      out = part_output(product, {0, 0, batch, static_cast<int>(split)});
    else
      out.select(batch);
    *begin = split * product.depth;
    *end = *begin + product.depth < product.k ? *begin + product.depth : product.k;
  }
  DC_DEVICE void finish(long long i, long long j, T sum) const {
    turned ? out.finish(j, i, sum) : out.finish(i, j, sum);
  }
};

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kFewThreads, 4) few_dots(FewProduct<T> f) {
  constexpr int kAhead = 4;
  long long begin, end;
  f.select(&begin, &end);
  const int tid = static_cast<int>(thread_index().x), part = tid % f.lanes;
  const long long j = static_cast<long long>(block_index().x) * (kFewThreads / f.lanes) + tid / f.lanes;
  const bool inside = j < f.many.outer;
  const T* row = f.many.data + (inside ? j * f.many.outer_step : 0);
  const int width = f.wide ? 4 : 1;
  T sums[kFew] = {};
  for (long long p0 = begin + part * width; p0 < end; p0 += f.lanes * width * kAhead) {
    T w[kAhead][4] = {};
    DC_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const long long p = p0 + u * f.lanes * width;
      if (inside && p < end) {
        if (f.wide)
          load4(row + p, w[u]);
        else
          w[u][0] = row[p * f.many.p_step];
      }
    }
    DC_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const long long p = p0 + u * f.lanes * width;
      DC_UNROLL
      for (int i = 0; i < kFew; ++i)
        if (i < f.few.outer && p < end) {
          const T* x = f.few.data + i * f.few.outer_step + p * f.few.p_step;
          T v[4] = {};
          if (f.wide && f.wide_few) {
            load4(x, v);
          } else {
            DC_UNROLL
            for (int c = 0; c < 4; ++c)
              if (c < width) v[c] = x[c * f.few.p_step];
          }
          DC_UNROLL
          for (int c = 0; c < 4; ++c) sums[i] += w[u][c] * v[c];
        }
    }
  }
  for (int distance = f.lanes / 2; distance > 0; distance /= 2) {
    DC_UNROLL
    for (int i = 0; i < kFew; ++i) sums[i] += shuffle_xor(kFullMask, sums[i], distance);
  }
  DC_UNROLL
  for (int i = 0; i < kFew; ++i)
    if (inside && part == 0 && i < f.few.outer) f.finish(i, j, sums[i]);
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kFewThreads, sizeof(T) == 8 ? 2 : 4) few_columns(FewProduct<T> f) {
  constexpr int kAhead = 4;
  DC_SHARED(T[kFewWarps][kFew][kFewColumns], side);
  long long begin, end;
  f.select(&begin, &end);
  const int tid = static_cast<int>(thread_index().x), l = tid % 32, w = tid / 32;
  const long long j0 = static_cast<long long>(block_index().x) * kFewColumns, columns = f.many.outer - j0;
  const T* top = f.many.data + j0 * f.many.outer_step;
  T sums[kFew][4] = {};
  for (long long p0 = begin + w; p0 < end; p0 += kFewWarps * kAhead) {
    T v[kAhead][4] = {};
    DC_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const long long p = p0 + u * kFewWarps;
      const T* row = top + p * f.many.p_step;
      if (f.wide) {
        if (p < end && 4 * l < columns) load4(row + 4 * l, v[u]);
      } else {
        DC_UNROLL
        for (int c = 0; c < 4; ++c)
          if (p < end && l + 32 * c < columns) v[u][c] = row[(l + 32 * c) * f.many.outer_step];
      }
    }
    DC_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const long long p = p0 + u * kFewWarps;
      DC_UNROLL
      for (int i = 0; i < kFew; ++i)
        if (i < f.few.outer && p < end) {
          const T x = f.few.data[i * f.few.outer_step + p * f.few.p_step];
          DC_UNROLL
          for (int c = 0; c < 4; ++c) sums[i][c] += v[u][c] * x;
        }
    }
  }
  DC_UNROLL
  for (int i = 0; i < kFew; ++i) {
    if (f.wide) {
      store4(&side[w][i][4 * l], sums[i]);
    } else {
      DC_UNROLL
      for (int c = 0; c < 4; ++c) side[w][i][l + 32 * c] = sums[i][c];
    }
  }
  sync_block();
  for (int i = 0; i < f.few.outer; ++i)
    if (tid < columns) {
      T sum = side[0][i][tid];
      DC_UNROLL
      for (int k = 1; k < kFewWarps; ++k) sum += side[k][i][tid];
      f.finish(i, j0 + tid, sum);
    }
}

inline bool few_pays(long long m, long long n, long long k) { return (m <= kFew || n <= kFew) && k >= 8; }

template <class T>
void few(const char* op, Context& context, const MatrixOperand<T>& a, const MatrixOperand<T>& b, const Output<T>& out,
         long long m, long long n, long long k, long long batches) {
  FewProduct<T> f{m <= n ? a : b, m <= n ? b : a, out, {}, m > n, false, false, 32};
  const bool dots = f.many.along_p();
  const auto in_fours = [&](const MatrixOperand<T>& x, int64_t step) {
    return aligned(x.data) && multiple_of_4(x.batch_step) && multiple_of_4(step);
  };
  f.wide = dots ? in_fours(f.many, f.many.outer_step) && multiple_of_4(k)
                : f.many.outer_step == 1 && in_fours(f.many, f.many.p_step) && multiple_of_4(f.many.outer);
  f.wide_few = f.few.along_p() && in_fours(f.few, f.few.outer > 1 ? f.few.outer_step : 0);
  while (f.lanes > 4 && f.lanes * (f.wide ? 4 : 1) > k) f.lanes /= 2;
  const long long blocks = ceil_div(f.many.outer, dots ? kFewThreads / f.lanes : kFewColumns);
  const auto kernel = dots ? few_dots<T> : few_columns<T>;
  run_parts<T>(op, context, blocks, dots ? 1024 : 64, 4, out, m, n, k, batches,
               [&](dim3 grid, const Product<T>& product) {
                 f.product = product;
                 run(op, context, kernel, grid, dim3(kFewThreads), 0, f);
               });
}

}  // namespace dc::cuda
