// The register tile that GEMM and convolution share:
//   C[i, j] (+)= sum over runs (u, v) and p < length of A(i; u, v, p) B[t, j],  i < MR, j < NV * W,
// t counting all (u, v, p) in order. The accumulators stay in registers over the whole reduction.
// A is read by broadcast from memory: rows,    A(i; u, v, p) = a[i * a_stride + p + u * a_outer + v * a_inner];
//                                     columns, A(i; u, v, p) = a[i + p * a_stride + u * a_outer + v * a_inner].
// B is read as vectors: b[t * b_stride + j], all NV * W of them. C is stored up to its n columns.
// All MR from 1 to kTileRows exist, so a remainder of rows is shared out evenly among the tiles.
// Bound by FMA issue: MR * NV FMA against MR broadcasts and NV loads.
#pragma once
#include "core/machine.h"
#include "cpu/simd/vec.h"
#include "kernels/matmul.h"

namespace dc::DC_ISA {

#if defined(DC_ISA_AVX512)
static constexpr int kTileRows = 14, kTileVectors = 2;
#elif defined(DC_ISA_AVX2)
static constexpr int kTileRows = 6, kTileVectors = 2;
#else
static constexpr int kTileRows = 4, kTileVectors = 4;
#endif
static constexpr int kTileColumns = kTileVectors * VecF::W;

static constexpr int64_t kFetchEvery = 8;

template <class T>
struct TileInput {
  const T* a;
  int64_t a_stride;
  const T* b;
  int64_t b_stride;
  int64_t length;                    // of one run
  int64_t outer = 1, inner = 1;      // runs
  int64_t a_outer = 0, a_inner = 0;  // steps of A from run to run
  // Brought into L2 while a run goes on: 128 bytes at fetched + t * fetch_step for every step t * kFetchEvery of it.
  const T* fetched = nullptr;
  int64_t fetch_step = 0;
  T* copy = nullptr;  // columns: A as it is read goes there, too, step by step, `rows` apart
};

template <class T>
struct TileOutput {
  T* c;
  int64_t c_row;
  int n;          // columns to store, 1 .. NV * W
  bool load_c;    // start from C instead of 0
  const T* bias;  // n values or null, added at the end
  Activation activation;
};

// c[i, j] = activation(c[i, j]).
template <class T>
void activate_rows(T* c, int64_t rows, int64_t c_row, int64_t n, Activation activation);

// A read by rows or by columns. rows (1 .. kTileRows) and out.n (1 .. kTileColumns) choose the tile. B must be readable
// over whole vectors: over one vector if n <= W and over kTileVectors otherwise.
template <class T>
void run_tile_rows(int64_t rows, const TileInput<T>& in, const TileOutput<T>& out);
template <class T>
void run_tile_columns(int64_t rows, const TileInput<T>& in, const TileOutput<T>& out);

// Whether lines `bytes` apart share a few sets of a cache: a multiple of `apart`, or nearly.
static inline bool lines_conflict(int64_t bytes, int64_t apart) {
  constexpr int64_t kNear = 16;
  return (bytes + kNear - 1) % apart < 2 * kNear - 1;
}

// Most rows of a tile whose A is read by rows, `bytes` apart. A row takes a line of L1, which serves until the next 64
// bytes of k; rows a multiple of 4 KiB apart share one set, of 2 KiB two, and B goes through these as well.
static inline int64_t tile_rows_at(int64_t bytes) {
  const int64_t free = l1_ways() > 4 ? l1_ways() - 2 : 2;
  const int64_t most = lines_conflict(bytes, 4096) ? free : lines_conflict(bytes, 2048) ? 2 * free : kTileRows;
  return most < kTileRows ? most : kTileRows;
}

// m rows in the fewest tiles of at most `most` rows, their heights within one of each other.
struct RowTiles {
  int64_t count, height, larger;  // the first `larger` tiles have height + 1 rows
  explicit RowTiles(int64_t m, int64_t most = kTileRows)
      : count((m + most - 1) / most), height(count ? m / count : 0), larger(count ? m % count : 0) {}
  DC_INLINE int64_t begin(int64_t i) const { return i * height + (i < larger ? i : larger); }
  DC_INLINE int64_t rows(int64_t i) const { return height + (i < larger ? 1 : 0); }
};

}  // namespace dc::DC_ISA
