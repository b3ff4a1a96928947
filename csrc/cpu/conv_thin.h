// Gradient of an input with few channels (an image): gx[n, i, j, c] = sum of gy[n, p, q, k] w[k, r, s, c] over
// p stride_h - pad_top + r dilation_h = i, q stride_w - pad_left + s dilation_w = j.
// Register lanes over c would be mostly empty, so they run over pixels: z[r, s, c][pixel] = sum_k w[k, r, s, c]
// gy[pixel, k] is a product with (r, s, c) as rows, whose rows are then added, shifted, to rows of gx. Rows under way
// are kept as [i][c][j mod stride_w][j / stride_w], so every shift is a contiguous addition. Tasks are (image, band of
// rows of gx); bands recompute the rows of gy they share. Bound by FMA for k above 16 or so.
#pragma once
#include "cpu/conv_image.h"

namespace dc::DC_ISA {

static inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

static inline bool thin_pays(const Conv2dShape& s) { return s.groups == 1 && s.c <= VecF::W / 2 && s.k >= 4; }

template <class T>
class ThinInputGradient {
 public:
  ThinInputGradient(const Conv2dShape& shape, const T* gy, const T* w, T* gx)
      : s(shape), terms(s.r * s.s * s.c), length(ceil_div(s.w, s.stride_w)), gy_(gy), w_(w), gx_(gx) {}

  void compute(Context& context) const {
    if (s.n * s.h * s.w * s.c == 0) return;
    const int64_t work = s.p * s.q * terms * s.k;
    int64_t bands = ceil_div(s.h * s.w * s.c, 1 << 16);
    bands = max64(1, min64(max64(bands, ceil_div(16, s.n)), min64(work >> 18, s.h / (2 * s.r * s.dilation_h))));
    parallel_for(context, s.n * bands, max64(1, (1 << 17) * bands / max64(1, work)), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        run_band(t / bands, s.h * (t % bands) / bands, s.h * (t % bands + 1) / bands);
    });
  }

 private:
  void run_band(int64_t image, int64_t h0, int64_t h1) const {
    const int64_t row = s.c * s.stride_w * length;
    T* rows = static_cast<T*>(thread_scratch(1, (h1 - h0) * row * sizeof(T)));
    memset(rows, 0, (h1 - h0) * row * sizeof(T));
    // Rows of gy that reach the band, some at a time so that z lies in L2.
    const int64_t first = max64(0, -floor_div((s.r - 1) * s.dilation_h - h0 - s.pad_top, s.stride_h));
    const int64_t last = min64(s.p, floor_div(h1 - 1 + s.pad_top, s.stride_h) + 1);
    const int64_t some = max64(1, (1 << 16) / max64(1, terms * s.q));
    for (int64_t p0 = first; p0 < last; p0 += some) {
      const int64_t p1 = min64(last, p0 + some), pixels = (p1 - p0) * s.q;
      const int64_t pitch = ceil_div(pixels, kTileColumns) * kTileColumns;
      T* panel = static_cast<T*>(thread_scratch(2, (s.k * kTileColumns + terms * pitch) * sizeof(T)));
      T* z = panel + s.k * kTileColumns;
      const RowTiles tiles(terms);
      for (int64_t m = 0; m < pixels; m += kTileColumns) {
        const int64_t n = min64(kTileColumns, pixels - m);
        pack_b_panel(gy_ + ((image * s.p + p0) * s.q + m) * s.k, 1, s.k, s.k, n, panel);
        for (int64_t i = 0; i < tiles.count; ++i) {
          TileInput<T> in;
          in.a = w_ + tiles.begin(i), in.a_stride = terms;
          in.b = panel, in.b_stride = kTileColumns, in.length = s.k;
          run_tile_columns(tiles.rows(i), in,
                           TileOutput<T>{z + tiles.begin(i) * pitch + m, pitch, static_cast<int>(n), false, nullptr,
                                         Activation::none});
        }
      }
      for (int64_t t = 0; t < terms; ++t) add(z + t * pitch, t, p0, p1, h0, h1, rows, row);
    }
    for (int64_t i = h0; i < h1; ++i) write(rows + (i - h0) * row, gx_ + (image * s.h + i) * s.w * s.c);
  }

  // Term t = (r, s, c) of rows p0 .. p1 of gy.
  void add(const T* z, int64_t t, int64_t p0, int64_t p1, int64_t h0, int64_t h1, T* rows, int64_t row) const {
    const int64_t c = t % s.c, tap = t / s.c % s.s, r = t / (s.c * s.s);
    const int64_t offset = tap * s.dilation_w - s.pad_left, shift = floor_div(offset, s.stride_w);
    const int64_t phase = offset - shift * s.stride_w;
    const int64_t positions = phase < s.w ? (s.w - phase - 1) / s.stride_w + 1 : 0;
    const int64_t q0 = max64(0, -shift), q1 = min64(s.q, positions - shift);
    for (int64_t p = p0; p < p1; ++p) {
      const int64_t i = p * s.stride_h - s.pad_top + r * s.dilation_h;
      if (i < h0 || i >= h1 || q0 >= q1) continue;
      T* to = rows + (i - h0) * row + (c * s.stride_w + phase) * length + shift + q0;
      const T* from = z + (p - p0) * s.q + q0;
      for_vectors<T>(q1 - q0, [&](int64_t q, int count) {
        (Vec<T>::load_n(to + q, count) + Vec<T>::load_n(from + q, count)).store_n(to + q, count);
      });
    }
  }

  void write(const T* row, T* gx) const {
    if (s.c * s.stride_w == 1) {
      memcpy(gx, row, s.w * sizeof(T));
      return;
    }
    for (int64_t c = 0; c < s.c; ++c)
      for (int64_t phase = 0; phase < min64(s.stride_w, s.w); ++phase) {
        const T* from = row + (c * s.stride_w + phase) * length;
        T* to = gx + phase * s.c + c;
        for (int64_t j = phase; j < s.w; j += s.stride_w, ++from, to += s.stride_w * s.c) *to = *from;
      }
  }

  const Conv2dShape& s;
  int64_t terms, length;  // rows of z; values of one phase of a row of gx
  const T* gy_;
  const T* w_;
  T* gx_;
};

}  // namespace dc::DC_ISA
