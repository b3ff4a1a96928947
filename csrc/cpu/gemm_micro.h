// The register tile that GEMM and convolution share:
//   C[i, j] (+)= sum over runs (u, v) and p < length of A(i; u, v, p) B[t, j],  i < MR, j < NV * W,
// t counting all (u, v, p) in order. The accumulators stay in registers over the whole reduction.
// A is read by broadcast from memory: rows,    A(i; u, v, p) = a[i * a_stride + p + u * a_outer + v * a_inner];
//                                     columns, A(i; u, v, p) = a[i + p * a_stride + u * a_outer + v * a_inner].
// B is read as vectors: b[t * b_stride + j], all NV * W of them. C is stored up to its n columns.
// All MR from 1 to kTileRows exist, so a remainder of rows is shared out evenly among the tiles.
// Bound by FMA issue: MR * NV FMA against MR broadcasts and NV loads.
#pragma once
#include "cpu/simd/math.h"
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

template <class T>
struct TileInput {
  const T* a;
  int64_t a_stride;
  const T* b;
  int64_t b_stride;
  int64_t length;                    // of one run
  int64_t outer = 1, inner = 1;      // runs
  int64_t a_outer = 0, a_inner = 0;  // steps of A from run to run
};

template <class T>
struct TileOutput {
  T* c;
  int64_t c_row;
  int n;              // columns to store, 1 .. NV * W
  bool load_c;        // start from C instead of 0
  const T* bias;      // n values or null, added at the end
  Activation activation;
};

template <class T>
static inline void activate_rows(T* c, int64_t rows, int64_t c_row, int64_t n, Activation activation) {
  if (activation == Activation::none) return;
  for (int64_t i = 0; i < rows; ++i)
    for_vectors<T>(n, [&](int64_t j, int count) {
      T* p = c + i * c_row + j;
      Vec<T> x = Vec<T>::load_n(p, count);
      if (activation == Activation::relu) x = max(Vec<T>::zero(), x);
      if (activation == Activation::sigmoid) x = sigmoid(x);
      if (activation == Activation::tanh) x = tanh(x);
      x.store_n(p, count);
    });
}

// Out of line: the exponential would be copied into every tile.
template <class T>
static __attribute__((noinline)) void activate_tile(T* c, int rows, int64_t c_row, int n, Activation activation) {
  activate_rows(c, rows, c_row, n, activation);
}

// acc += A B over one run.
template <class T, int MR, int NV, bool kRows>
static DC_INLINE void tile_run(Vec<T> (&acc)[MR][NV], const T* a, int64_t a_stride, const T*& b, int64_t b_stride,
                               int64_t length) {
  constexpr int W = Vec<T>::W;
  if constexpr (kRows) {
    // Row i = odd * 2^e lies at a + (odd * stride) * 2^e: x86 addressing scales for free, so seven
    // offsets reach 14 rows. Hidden from the optimiser, which would make a pointer of every row.
    constexpr int kOdd = (MR + 1) / 2 > 1 ? MR / 2 : 1;
    int64_t odd[kOdd > 0 ? kOdd : 1];
#pragma GCC unroll 8
    for (int i = 0; i < kOdd; ++i) {
      odd[i] = (2 * i + 1) * a_stride * static_cast<int64_t>(sizeof(T));
      __asm__("" : "+r"(odd[i]));
    }
    const char* base = reinterpret_cast<const char*>(a);
#pragma GCC unroll 1
    for (int64_t p = 0; p < length; ++p) {
      Vec<T> bv[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) bv[v] = Vec<T>::load(b + v * W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const int e = i == 0 ? 0 : __builtin_ctz(static_cast<unsigned>(i));
        const char* row = i == 0 ? base : base + odd[(i >> e) / 2] * (1 << e);
        const Vec<T> x = Vec<T>::set(*reinterpret_cast<const T*>(row));
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) acc[i][v] = fma(x, bv[v], acc[i][v]);
      }
      base += sizeof(T);
      b += b_stride;
    }
  } else {
#pragma GCC unroll 1
    for (int64_t p = 0; p < length; ++p) {
      Vec<T> bv[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) bv[v] = Vec<T>::load(b + v * W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const Vec<T> x = Vec<T>::set(a[i]);
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) acc[i][v] = fma(x, bv[v], acc[i][v]);
      }
      a += a_stride;
      b += b_stride;
    }
  }
}

template <class T, int MR, int NV>
static DC_INLINE void tile_store(Vec<T> (&acc)[MR][NV], const TileOutput<T>& o) {
  constexpr int W = Vec<T>::W;
  const bool relu = o.activation == Activation::relu;
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    const int n = o.n - v * W < W ? o.n - v * W : W;
    if (n <= 0) break;
    const Vec<T> bias = o.bias ? Vec<T>::load_n(o.bias + v * W, n) : Vec<T>::zero();
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      T* c = o.c + i * o.c_row + v * W;
      Vec<T> x = acc[i][v];
      if (o.load_c) x = x + (n == W ? Vec<T>::load(c) : Vec<T>::load_n(c, n));
      if (o.bias) x = x + bias;
      if (relu) x = max(Vec<T>::zero(), x);  // keeps NaN
      if (n == W)
        x.store(c);
      else
        x.store_n(c, n);
    }
  }
  if (!relu && o.activation != Activation::none) activate_tile(o.c, MR, o.c_row, o.n, o.activation);
}

template <class T, int MR, int NV, bool kRows>
static __attribute__((noinline)) void tile(const TileInput<T>& in, const TileOutput<T>& out) {
  Vec<T> acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[i][v] = Vec<T>::zero();
  const T* b = in.b;
  for (int64_t u = 0; u < in.outer; ++u)
    for (int64_t v = 0; v < in.inner; ++v)
      tile_run<T, MR, NV, kRows>(acc, in.a + u * in.a_outer + v * in.a_inner, in.a_stride, b, in.b_stride, in.length);
  tile_store<T, MR, NV>(acc, out);
}

template <class T>
using TileFunction = void (*)(const TileInput<T>&, const TileOutput<T>&);

template <class T, int NV, bool kRows>
struct TileTable {
  TileFunction<T> function[kTileRows + 1] = {};
  template <int MR>
  constexpr void fill() {
    function[MR] = tile<T, MR, NV, kRows>;
    if constexpr (MR > 1) fill<MR - 1>();
  }
  constexpr TileTable() { fill<kTileRows>(); }
};

// rows (1 .. kTileRows) and out.n (1 .. kTileColumns) choose the tile. B must be readable over whole
// vectors: over one vector if n <= W and over kTileVectors otherwise.
template <class T, bool kRows>
static DC_INLINE void run_tile(int64_t rows, const TileInput<T>& in, const TileOutput<T>& out) {
  static constexpr TileTable<T, 1, kRows> narrow{};
  static constexpr TileTable<T, kTileVectors, kRows> wide{};
  (out.n <= Vec<T>::W ? narrow.function : wide.function)[rows](in, out);
}

// m rows in the fewest tiles of at most kTileRows, their heights within one of each other.
struct RowTiles {
  int64_t count, height, larger;  // the first `larger` tiles have height + 1 rows
  explicit RowTiles(int64_t m)
      : count((m + kTileRows - 1) / kTileRows), height(count ? m / count : 0), larger(count ? m % count : 0) {}
  DC_INLINE int64_t begin(int64_t i) const { return i * height + (i < larger ? i : larger); }
  DC_INLINE int64_t rows(int64_t i) const { return height + (i < larger ? 1 : 0); }
};

}  // namespace dc::DC_ISA
