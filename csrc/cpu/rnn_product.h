// The products of one step of a recurrent layer, into sums that lie in L1 for the cell that follows: rows of states
// times panels of kTileColumns units, for rnn.cpp. Sums run over k in order, in the same pieces for any number of rows.
#pragma once
#include "cpu/gemm_pack.h"

namespace dc::DC_ISA {

static constexpr int64_t kRnnDepth = 512;  // k of a tile: rows of it stay in L1
static constexpr int64_t kSumsStep = kTileRows * kTileColumns;

// Rows [begin, end) of an A whose rows lie `bytes` apart, in even tiles.
struct Tiles : RowTiles {
  int64_t first;
  Tiles(int64_t begin, int64_t end, int64_t bytes) : RowTiles(end - begin, tile_rows_at(bytes)), first(begin) {}
  DC_INLINE int64_t row(int64_t i) const { return first + begin(i); }
};

// Part of the k of a product: a row-major, panel [k][kTileColumns].
template <class T>
struct Part {
  const T* a;
  int64_t a_row, k;
  const T* panel;
};

// sums (rows, n), sums_row apart, = sum of the parts' products for the rows from `row` on, + bias if there is one.
template <class T>
static DC_INLINE void multiply(const Part<T>* parts, int count, int64_t row, int64_t rows, int64_t n, T* sums,
                               int64_t sums_row = kTileColumns, const T* bias = nullptr) {
  bool first = true;
  for (int i = 0; i < count; ++i) {
    const Part<T>& part = parts[i];
    const int64_t depth = part.k ? ceil_div(part.k, ceil_div(part.k, kRnnDepth)) : 1;
    for (int64_t p = 0; p < part.k || (first && i + 1 == count); p += depth) {
      TileInput<T> in;
      in.a = part.a + row * part.a_row + p;
      in.a_stride = part.a_row;
      in.b = part.panel + p * kTileColumns;
      in.b_stride = kTileColumns;
      in.length = min64(depth, part.k - p);
      const bool last = i + 1 == count && p + in.length == part.k;
      run_tile_rows(
          rows, in,
          TileOutput<T>{sums, sums_row, static_cast<int>(n), !first, last ? bias : nullptr, Activation::none});
      first = false;
    }
  }
}

// The same for one row and kPanels panels, kSumsStep apart in sums: the few chains of sums of a tile with one row would
// wait for each other most of the time.
template <class T, int kPanels>
static DC_INLINE void multiply_row(const T* a, int64_t k, const T* panel, int64_t panel_step, T* sums) {
  constexpr int W = Vec<T>::W;
  const int64_t depth = k ? ceil_div(k, ceil_div(k, kRnnDepth)) : 1;
  for (int64_t p0 = 0; p0 == 0 || p0 < k; p0 += depth) {
    Vec<T> sum[kPanels][kTileVectors];
    for (int i = 0; i < kPanels; ++i)
      for (int v = 0; v < kTileVectors; ++v) sum[i][v] = Vec<T>::zero();
    const int64_t end = min64(k, p0 + depth);
    for (int64_t p = p0; p < end; ++p) {
      const Vec<T> x = Vec<T>::set(a[p]);
#pragma GCC unroll 4
      for (int i = 0; i < kPanels; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v)
          sum[i][v] = fma(x, Vec<T>::load(panel + i * panel_step + p * kTileColumns + v * W), sum[i][v]);
    }
    for (int i = 0; i < kPanels; ++i)
      for (int v = 0; v < kTileVectors; ++v) {
        T* to = sums + i * kSumsStep + v * W;
        (p0 ? sum[i][v] + Vec<T>::load(to) : sum[i][v]).store(to);
      }
  }
}

}  // namespace dc::DC_ISA
