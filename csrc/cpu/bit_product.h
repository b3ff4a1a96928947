// Products with states: C[i, j] = bias[j] + sum_p X[i, p] B[p, j] where X holds nothing but 0 and one other value.
// Sums of four rows of B have 16 values, which are tabled once and serve all rows of X: an addition in place of four
// multiply-adds (Arlazarov, Dinic, Kronrod, Faradzhev, "On economical construction of the transitive closure of an
// oriented graph", 1970: the method of the four Russians).
// X is read as bits: 32 columns a word, word (q, i) at words[q * stride + i], bit b for column 32 q + b.
// Tables of 32 rows of B by kTileColumns columns lie in L1 (16 KB with AVX-512) and C goes past them, kTileColumns wide
// and row by row. A task is a panel of columns by a block of rows. The order of sums depends on the sizes alone.
// Bound by loads, one per addition; with 100 rows, tables take some 40 % of the time of the additions.
#pragma once
#include "cpu/gemm_product.h"
#include "cpu/simd/vec_int.h"

namespace dc::DC_ISA {

static constexpr int kBitDepth = 32, kBitGroup = 4, kBitSums = 1 << kBitGroup;
static constexpr int64_t kLeastBitRows = 16;  // fewer don't pay for tables
static constexpr int64_t kMostBitRows = 512;  // of a block: C of a panel stays in L2

template <class T>
struct BitRows {
  const uint32_t* words;
  int64_t stride;
  T value;  // of what is not 0
};

static DC_INLINE int64_t bit_words(int64_t k) { return ceil_div(k, kBitDepth); }

// The first value of x that is not 0, or 1.
template <class T>
static inline T value_of_bits(const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (x[i] != T(0)) return x[i];
  return T(1);
}

// Rows of x as bits along each row. False where x holds a third value; words are undefined then.
template <class T>
static inline bool bits_of_rows(const T* x, int64_t rows, int64_t k, T value, uint32_t* words, Context& context) {
  bool two = true;
  const Vec<T> one = Vec<T>::set(value);
  parallel_for(context, rows, ceil_div(1 << 14, k), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && __atomic_load_n(&two, __ATOMIC_RELAXED); ++i)
      for (int64_t q = 0; q < bit_words(k); ++q) {
        const T* at = x + i * k + q * kBitDepth;
        uint32_t word = 0, zeros = 0;
        const int64_t n = min64(kBitDepth, k - q * kBitDepth);
        for_vectors<T>(n, [&](int64_t j, int m) {
          const Vec<T> v = load_any(at + j, m);
          const uint32_t lanes = (1u << m) - 1;
          word |= (bits(eq(v, one)) & lanes) << j;
          zeros |= (bits(eq(v, Vec<T>::zero())) & lanes) << j;
        });
        if ((word ^ zeros) != (n == kBitDepth ? ~0u : (1u << n) - 1)) {
          __atomic_store_n(&two, false, __ATOMIC_RELAXED);
          return;
        }
        words[q * rows + i] = word;
      }
  });
  return two;
}

// The same along the columns: bit b of word (q, j) is x[32 q + b, j].
template <class T>
static inline bool bits_of_columns(const T* x, int64_t rows, int64_t columns, T value, uint32_t* words,
                                   Context& context) {
  bool two = true;
  constexpr int64_t kWide = 128;
  parallel_for(context, bit_words(rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q)
      for (int64_t j0 = 0; j0 < columns && __atomic_load_n(&two, __ATOMIC_RELAXED); j0 += kWide) {
        const int64_t n = min64(kWide, columns - j0);
        uint32_t word[kWide] = {}, third = 0;
        for (int64_t b = 0; b < min64(kBitDepth, rows - q * kBitDepth); ++b) {
          const T* at = x + (q * kBitDepth + b) * columns + j0;
          for (int64_t j = 0; j < n; ++j) {
            const uint32_t set = at[j] == value, clear = at[j] == T(0);
            word[j] |= set << b;
            third |= 1 ^ set ^ clear;
          }
        }
        if (third) __atomic_store_n(&two, false, __ATOMIC_RELAXED);
        ::memcpy(words + q * columns + j0, word, static_cast<size_t>(n) * sizeof(uint32_t));
      }
  });
  return two;
}

// table[g][s][j]: factor times the sum of those of rows 4 g .. 4 g + 3 of b whose bits are set in s; n columns of b
// exist, and `rows` rows, at most kBitDepth.
template <class T>
static inline void tabulate(const T* b, int64_t b_stride, int64_t rows, int64_t n, T factor, T* table) {
  constexpr int W = Vec<T>::W;
  const Vec<T> scale = Vec<T>::set(factor);
  for (int64_t p = 0; p < rows; p += kBitGroup)
    for (int v = 0; v < kTileVectors; ++v) {
      const int count = static_cast<int>(max64(0, min64(W, n - v * W)));
      Vec<T> sum[kBitSums];
      Vec<T> group[kBitGroup];
      sum[0] = Vec<T>::zero();
#pragma GCC unroll 4
      for (int r = 0; r < kBitGroup; ++r) {
        const T* at = b + (p + r) * b_stride + v * W;
        Vec<T> row = Vec<T>::zero();
        if (p + r < rows) row = scale * (count == W ? Vec<T>::load(at) : Vec<T>::load_n(count ? at : b, count));
        group[r] = row;
        sum[0] = fma(row, Vec<T>::zero(), sum[0]);  // 0, or NaN as zero times a number that is not finite
      }
#pragma GCC unroll 4
      for (int r = 0; r < kBitGroup; ++r) {
#pragma GCC unroll 8
        for (int s = 0; s < 1 << r; ++s) sum[(1 << r) + s] = sum[s] + group[r];
      }
      T* to = table + p * (kBitSums / kBitGroup) * kTileColumns + v * W;
#pragma GCC unroll 16
      for (int s = 0; s < kBitSums; ++s) sum[s].store(to + s * kTileColumns);
    }
}

// c[i, :] += the sums that G groups of bits of words[i] name, c being kTileColumns wide; the first time c starts at
// `start`.
template <class T, int G>
static __attribute__((noinline)) void add_sums(const T* table, const uint32_t* words, int64_t rows, const T* start,
                                               T* c) {
  constexpr int W = Vec<T>::W, kColumns = kTileColumns / W;
  constexpr uint64_t kEntry = kTileColumns * sizeof(T), kMask = (kBitSums - 1) * kEntry;
  const char* base = reinterpret_cast<const char*>(table);
  for (int64_t i = 0; i < rows; ++i, c += kTileColumns) {
    Vec<T> sum[kColumns];
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) sum[v] = Vec<T>::load((start ? start : c) + v * W);
    const uint64_t word = words[i] * kEntry;
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) {
      const T* entry = reinterpret_cast<const T*>(base + g * kBitSums * kEntry + ((word >> (g * kBitGroup)) & kMask));
#pragma GCC unroll 4
      for (int v = 0; v < kColumns; ++v) sum[v] = sum[v] + Vec<T>::load(entry + v * W);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) sum[v].store(c + v * W);
  }
}

template <class T>
static inline void add_sums(int64_t groups, const T* table, const uint32_t* words, int64_t rows, const T* start, T* c) {
  static constexpr void (*kBy[])(const T*, const uint32_t*, int64_t, const T*, T*) = {
      add_sums<T, 1>, add_sums<T, 2>, add_sums<T, 3>, add_sums<T, 4>,
      add_sums<T, 5>, add_sums<T, 6>, add_sums<T, 7>, add_sums<T, 8>};
  kBy[groups - 1](table, words, rows, start, c);
}

// What a task needs: tables, a panel of C, a block of B.
template <class T>
struct BitScratch {
  static constexpr int64_t kTable = kBitDepth / kBitGroup * kBitSums * kTileColumns;
  T *table, *block, *c;
  explicit BitScratch(int64_t rows) {
    table = static_cast<T*>(thread_scratch(1, (kTable + (kBitDepth + rows) * kTileColumns) * sizeof(T)));
    block = table + kTable;
    c = block + kBitDepth * kTileColumns;
  }
};

// c (rows, kTileColumns) += X B, or start + X B, over k rows of B; B(p, j) at b[p * b_row + j * b_col], n columns of
// it.
template <class T>
static inline void bit_panel(const BitRows<T>& x, int64_t row, int64_t rows, int64_t k, const T* b, int64_t b_row,
                             int64_t b_col, int64_t n, T factor, const T* start, const BitScratch<T>& scratch) {
  for (int64_t q = 0; q < bit_words(k); ++q) {
    const int64_t p = q * kBitDepth, depth = min64(kBitDepth, k - p);
    const T* from = b + p * b_row;
    if (b_col == 1) {
      tabulate(from, b_row, depth, n, factor * x.value, scratch.table);
    } else {
      pack_b_panel(from, b_row, b_col, depth, n, scratch.block);
      tabulate(scratch.block, int64_t{kTileColumns}, depth, int64_t{kTileColumns}, factor * x.value, scratch.table);
    }
    add_sums(ceil_div(depth, kBitGroup), scratch.table, x.words + q * x.stride + row, rows, q == 0 ? start : nullptr,
             scratch.c);
  }
}

// task(column, n, row, rows, scratch) for each panel of columns by a block of rows.
template <class T, class Task>
static inline void for_bit_blocks(int64_t all_columns, int64_t all_rows, Context& context, const Task& task) {
  const int64_t panels = ceil_div(all_columns, kTileColumns), blocks = ceil_div(all_rows, kMostBitRows);
  const int64_t height = ceil_div(all_rows, blocks);
  parallel_for(context, panels * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t column = t / blocks * kTileColumns, row = t % blocks * height;
      const int64_t rows = min64(height, all_rows - row);
      if (rows > 0) task(column, min64(kTileColumns, all_columns - column), row, rows, BitScratch<T>(rows));
    }
  });
}

// The product of shape s (batch 1, no activation, not accumulating, k > 0); packed_b and finish as in gemm_product.h.
template <class T, class F>
static inline void bit_product(const MatmulShape& s, const BitRows<T>& x, const T* b, const T* packed_b, const T* bias,
                               T* y, const F& finish, Context& context) {
  for_bit_blocks<T>(s.n, s.m, context, [&](auto column, auto n, auto row, auto rows, const BitScratch<T>& scratch) {
    alignas(64) T start[kTileColumns] = {};
    ::memcpy(start, bias + column, static_cast<size_t>(n) * sizeof(T));
    if (packed_b)
      bit_panel(x, row, rows, s.k, packed_b + column * s.k, kTileColumns, 1, kTileColumns, T(1), start, scratch);
    else
      bit_panel(x, row, rows, s.k, b + column * s.b_col, s.b_row, s.b_col, n, T(1), start, scratch);
    for (int64_t i = 0; i < rows; ++i) {
      const T* from = scratch.c + i * kTileColumns;
      T* to = y + (row + i) * s.c_row + column;
      for_vectors<T>(n, [&](int64_t j, int m) { store_any(to + j, load_any(from + j, m), m); });
    }
    finish(row, rows, column, n);
  });
}

}  // namespace dc::DC_ISA
