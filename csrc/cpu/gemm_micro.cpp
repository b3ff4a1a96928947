// The register tile: gemm_micro.h says what it computes. All heights, one or kTileVectors vectors wide.
#include "cpu/gemm_micro.h"

#include "cpu/simd/math.h"

namespace dc::DC_ISA {

template <class T>
void activate_rows(T* c, int64_t rows, int64_t c_row, int64_t n, Activation activation) {
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

enum class Reads { rows, columns, copied_columns };

// A step of k of A, MR values from a on, to `copy`. whole: the steps that follow lie over what a vector writes too
// much.
template <class T, int MR>
static DC_INLINE void copy_step(const T* a, T* copy, bool whole) {
  if constexpr (MR <= Vec<T>::W) {
    const Vec<T> x = Vec<T>::load_n(a, MR);
    if (whole)
      x.store(copy);
    else
      x.store_n(copy, MR);
  } else {
    for (int i = 0; i < MR; ++i) copy[i] = a[i];
  }
}

// acc += A B over one run.
template <class T, int MR, int NV, Reads kReads>
static DC_INLINE void tile_run(Vec<T> (&acc)[MR][NV], const T* a, int64_t a_stride, const T*& b, int64_t b_stride,
                               int64_t length, const T* fetched, int64_t fetch_step, T* copy) {
  constexpr int W = Vec<T>::W;
  constexpr int64_t kAhead = 8;  // columns lie pages apart, where the machine does not look ahead by itself
  const auto fetch = [&](int64_t p) {
    if (p % kFetchEvery) return;
    __builtin_prefetch(fetched, 0, 2);
    __builtin_prefetch(fetched + 64 / sizeof(T), 0, 2);
    fetched += fetch_step;
  };
  if constexpr (kReads == Reads::rows) {
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
      fetch(p);
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
      fetch(p);
      if constexpr (kReads == Reads::copied_columns) {
        __builtin_prefetch(a + kAhead * a_stride);
        __builtin_prefetch(a + kAhead * a_stride + MR - 1);
        copy_step<T, MR>(a, copy, p + W < length);
        copy += MR;
      }
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
  if (o.n == NV * W) {  // one branch for all of a tile, not one for each register
    if (o.load_c) {
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) acc[i][v] = acc[i][v] + Vec<T>::load(o.c + i * o.c_row + v * W);
    }
    if (o.bias) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        const Vec<T> bias = Vec<T>::load(o.bias + v * W);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) acc[i][v] = acc[i][v] + bias;
      }
    }
    if (relu) {
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) acc[i][v] = max(Vec<T>::zero(), acc[i][v]);  // keeps NaN
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[i][v].store(o.c + i * o.c_row + v * W);
    if (!relu && o.activation != Activation::none) activate_rows(o.c, MR, o.c_row, o.n, o.activation);
    return;
  }
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
  if (!relu && o.activation != Activation::none) activate_rows(o.c, MR, o.c_row, o.n, o.activation);
}

template <class T, int MR, int NV, Reads kReads>
static __attribute__((noinline)) void tile(const TileInput<T>& in, const TileOutput<T>& out) {
  Vec<T> acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[i][v] = Vec<T>::zero();
  // C is wanted at the end: rows a few KiB apart, each a miss of cache and often of the TLB.
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    __builtin_prefetch(out.c + i * out.c_row);
    __builtin_prefetch(out.c + i * out.c_row + NV * Vec<T>::W - 1);
  }
  const T* b = in.b;
  const T* fetched = in.fetched ? in.fetched : b;  // an address that has been translated costs nothing
  for (int64_t u = 0; u < in.outer; ++u)
    for (int64_t v = 0; v < in.inner; ++v)
      tile_run<T, MR, NV, kReads>(acc, in.a + u * in.a_outer + v * in.a_inner, in.a_stride, b, in.b_stride, in.length,
                                  fetched, in.fetch_step, in.copy);
  tile_store<T, MR, NV>(acc, out);
}

template <class T>
using TileFunction = void (*)(const TileInput<T>&, const TileOutput<T>&);

template <class T, int NV, Reads kReads>
struct TileTable {
  TileFunction<T> function[kTileRows + 1] = {};
  template <int MR>
  constexpr void fill() {
    function[MR] = tile<T, MR, NV, kReads>;
    if constexpr (MR > 1) fill<MR - 1>();
  }
  constexpr TileTable() { fill<kTileRows>(); }
};

template <class T, Reads kReads>
static DC_INLINE void run_tile(int64_t rows, const TileInput<T>& in, const TileOutput<T>& out) {
  static constexpr TileTable<T, 1, kReads> narrow{};
  static constexpr TileTable<T, kTileVectors, kReads> wide{};
  (out.n <= Vec<T>::W ? narrow.function : wide.function)[rows](in, out);
}

template <class T>
void run_tile_rows(int64_t rows, const TileInput<T>& in, const TileOutput<T>& out) {
  run_tile<T, Reads::rows>(rows, in, out);
}
template <class T>
void run_tile_columns(int64_t rows, const TileInput<T>& in, const TileOutput<T>& out) {
  if (in.copy)
    run_tile<T, Reads::copied_columns>(rows, in, out);
  else
    run_tile<T, Reads::columns>(rows, in, out);
}

template void activate_rows(float*, int64_t, int64_t, int64_t, Activation);
template void run_tile_rows(int64_t, const TileInput<float>&, const TileOutput<float>&);
template void run_tile_columns(int64_t, const TileInput<float>&, const TileOutput<float>&);
#ifdef DC_ISA_SCALAR
template void activate_rows(double*, int64_t, int64_t, int64_t, Activation);
template void run_tile_rows(int64_t, const TileInput<double>&, const TileOutput<double>&);
template void run_tile_columns(int64_t, const TileInput<double>&, const TileOutput<double>&);
#endif

}  // namespace dc::DC_ISA
