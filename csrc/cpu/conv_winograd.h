// R x R convolution, R = 3 or 5, stride 1, by Winograd's F(M x M, R x R), M = 7 - R: 36 multiplications give an M x M
// square of y, for which the direct sum takes M M R R (144 for R = 3, 100 for R = 5).
//   y = A' [ sum_c (G w G') * (B' x B) ] A, * elementwise over the 36 positions e of a 6 x 6 square of x.
// The sums over c are 36 products of [squares][c] by [c][k] with the register tile of gemm_micro.h.
// Filters: [k / kTileColumns][e][c][kTileColumns]; x: [e][square][c]; products of one panel: [e][square][kTileColumns].
// A task is a group of strips (rows of squares), its transformed x in L2, all filters passing over it.
// Points 0, 1, -1, 2, -2, infinity (A. Lavin, S. Gray, Fast algorithms for convolutional neural networks, 2015).
// The gradient of the filters is F(R x R, M x M) with the same points: gw = A' [ sum over squares (G gy G') * (B' x B)
// ] A. Here squares are the reduction; transformed x and gy of some squares lie in L3, each e is a task. Bound by FMA;
// error of y about 10 times that of the direct sum: docs/kernels/conv.md.
#pragma once
#include "cpu/conv_direct.h"

namespace dc::DC_ISA {

// One dimension of each transform, in place of matrices.
template <class T>
struct Winograd {
  using V = Vec<T>;
  static DC_INLINE V c(double x) { return V::set(static_cast<T>(x)); }

  // B': 6 values of x.
  static DC_INLINE void input(const V (&d)[6], V (&t)[6]) {
    const V four = c(4), five = c(5);
    const V a = fnma(four, d[2], d[4]), b = fnma(four, d[1], d[3]), e = d[4] - d[2], f = d[3] - d[1];
    t[0] = fma(four, d[0], fnma(five, d[2], d[4]));
    t[1] = a + b;
    t[2] = a - b;
    t[3] = fma(c(2), f, e);
    t[4] = fnma(c(2), f, e);
    t[5] = fma(four, d[1], fnma(five, d[3], d[5]));
  }
  // G: the polynomial with coefficients g at the six points, each times the factor that B leaves out.
  template <int N>
  static DC_INLINE void evaluate(const V (&g)[N], V (&t)[6]) {
    V even = g[0], odd = g[1], far_even = g[0], far_odd = g[1] + g[1];
#pragma GCC unroll 5
    for (int i = 2; i < N; ++i)
      if (i % 2 == 0)
        even = even + g[i], far_even = fma(c(1 << i), g[i], far_even);
      else
        odd = odd + g[i], far_odd = fma(c(1 << i), g[i], far_odd);
    t[0] = c(1.0 / 4) * g[0];
    t[1] = c(-1.0 / 6) * (even + odd);
    t[2] = c(-1.0 / 6) * (even - odd);
    t[3] = c(1.0 / 24) * (far_even + far_odd);
    t[4] = c(1.0 / 24) * (far_even - far_odd);
    t[5] = g[N - 1];
  }
  // A': N values of a result.
  template <int N>
  static DC_INLINE void interpolate(const V (&m)[6], V (&y)[N]) {
    const V s = m[1] + m[2], d = m[1] - m[2], u = m[3] + m[4], v = m[3] - m[4];
    y[0] = m[0] + s + u;
#pragma GCC unroll 5
    for (int i = 1; i < N; ++i) y[i] = i % 2 ? fma(c(1 << i), v, d) : fma(c(1 << i), u, s);
    y[N - 1] = y[N - 1] + m[5];
  }

  // 6 x 6 values, `load(i, j)`, to 36, `store(e, value)`.
  template <class Load, class Store>
  static DC_INLINE void transform_input(const Load& load, const Store& store) {
    V half[6][6];
#pragma GCC unroll 1
    for (int j = 0; j < 6; ++j) {
      V d[6], t[6];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) d[i] = load(i, j);
      input(d, t);
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) half[i][j] = t[i];
    }
#pragma GCC unroll 1
    for (int i = 0; i < 6; ++i) {
      V t[6];
      input(half[i], t);
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) store(i * 6 + j, t[j]);
    }
  }
};

struct WinogradShape {
  const DirectShape& d;
  int64_t side;                // of a square of y: M
  int64_t high, wide, strips;  // squares down and across, rows of squares of all images
  int64_t pitch;               // of a square's transformed x
  explicit WinogradShape(const DirectShape& shape, int64_t value_bytes)
      : d(shape),
        side(7 - d.r),
        high(ceil_div(d.p, side)),
        wide(ceil_div(d.q, side)),
        strips(d.n * high),
        pitch(d.reduce + (d.reduce * value_bytes % 2048 ? 0 : 64 / value_bytes)) {}
  int64_t columns() const { return side * wide + d.r - 1; }
  Padding padding(int64_t value_bytes) const {
    return {d.h, d.w, d.c, d.pad_top, d.pad_left, side * high + d.r - 1, columns(), 1, value_bytes, false};
  }
};

// Multiply-adds and a share for the transforms against those of the direct sum.
static inline bool winograd_pays(const DirectShape& d) {
  if ((d.r != 3 && d.r != 5) || d.s != d.r || d.stride_h != 1 || d.stride_w != 1 || d.dilation_h != 1 ||
      d.dilation_w != 1)
    return false;
  if (d.groups != 1 || d.reduce < 16 || d.outputs < 16 || VecF::W == 1) return false;
  const int64_t squares = d.n * ceil_div(d.p, 7 - d.r) * ceil_div(d.q, 7 - d.r);
  return squares * (40 + 600 / d.outputs + 600 / d.reduce) + 300 < d.r * d.s * d.n * d.p * d.q;
}

static inline int64_t winograd_filter_size(const DirectShape& d) { return 36 * d.panels() * d.reduce * kTileColumns; }

// x of one strip to v[e * plane + square * pitch + c], squares counted from `first`.
template <class T>
static inline void winograd_strip(const WinogradShape& z, const Padding& padding, const T* x, int64_t strip, T* v,
                                  int64_t plane) {
  const DirectShape& d = z.d;
  const int64_t columns = z.columns();
  T* scratch = padding.copy ? static_cast<T*>(thread_scratch(1, 6 * columns * d.c * sizeof(T))) : nullptr;
  const Block<T> block =
      padding.block(x + strip / z.high * d.h * d.w * d.c, strip % z.high * z.side, 6, columns, scratch);
  for (int64_t square = 0; square < z.wide; ++square)
    for_vectors<T>(d.reduce, [&](int64_t c, int count) {
      const T* in = block.data + square * z.side * block.pixel + c;
      T* out = v + square * z.pitch + c;
      if (count == Vec<T>::W)
        Winograd<T>::transform_input([&](int i, int j) { return Vec<T>::load(in + i * block.row + j * block.pixel); },
                                     [&](int e, Vec<T> t) { t.store(out + e * plane); });
      else
        Winograd<T>::transform_input(
            [&](int i, int j) { return Vec<T>::load_n(in + i * block.row + j * block.pixel, count); },
            [&](int e, Vec<T> t) { t.store_n(out + e * plane, count); });
    });
}

template <class T, int R>
class WinogradConv {
  static constexpr int M = 7 - R;

 public:
  WinogradConv(const DirectShape& d, const T* x, const T* bias, T* y) : z(d, sizeof(T)), x_(x), bias_(bias), y_(y) {}

  // Direct panels [panel][r][s][c][kTileColumns] to [panel][e][c][kTileColumns].
  static void transform_filters(const DirectShape& d, const T* packed, T* u, Context& context) {
    constexpr int W = Vec<T>::W;
    const int64_t plane = d.reduce * kTileColumns;
    const int64_t grain = max64(W, (1 << 11) / W * W);
    parallel_for(context, d.panels() * plane, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t += W) {
        const T* in = packed + t / plane * R * R * plane + t % plane;
        T* out = u + t / plane * 36 * plane + t % plane;
        Vec<T> half[6][R];
#pragma GCC unroll 5
        for (int j = 0; j < R; ++j) {
          Vec<T> g[R], v[6];
#pragma GCC unroll 5
          for (int i = 0; i < R; ++i) g[i] = Vec<T>::load(in + (i * R + j) * plane);
          Winograd<T>::evaluate(g, v);
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) half[i][j] = v[i];
        }
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) {
          Vec<T> v[6];
          Winograd<T>::evaluate(half[i], v);
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j) v[j].store(out + (i * 6 + j) * plane);
        }
      }
    });
  }

  void compute(const T* u, Context& context) const {
    const DirectShape& d = z.d;
    const Padding padding = z.padding(sizeof(T));
    // Strips per task: transformed x in about half of L2, but no fewer than 16 tasks if there are strips for them.
    const int64_t most = max64(1, kSquareElements / (36 * z.pitch * z.wide));
    const int64_t groups = max64(ceil_div(z.strips, most), min64(z.strips, 16));
    const int64_t splits = max64(1, min64(d.panels(), 16 / groups));
    parallel_for(context, groups * splits, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t group = t / splits, split = t % splits;
        run_group(padding, u, z.strips * group / groups, z.strips * (group + 1) / groups, d.panels() * split / splits,
                  d.panels() * (split + 1) / splits);
      }
    });
  }

 private:
  static constexpr int64_t kSquareElements = 150 << 10;

  void run_group(const Padding& padding, const T* u, int64_t s0, int64_t s1, int64_t panel0, int64_t panel1) const {
    const DirectShape& d = z.d;
    constexpr int64_t kSpread = 64 / sizeof(T);  // planes a multiple of 4 KiB apart would share sets of L1
    const int64_t squares = (s1 - s0) * z.wide, plane = squares * z.pitch + kSpread;
    const int64_t m_plane = squares * kTileColumns + kSpread;
    T* v = static_cast<T*>(thread_scratch(2, 36 * (plane + m_plane) * sizeof(T)));
    T* m = v + 36 * plane;
    for (int64_t s = s0; s < s1; ++s) winograd_strip(z, padding, x_, s, v + (s - s0) * z.wide * z.pitch, plane);
    const RowTiles tiles(squares);
    TileInput<T> in;
    in.a_stride = z.pitch, in.b_stride = kTileColumns, in.length = d.reduce;
    for (int64_t j = panel0; j < panel1; ++j) {
      const int n = static_cast<int>(min64(kTileColumns, d.outputs - j * kTileColumns));
      for (int64_t e = 0; e < 36; ++e)
        for (int64_t i = 0; i < tiles.count; ++i) {
          in.a = v + e * plane + tiles.begin(i) * z.pitch;
          in.b = u + (j * 36 + e) * d.reduce * kTileColumns;
          run_tile_rows(tiles.rows(i), in,
                        TileOutput<T>{m + e * m_plane + tiles.begin(i) * kTileColumns, kTileColumns, n, false, nullptr,
                                      Activation::none});
        }
      for (int64_t s = s0; s < s1; ++s)
        for (int64_t square = 0; square < z.wide; ++square)
          finish(m + ((s - s0) * z.wide + square) * kTileColumns, m_plane, s, square, j * kTileColumns, n);
    }
  }

  void finish(const T* m, int64_t plane, int64_t strip, int64_t square, int64_t k, int n) const {
    const DirectShape& d = z.d;
    const int64_t image = strip / z.high, p = strip % z.high * M, q = square * M;
    const int rows = static_cast<int>(min64(M, d.p - p)), columns = static_cast<int>(min64(M, d.q - q));
    T* y = y_ + image * d.y_image + p * d.y_row + q * d.y_pixel + k;
    const bool relu = d.activation == Activation::relu;
    for_vectors<T>(n, [&](int64_t c, int count) {
      Vec<T> half[M][6];
#pragma GCC unroll 1
      for (int j = 0; j < 6; ++j) {
        Vec<T> a[6], t[M];
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) a[i] = Vec<T>::load_n(m + (i * 6 + j) * plane + c, count);
        Winograd<T>::interpolate(a, t);
#pragma GCC unroll 4
        for (int i = 0; i < M; ++i) half[i][j] = t[i];
      }
      const Vec<T> bias = bias_ ? Vec<T>::load_n(bias_ + k + c, count) : Vec<T>::zero();
#pragma GCC unroll 1
      for (int i = 0; i < rows; ++i) {
        Vec<T> t[M];
        Winograd<T>::interpolate(half[i], t);
#pragma GCC unroll 4
        for (int j = 0; j < M; ++j) {
          Vec<T> value = bias_ ? t[j] + bias : t[j];
          if (relu) value = max(Vec<T>::zero(), value);
          if (j < columns) value.store_n(y + i * d.y_row + j * d.y_pixel + c, count);
        }
      }
    });
    if (d.activation != Activation::none && !relu)
      for (int i = 0; i < rows; ++i) activate_rows(y + i * d.y_row, columns, d.y_pixel, n, d.activation);
  }

  WinogradShape z;
  const T* x_;
  const T* bias_;
  T* y_;
};

template <class T, int R>
class WinogradWeightGradient {
  static constexpr int M = 7 - R;

 public:
  WinogradWeightGradient(const Conv2dShape& shape, const T* x, const T* gy, T* gw)
      : s(shape), d(forward_shape(shape)), z(d, sizeof(T)), x_(x), gy_(gy), gw_(gw) {
    // Rows of transformed values: whole panels of k, and distances that no power of two divides much.
    z.pitch = s.c + kSpread;
    gy_pitch = d.panels() * kTileColumns + kSpread;
  }

  void compute(Context& context) {
    const int64_t size = 36 * s.c * sums_pitch();
    const int64_t budget = max64(1 << 21, size / 2);
    const int64_t per_strip = 36 * z.wide * (z.pitch + gy_pitch);
    const int64_t rounds = ceil_div(z.strips, max64(1, budget / per_strip)), most = ceil_div(z.strips, rounds);
    const int64_t x_plane = most * z.wide * z.pitch + kSpread, gy_plane = most * z.wide * gy_pitch + kSpread;
    T* sums = static_cast<T*>(thread_scratch(0, (size + 36 * (x_plane + gy_plane)) * sizeof(T)));
    T* v = sums + size;
    T* u = v + 36 * x_plane;
    const Padding padding = z.padding(sizeof(T));
    for (int64_t round = 0; round < rounds; ++round) {
      const int64_t s0 = z.strips * round / rounds, s1 = z.strips * (round + 1) / rounds;
      parallel_for(context, s1 - s0, 1, [&](int64_t begin, int64_t end) {
        for (int64_t strip = begin; strip < end; ++strip) {
          winograd_strip(z, padding, x_, s0 + strip, v + strip * z.wide * z.pitch, x_plane);
          gradient_strip(s0 + strip, u + strip * z.wide * gy_pitch, gy_plane);
        }
      });
      const RowTiles tiles(s.c);
      TileInput<T> in;
      in.a_stride = z.pitch, in.b_stride = gy_pitch, in.length = (s1 - s0) * z.wide;
      parallel_for(context, 36, 1, [&](int64_t begin, int64_t end) {
        TileInput<T> own = in;
        for (int64_t e = begin; e < end; ++e)
          for (int64_t j = 0; j < d.panels(); ++j)
            for (int64_t i = 0; i < tiles.count; ++i) {
              own.a = v + e * x_plane + tiles.begin(i);
              own.b = u + e * gy_plane + j * kTileColumns;
              const TileOutput<T> out{sums + (e * s.c + tiles.begin(i)) * sums_pitch() + j * kTileColumns,
                                      sums_pitch(),
                                      static_cast<int>(min64(kTileColumns, s.k - j * kTileColumns)),
                                      round > 0,
                                      nullptr,
                                      Activation::none};
              run_tile_columns(tiles.rows(i), own, out);
            }
      });
    }
    constexpr int W = Vec<T>::W;
    parallel_for(context, ceil_div(s.k, W), 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin * W; k < min64(s.k, end * W); k += W)
        for (int64_t c = 0; c < s.c; c += W)
          finish(sums + c * sums_pitch() + k, k, c, static_cast<int>(min64(W, s.k - k)),
                 static_cast<int>(min64(W, s.c - c)));
    });
  }

 private:
  static constexpr int64_t kSpread = 64 / sizeof(T);
  int64_t sums_pitch() const { return d.panels() * kTileColumns; }

  void gradient_strip(int64_t strip, T* u, int64_t plane) const {
    const int64_t p = strip % z.high * M;
    const T* rows = gy_ + (strip / z.high * s.p + p) * s.q * s.k;
    const int64_t high = min64(M, s.p - p);
    for (int64_t square = 0; square < z.wide; ++square) {
      const int64_t wide = min64(M, s.q - square * M);
      for_vectors<T>(s.k, [&](int64_t k, int count) {
        const T* in = rows + square * M * s.k + k;
        T* out = u + square * gy_pitch + k;
        Vec<T> half[6][M];
#pragma GCC unroll 1
        for (int j = 0; j < M; ++j) {
          Vec<T> g[M], t[6];
#pragma GCC unroll 4
          for (int i = 0; i < M; ++i)
            g[i] = i < high && j < wide ? Vec<T>::load_n(in + (i * s.q + j) * s.k, count) : Vec<T>::zero();
          Winograd<T>::evaluate(g, t);
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) half[i][j] = t[i];
        }
#pragma GCC unroll 1
        for (int i = 0; i < 6; ++i) {
          Vec<T> t[6];
          Winograd<T>::evaluate(half[i], t);
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j) t[j].store(out + (i * 6 + j) * plane);
        }
      });
    }
  }

  // A block of W by W of (k, c): from sums[e][c][k] to gw[k][r][s][c].
  void finish(const T* sums, int64_t k, int64_t c, int k_count, int c_count) const {
    constexpr int W = Vec<T>::W;
    Vec<T> block[R * R][W];
    for (int i = 0; i < W; ++i) {
      Vec<T> half[R][6];
#pragma GCC unroll 1
      for (int j = 0; j < 6; ++j) {
        Vec<T> m[6], t[R];
#pragma GCC unroll 6
        for (int e = 0; e < 6; ++e)
          m[e] = i < c_count ? Vec<T>::load_n(sums + ((e * 6 + j) * s.c + i) * sums_pitch(), k_count) : Vec<T>::zero();
        Winograd<T>::interpolate(m, t);
#pragma GCC unroll 5
        for (int r = 0; r < R; ++r) half[r][j] = t[r];
      }
#pragma GCC unroll 5
      for (int r = 0; r < R; ++r) {
        Vec<T> t[R];
        Winograd<T>::interpolate(half[r], t);
#pragma GCC unroll 5
        for (int q = 0; q < R; ++q) block[r * R + q][i] = t[q];
      }
    }
    for (int t = 0; t < R * R; ++t) {
      transpose(block[t]);
      for (int i = 0; i < k_count; ++i) block[t][i].store_n(gw_ + ((k + i) * R * R + t) * s.c + c, c_count);
    }
  }

  const Conv2dShape& s;
  DirectShape d;
  WinogradShape z;
  int64_t gy_pitch = 0;
  const T* x_;
  const T* gy_;
  T* gw_;
};

}  // namespace dc::DC_ISA
