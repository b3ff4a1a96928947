// 3 x 3 convolution, stride 1, by Winograd's F(4x4, 3x3): 36 multiplications for the 144 of a 4 x 4 square of y.
//   y = A' [ sum_c (G w G') * (B' x B) ] A, * elementwise over the 36 positions e of a 6 x 6 square of x.
// The sums over c are 36 products of [squares][c] by [c][k] with the register tile of gemm_micro.h.
// Filters: [k / kTileColumns][e][c][kTileColumns]; x: [e][square][c]; products of one panel: [e][square][kTileColumns].
// A task is a group of strips (rows of squares), its transformed x in L2, all filters passing over it.
// Points 0, 1, -1, 2, -2, infinity (A. Lavin, S. Gray, Fast algorithms for convolutional neural networks, 2015).
// The gradient of the filters is F(3x3, 4x4) with the same points: gw = C' [ sum over squares (H gy H') * (B' x B) ] C.
// Here squares are the reduction; transformed x and gy of some squares lie in L3, each e is a task.
// Bound by FMA; error of y about 10 times that of the direct sum: docs/kernels/conv.md.
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
  // G: 3 values of a filter.
  static DC_INLINE void filter(const V (&g)[3], V (&t)[6]) {
    const V even = g[0] + g[2], far = fma(c(4), g[2], g[0]), two = g[1] + g[1];
    t[0] = c(1.0 / 4) * g[0];
    t[1] = c(-1.0 / 6) * (even + g[1]);
    t[2] = c(-1.0 / 6) * (even - g[1]);
    t[3] = c(1.0 / 24) * (far + two);
    t[4] = c(1.0 / 24) * (far - two);
    t[5] = g[2];
  }
  // A': 4 values of y.
  static DC_INLINE void output(const V (&m)[6], V (&y)[4]) {
    const V s = m[1] + m[2], d = m[1] - m[2], u = m[3] + m[4], v = m[3] - m[4];
    y[0] = m[0] + s + u;
    y[1] = fma(c(2), v, d);
    y[2] = fma(c(4), u, s);
    y[3] = fma(c(8), v, d) + m[5];
  }
  // H: 4 values of gy.
  static DC_INLINE void gradient(const V (&g)[4], V (&t)[6]) {
    const V even = g[0] + g[2], odd = g[1] + g[3];
    const V far = fma(c(4), g[2], g[0]), far_odd = fma(c(4), g[3], g[1]), two = far_odd + far_odd;
    t[0] = c(1.0 / 4) * g[0];
    t[1] = c(-1.0 / 6) * (even + odd);
    t[2] = c(-1.0 / 6) * (even - odd);
    t[3] = c(1.0 / 24) * (far + two);
    t[4] = c(1.0 / 24) * (far - two);
    t[5] = g[3];
  }
  // C': 3 values of gw.
  static DC_INLINE void weight(const V (&m)[6], V (&y)[3]) {
    const V s = m[1] + m[2], d = m[1] - m[2], u = m[3] + m[4], v = m[3] - m[4];
    y[0] = m[0] + s + u;
    y[1] = fma(c(2), v, d);
    y[2] = fma(c(4), u, s) + m[5];
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
  int64_t high, wide, strips;  // squares down and across, rows of squares of all images
  int64_t pitch;               // of a square's transformed x
  explicit WinogradShape(const DirectShape& shape, int64_t value_bytes)
      : d(shape), high(ceil_div(d.p, 4)), wide(ceil_div(d.q, 4)), strips(d.n * high),
        pitch(d.reduce + (d.reduce * value_bytes % 2048 ? 0 : 64 / value_bytes)) {}
  Padding padding(int64_t value_bytes) const {
    return {d.h, d.w, d.c, d.pad_top, d.pad_left, 4 * high + 2, 4 * wide + 2, 1, value_bytes, false};
  }
};

// Multiply-adds and a share for the transforms against those of the direct sum.
static inline bool winograd_pays(const DirectShape& d) {
  if (d.r != 3 || d.s != 3 || d.stride_h != 1 || d.stride_w != 1 || d.dilation_h != 1 || d.dilation_w != 1) return false;
  if (d.groups != 1 || d.reduce < 16 || d.outputs < 16 || VecF::W == 1) return false;
  const int64_t squares = d.n * ceil_div(d.p, 4) * ceil_div(d.q, 4);
  return squares * (40 + 2400 / d.outputs + 2400 / d.reduce) + 300 < 9 * d.n * d.p * d.q;
}

// x of one strip to v[e * plane + square * pitch + c], squares counted from `first`.
template <class T>
static inline void winograd_strip(const WinogradShape& z, const Padding& padding, const T* x, int64_t strip, T* v,
                                  int64_t plane) {
  const DirectShape& d = z.d;
  const int64_t columns = 4 * z.wide + 2;
  T* scratch = padding.copy ? static_cast<T*>(thread_scratch(1, 6 * columns * d.c * sizeof(T))) : nullptr;
  const Block<T> block =
      padding.block(x + strip / z.high * d.h * d.w * d.c, strip % z.high * 4, 6, columns, scratch);
  for (int64_t square = 0; square < z.wide; ++square)
    for_vectors<T>(d.reduce, [&](int64_t c, int count) {
      const T* in = block.data + square * 4 * block.pixel + c;
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

template <class T>
class WinogradConv {
 public:
  WinogradConv(const DirectShape& d, const T* x, const T* bias, T* y)
      : z(d, sizeof(T)), x_(x), bias_(bias), y_(y) {}

  static int64_t filter_size(const DirectShape& d) { return 36 * d.panels() * d.reduce * kTileColumns; }

  // Direct panels [panel][r][s][c][kTileColumns] to [panel][e][c][kTileColumns].
  static void transform_filters(const DirectShape& d, const T* packed, T* u, Context& context) {
    constexpr int W = Vec<T>::W;
    const int64_t plane = d.reduce * kTileColumns;
    const int64_t grain = max64(W, (1 << 11) / W * W);
    parallel_for(context, d.panels() * plane, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t += W) {
        const T* in = packed + t / plane * 9 * plane + t % plane;
        T* out = u + t / plane * 36 * plane + t % plane;
        Vec<T> half[6][3];
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) {
          const Vec<T> g[3] = {Vec<T>::load(in + j * plane), Vec<T>::load(in + (3 + j) * plane),
                               Vec<T>::load(in + (6 + j) * plane)};
          Vec<T> v[6];
          Winograd<T>::filter(g, v);
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) half[i][j] = v[i];
        }
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) {
          Vec<T> v[6];
          Winograd<T>::filter(half[i], v);
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
    const int64_t image = strip / z.high, p = strip % z.high * 4, q = square * 4;
    const int rows = static_cast<int>(min64(4, d.p - p)), columns = static_cast<int>(min64(4, d.q - q));
    T* y = y_ + image * d.y_image + p * d.y_row + q * d.y_pixel + k;
    const bool relu = d.activation == Activation::relu;
    for_vectors<T>(n, [&](int64_t c, int count) {
      Vec<T> half[4][6];
#pragma GCC unroll 1
      for (int j = 0; j < 6; ++j) {
        Vec<T> a[6], t[4];
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) a[i] = Vec<T>::load_n(m + (i * 6 + j) * plane + c, count);
        Winograd<T>::output(a, t);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) half[i][j] = t[i];
      }
      const Vec<T> bias = bias_ ? Vec<T>::load_n(bias_ + k + c, count) : Vec<T>::zero();
#pragma GCC unroll 1
      for (int i = 0; i < rows; ++i) {
        Vec<T> t[4];
        Winograd<T>::output(half[i], t);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
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

template <class T>
class WinogradWeightGradient {
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
              const TileOutput<T> out{sums + (e * s.c + tiles.begin(i)) * sums_pitch() + j * kTileColumns, sums_pitch(),
                                      static_cast<int>(min64(kTileColumns, s.k - j * kTileColumns)), round > 0, nullptr,
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
    const int64_t p = strip % z.high * 4;
    const T* rows = gy_ + (strip / z.high * s.p + p) * s.q * s.k;
    const int64_t high = min64(4, s.p - p);
    for (int64_t square = 0; square < z.wide; ++square) {
      const int64_t wide = min64(4, s.q - square * 4);
      for_vectors<T>(s.k, [&](int64_t k, int count) {
        const T* in = rows + square * 4 * s.k + k;
        T* out = u + square * gy_pitch + k;
        Vec<T> half[6][4];
#pragma GCC unroll 1
        for (int j = 0; j < 4; ++j) {
          Vec<T> g[4], t[6];
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i)
            g[i] = i < high && j < wide ? Vec<T>::load_n(in + (i * s.q + j) * s.k, count) : Vec<T>::zero();
          Winograd<T>::gradient(g, t);
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) half[i][j] = t[i];
        }
#pragma GCC unroll 1
        for (int i = 0; i < 6; ++i) {
          Vec<T> t[6];
          Winograd<T>::gradient(half[i], t);
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j) t[j].store(out + (i * 6 + j) * plane);
        }
      });
    }
  }

  // A block of W by W of (k, c): from sums[e][c][k] to gw[k][r][s][c].
  void finish(const T* sums, int64_t k, int64_t c, int k_count, int c_count) const {
    constexpr int W = Vec<T>::W;
    Vec<T> block[9][W];
    for (int i = 0; i < W; ++i) {
      Vec<T> half[3][6];
#pragma GCC unroll 1
      for (int j = 0; j < 6; ++j) {
        Vec<T> m[6], t[3];
#pragma GCC unroll 6
        for (int e = 0; e < 6; ++e)
          m[e] = i < c_count ? Vec<T>::load_n(sums + ((e * 6 + j) * s.c + i) * sums_pitch(), k_count) : Vec<T>::zero();
        Winograd<T>::weight(m, t);
#pragma GCC unroll 3
        for (int r = 0; r < 3; ++r) half[r][j] = t[r];
      }
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) {
        Vec<T> t[3];
        Winograd<T>::weight(half[r], t);
#pragma GCC unroll 3
        for (int q = 0; q < 3; ++q) block[r * 3 + q][i] = t[q];
      }
    }
    for (int t = 0; t < 9; ++t) {
      transpose(block[t]);
      for (int i = 0; i < k_count; ++i) block[t][i].store_n(gw_ + ((k + i) * 9 + t) * s.c + c, c_count);
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
