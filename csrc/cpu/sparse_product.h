// The product of gemm_product.h where A is sparse: ReLU and dropout leave half of a layer's operands zero, and
// multiply-adds with zero are left out. A sparse B is the A of C^T = B^T A^T, whose blocks are stored across.
// A is listed once, for each row and slab of columns: the values that are not zero and where their rows of B
// begin. A task is a group of panels of B by a block of rows; it packs a slab of rows of its panels into L1 and runs
// all rows past them, one at a time, C of the group staying in L2. Lists vary in length, so every row and
// slab costs a mispredicted branch: half of A must be missing for a gain of a third.
// Zero times a number that is not finite is NaN: a slab of B that holds one is multiplied in full.
// Sums run in the order of k, whatever the tasks. Bound by loads, one per multiply-add.
#pragma once
#include "core/machine.h"
#include "core/parallel.h"
#include "cpu/gemm_finish.h"
#include "cpu/gemm_pack.h"
#include "cpu/simd/vec_int.h"

namespace dc::DC_ISA {

static constexpr int64_t kSparseDepth = 64, kShallowDepth = 48;  // of a slab, by the size of L1
static constexpr int64_t kSparsePanels = 4, kSparseRows = 256, kListedRows = 16;
static constexpr int64_t kGivenRows = 8;
static constexpr int64_t kSparseTasks = 8, kLeastSparseRows = 32;
static constexpr int64_t kSparseSlack = 16;      // whole registers are stored past the end of a list
static constexpr int64_t kMostListed = 1 << 22;  // of m k: six bytes of scratch each
static constexpr int kSamples = 64, kZeroSamples = 22;
static constexpr double kMostFilled = 0.62;        // above it the tiles of gemm_micro.h are faster
static constexpr double kMostFilledAcross = 0.45;  // less, as blocks are transposed

// Lists one after the other: list (slab, row) begins at first[slab * rows + row].
template <class T>
struct SparseRows {
  const T* values;
  const uint16_t* offsets;  // bytes in a block of one panel
  const uint32_t* first;
  const uint8_t* counts;
};

// Appends those of n values that are not 0.
template <class T>
static DC_INLINE int list_row(const T* x, int64_t n, T* values, uint16_t* offsets) {
  constexpr uint32_t kStep = kTileColumns * sizeof(T);
  int count = 0;
#if defined(DC_ISA_AVX512)
  if constexpr (sizeof(T) == 4) {
    __m512i at = _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                                    _mm512_set1_epi32(kStep));
    for_vectors<T>(n, [&](int64_t j, int m) {
      const Vec<T> v = load_any(x + j, m);
      const __mmask16 kept = _mm512_cmp_ps_mask(v.v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
      _mm512_storeu_ps(values + count, _mm512_maskz_compress_ps(kept, v.v));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(offsets + count),
                          _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(kept, at)));
      count += __builtin_popcount(kept);
      at = _mm512_add_epi32(at, _mm512_set1_epi32(16 * kStep));
    });
    return count;
  }
#endif
  for (int64_t j = 0; j < n; ++j) {
    values[count] = x[j];
    offsets[count] = static_cast<uint16_t>(static_cast<uint32_t>(j) * kStep);
    count += x[j] != T(0);
  }
  return count;
}

// Rows of P * kTileColumns sums: where they come from (null: 0) and go to.
template <class T>
struct SparseSums {
  const T* from;
  int64_t from_row;
  T* to;
  int64_t to_row;
};

// sums += the listed rows times a block of rows of P panels.
template <class T, int P>
static __attribute__((noinline)) void sparse_rows(const SparseRows<T>& a, int64_t first, int64_t rows, const T* block,
                                                  const SparseSums<T>& sums) {
  constexpr int W = Vec<T>::W, N = P * kTileVectors;
  for (int64_t i = 0; i < rows; ++i) {
    const T* from = sums.from ? sums.from + i * sums.from_row : nullptr;
    T* to = sums.to + i * sums.to_row;
    const T* values = a.values + a.first[first + i];
    const uint16_t* offsets = a.offsets + a.first[first + i];
    Vec<T> sum[N];
#pragma GCC unroll 16
    for (int v = 0; v < N; ++v) sum[v] = from ? Vec<T>::load(from + v * W) : Vec<T>::zero();
    const int count = a.counts[first + i];
#pragma GCC unroll 1
    for (int e = 0; e < count; ++e) {
      const Vec<T> x = Vec<T>::set(values[e]);
      const T* row = reinterpret_cast<const T*>(reinterpret_cast<const char*>(block) + int64_t{P} * offsets[e]);
      __asm__("" : "+r"(row));  // one address in a register: indexed operands cost an instruction more each
#pragma GCC unroll 16
      for (int v = 0; v < N; ++v) sum[v] = fma(x, Vec<T>::load(row + v * W), sum[v]);
    }
#pragma GCC unroll 16
    for (int v = 0; v < N; ++v) sum[v].store(to + v * W);
  }
}

template <class T>
struct SparseProduct {
  MatmulShape s;
  const T *a, *b, *packed_b, *bias;
  T* c;
  bool across = false;  // c holds the transpose; without bias, accumulate and finish
  int64_t deep = l1_bytes() >= 48 << 10 ? kSparseDepth : kShallowDepth;  // a block leaves room in L1 for the rest
  int64_t slabs = ceil_div(s.k, deep);
  SparseRows<T> lists{};

  bool worth_a_look() const {
    if (s.m < kLeastSparseRows || s.n < 2 * kTileColumns || s.k < kSparseDepth || s.m * s.n * s.k < 1 << 24 ||
        s.m * s.k > kMostListed)
      return false;
    int zeros = 0;
    for (int64_t t = 0; t < kSamples; ++t) zeros += a[t * 7919 % s.m * s.a_row + t * 104729 % s.k * s.a_col] == T(0);
    return zeros >= kZeroSamples;
  }

  // False where A turns out to be too full.
  bool list(Context& context) {
    const int64_t all = slabs * s.m, region = kListedRows * s.k + kSparseSlack;
    const auto room = static_cast<size_t>(ceil_div(s.m, kListedRows) * region);
    const size_t bytes = room * (sizeof(T) + sizeof(uint16_t)) + static_cast<size_t>(all) * (sizeof(uint32_t) + 1);
    T* values = static_cast<T*>(thread_scratch(0, bytes));
    auto* first = reinterpret_cast<uint32_t*>(values + room);
    auto* offsets = reinterpret_cast<uint16_t*>(first + all);
    auto* counts = reinterpret_cast<uint8_t*>(offsets + room);
    lists = {values, offsets, first, counts};
    const auto most = static_cast<int64_t>((across ? kMostFilledAcross : kMostFilled) * static_cast<double>(s.m) *
                                           static_cast<double>(s.k));
    int64_t filled = 0;
    parallel_for(context, s.m, kListedRows, [&](int64_t i0, int64_t i1) {
      const int64_t begin = i0 / kListedRows * region;
      int64_t next = begin;
      for (int64_t q = 0; q < slabs; ++q) {
        const int64_t p = q * deep, depth = min64(deep, s.k - p);
        alignas(64) T own[(kListedRows + 1) * kSparseDepth];
        const T* rows = a + i0 * s.a_row + p * s.a_col;
        int64_t stride = s.a_row;
        if (s.a_col != 1) {
          copy_across(rows, i1 - i0, depth, own);
          rows = own;
          stride = kSparseDepth;
        }
        for (int64_t i = i0; i < i1; ++i) {
          // Rows lie far apart: no prefetcher sees them coming.
          for (int64_t p1 = deep; s.a_col == 1 && p1 < 2 * deep; p1 += 64 / sizeof(T))
            __builtin_prefetch(rows + (i - i0) * stride + p1);
          const int count = list_row(rows + (i - i0) * stride, depth, values + next, offsets + next);
          first[q * s.m + i] = static_cast<uint32_t>(next);
          counts[q * s.m + i] = static_cast<uint8_t>(count);
          next += count;
        }
      }
      __atomic_fetch_add(&filled, next - begin, __ATOMIC_RELAXED);
    });
    return filled <= most;
  }

  // to[i * kSparseDepth + p] = from[i * a_row + p * a_col].
  void copy_across(const T* from, int64_t rows, int64_t depth, T* to) const {
    constexpr int64_t W = Vec<T>::W;
    if (s.a_row != 1) {
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t p = 0; p < depth; ++p) to[i * kSparseDepth + p] = from[i * s.a_row + p * s.a_col];
      return;
    }
    for (int64_t p = 0; p < depth; p += W) {
      const int wide = static_cast<int>(min64(W, depth - p));
      pack_transposed(from + p * s.a_col, s.a_col, wide, rows, to + p, kSparseDepth, wide);
    }
  }

  // block (depth, count * kTileColumns) = a slab of B. False where it holds a number that is not finite.
  bool pack(int64_t column, int64_t count, int64_t p, int64_t depth, T* block) const {
    const int64_t wide = count * kTileColumns;
    if (!packed_b && s.b_col == 1 && column + wide <= s.n)
      return copy_finite(b + p * s.b_row + column, s.b_row, depth, count, block, wide);
    bool finite = true;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t at = column + j * kTileColumns;
      alignas(64) T panel[kSparseDepth * kTileColumns];
      const T* from = packed_b + at * s.k + p * kTileColumns;
      if (!packed_b) {
        pack_b_panel(b + p * s.b_row + at * s.b_col, s.b_row, s.b_col, depth, min64(kTileColumns, s.n - at), panel);
        from = panel;
      }
      finite &= copy_finite(from, int64_t{kTileColumns}, depth, 1, block + j * kTileColumns, wide);
    }
    return finite;
  }

  static bool copy_finite(const T* from, int64_t from_row, int64_t depth, int64_t panels, T* to, int64_t to_row) {
    constexpr int W = Vec<T>::W;
    constexpr int64_t kAhead = 6;  // rows of B lie far apart, too
    Vec<T> bad[4] = {Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero()};
    for (int64_t i = 0; i < depth; ++i, from += from_row, to += to_row)
      for (int64_t j = 0; j < panels * kTileColumns; j += kTileColumns) {
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) {
          __builtin_prefetch(from + j + v * W + kAhead * from_row);
          const Vec<T> x = Vec<T>::load(from + j + v * W);
          x.store(to + j + v * W);
          bad[v] = fma(x, Vec<T>::zero(), bad[v]);
        }
      }
    return ((bad[0] + bad[1]) + (bad[2] + bad[3])).sum() == T(0);
  }

  // The lists of a slab with their zeros.
  void in_full(int64_t first, int64_t rows, int64_t count, int64_t depth, const T* block, SparseSums<T> sums) const {
    constexpr int64_t kStep = kTileColumns * static_cast<int64_t>(sizeof(T));
    for (int64_t i = first; i < first + rows; ++i, sums.to += sums.to_row) {
      T values[kSparseDepth] = {};
      uint16_t offsets[kSparseDepth];
      const uint32_t first_of_one = 0;
      const auto all = static_cast<uint8_t>(depth);
      for (int64_t p = 0; p < depth; ++p) offsets[p] = static_cast<uint16_t>(p * kStep);
      for (int64_t e = lists.first[i]; e < lists.first[i] + lists.counts[i]; ++e)
        values[lists.offsets[e] / kStep] = lists.values[e];
      run({values, offsets, &first_of_one, &all}, 0, 1, count, block, sums);
      if (sums.from) sums.from += sums.from_row;
    }
  }

  static void run(const SparseRows<T>& rows, int64_t first, int64_t n, int64_t count, const T* block,
                  const SparseSums<T>& sums) {
    if (count == 4) sparse_rows<T, 4>(rows, first, n, block, sums);
    if (count == 3) sparse_rows<T, 3>(rows, first, n, block, sums);
    if (count == 2) sparse_rows<T, 2>(rows, first, n, block, sums);
    if (count == 1) sparse_rows<T, 1>(rows, first, n, block, sums);
  }

  template <class Finish>
  void compute(const Finish& finish, Context& context) const {
    const int64_t panels = ceil_div(s.n, kTileColumns);
    const int64_t groups = ceil_div(panels, kSparsePanels);
    int64_t blocks = max64(ceil_div(s.m, kSparseRows), ceil_div(kSparseTasks, groups));
    blocks = min64(blocks, max64(1, s.m / kLeastSparseRows));
    const int64_t height = ceil_div(s.m, blocks);
    parallel_for(context, groups * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        // Rows change last: the half of C that a thread writes is the half it reads in what follows.
        const int64_t column = t % groups * kSparsePanels * kTileColumns;
        const int64_t count = min64(kSparsePanels, panels - t % groups * kSparsePanels);
        const int64_t n = min64(count * kTileColumns, s.n - column), wide = count * kTileColumns;
        const int64_t row = t / groups * height, rows = min64(height, s.m - row);
        if (rows <= 0) continue;
        T* block = static_cast<T*>(thread_scratch(1, (deep + rows + (kTaken<Finish> ? rows : 0)) * wide * sizeof(T)));
        T* sums = block + deep * wide;
        T* to = across ? c + column * s.c_row + row : c + row * s.c_row + column;
        const bool plain = !kTaken<Finish> && !across && !bias && s.activation == Activation::none && n == wide;
        if (s.accumulate)
          for (int64_t i = 0; i < rows; ++i)
            ::memcpy(sums + i * wide, to + i * s.c_row, static_cast<size_t>(n) * sizeof(T));
        for (int64_t q = 0; q < slabs; ++q) {
          const int64_t p = q * deep, depth = min64(deep, s.k - p);
          SparseSums<T> io{q || s.accumulate ? sums : nullptr, wide, sums, wide};
          if (plain && q + 1 == slabs) io.to = to, io.to_row = s.c_row;
          const bool finite = pack(column, count, p, depth, block);
          // The last slab some rows at a time: their values are given away from L1, to where was foretold.
          const bool given = kTaken<Finish> && !across && q + 1 == slabs;
          const int64_t some = given ? kGivenRows : rows;
          for (int64_t i = 0; i < rows; i += some) {
            const int64_t now = min64(some, rows - i);
            if constexpr (kTaken<Finish>)
              if (given) finish.foretell(finish.owner, row + i, now, column, n);
            if (finite)
              run(lists, q * s.m + row + i, now, count, block, io);
            else
              in_full(q * s.m + row + i, now, count, depth, block, io);
            if constexpr (kTaken<Finish>)
              if (given) finish.give(finish.owner, row + i, now, column, n, io.to, wide);
            if (io.from) io.from += now * wide;
            io.to += now * wide;
          }
        }
        if constexpr (kTaken<Finish>) {
          if (across) {
            T* turned = sums + rows * wide;
            store_transposed(sums, wide, rows, n, turned, rows);
            finish.give(finish.owner, column, n, row, rows, turned, rows);
          }
        } else if (across) {
          store_transposed(sums, wide, rows, n, to, s.c_row);
          activate_rows(to, n, s.c_row, rows, s.activation);
        } else {
          if (!plain) store(rows, column, n, wide, sums, to);
          finish(row, rows, column, n);
        }
      }
    });
  }

  void store(int64_t rows, int64_t column, int64_t n, int64_t wide, const T* sums, T* to) const {
    const bool relu = s.activation == Activation::relu;
    for (int64_t i = 0; i < rows; ++i) {
      for_vectors<T>(n, [&](int64_t j, int m) {
        Vec<T> x = load_any(sums + i * wide + j, m);
        if (bias) x = x + load_any(bias + column + j, m);
        if (relu) x = max(Vec<T>::zero(), x);  // keeps NaN
        store_any(to + i * s.c_row + j, x, m);
      });
    }
    if (!relu) activate_rows(to, rows, s.c_row, n, s.activation);
  }
};

}  // namespace dc::DC_ISA
