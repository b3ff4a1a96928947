// Gradient of the filters with register tiles:
//   gw[k, r, s, c] = sum_{n, p, q} gy[n, p, q, k] x[n, p stride_h - pad_top + r dilation_h, q stride_w - pad_left + s
//   dilation_w, c].
// Pixels are the reduction. A tile is up to kTileRows neighbouring values of one filter row (s, c together where they
// are contiguous in the padded image) by kTileColumns output channels, so even one input channel fills a tile.
// Sums gather in [r][s][c][k]; the last step adds the partial sums in order and transposes.
// Tasks are (part of the pixels, range of output channels or filter rows). The number of parts depends on the size
// alone, and each part walks its bands of rows, which fit L2, in order. Bound by FMA.
#pragma once
#include "cpu/conv_direct.h"

namespace dc::DC_ISA {

template <class T>
class WeightGradient {
 public:
  WeightGradient(const Conv2dShape& shape, const T* x, const T* gy, T* gw) : s(shape), x_(x), gy_(gy), gw_(gw) {}

  void compute(Context& context) const {
    const int64_t cg = s.c / s.groups, kg = s.k / s.groups, terms = s.r * s.s * cg;
    if (terms * s.k == 0) return;
    if (s.n * s.p * s.q == 0) {
      memset(gw_, 0, s.k * terms * sizeof(T));
      return;
    }
    const int64_t panels = ceil_div(kg, kTileColumns), pitch = panels * kTileColumns;
    const int64_t columns = (s.q - 1) * s.stride_w + (s.s - 1) * s.dilation_w + 1;
    const Padding padding(s.h, s.w, s.c, s.pad_top, s.pad_left, (s.p - 1) * s.stride_h + (s.r - 1) * s.dilation_h + 1,
                          columns, s.stride_w, sizeof(T), false);
    const int64_t work = s.n * s.p * s.q * terms * s.k;
    // A band: rows of one image with x and gy in L2.
    const int64_t row = s.stride_h * columns * s.c + s.q * s.k;
    const int64_t band_rows = max64(1, min64(s.p, kBandElements / max64(1, row)));
    const int64_t bands_per_image = ceil_div(s.p, band_rows), bands = s.n * bands_per_image;
    const int64_t size = s.groups * terms * pitch;  // of one partial sum
    const int64_t wanted = max64(1, min64(16, work / kConvTaskWork));
    const int64_t parts = max64(1, min64(min64(bands, wanted), (1 << 20) / max64(1, size)));
    const int64_t tile_rows = s.groups * panels * s.r;  // (panel, filter row): what a split divides
    const int64_t splits = max64(1, min64(tile_rows, wanted / parts));
    T* sums = static_cast<T*>(thread_scratch(0, parts * size * sizeof(T)));
    parallel_for(context, parts * splits, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t part = t / splits, split = t % splits;
        const int64_t first = bands * part / parts;
        for (int64_t band = first; band < bands * (part + 1) / parts; ++band) {
          const int64_t b = band % bands_per_image;
          run_band(padding, band / bands_per_image, s.p * b / bands_per_image, s.p * (b + 1) / bands_per_image,
                   tile_rows * split / splits, tile_rows * (split + 1) / splits, sums + part * size, band > first);
        }
      }
    });
    // gw[g kg + k, t] = sum over parts of sums[part][g][t][k].
    const int64_t rows = s.groups * kg;
    parallel_for(context, ceil_div(rows, Vec<T>::W), ceil_div(1 << 14, parts * terms * Vec<T>::W),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin * Vec<T>::W; i < min64(rows, end * Vec<T>::W);) {
                     const int64_t g = i / kg, k = i % kg;
                     const int64_t count = min64(Vec<T>::W - i % Vec<T>::W, kg - k);
                     finish(sums + g * terms * pitch + k, pitch, size, parts, terms, static_cast<int>(count),
                            gw_ + i * terms);
                     i += count;
                   }
                 });
  }

 private:
  void run_band(const Padding& padding, int64_t image, int64_t p0, int64_t p1, int64_t first, int64_t last, T* sums,
                bool load) const {
    constexpr int W = Vec<T>::W;
    const int64_t cg = s.c / s.groups, kg = s.k / s.groups, terms = s.r * s.s * cg;
    const int64_t panels = ceil_div(kg, kTileColumns), pitch = panels * kTileColumns;
    const int64_t rows = (p1 - p0 - 1) * s.stride_h + (s.r - 1) * s.dilation_h + 1;
    const int64_t columns = (s.q - 1) * s.stride_w + (s.s - 1) * s.dilation_w + 1, pixels = (p1 - p0) * s.q;
    T* scratch =
        padding.copy ? static_cast<T*>(thread_scratch(1, rows * columns * padding.pitch * sizeof(T))) : nullptr;
    const Block<T> block = padding.block(x_ + image * s.h * s.w * s.c, p0 * s.stride_h, rows, columns, scratch);
    const T* gy = gy_ + (image * s.p + p0) * s.q * s.k;
    // A last panel that is neither one vector nor all of them is copied with zeros after it: tiles read whole vectors.
    const int64_t tail = kg % kTileColumns == W ? 0 : kg % kTileColumns;
    T* tails = tail ? static_cast<T*>(thread_scratch(2, pixels * kTileColumns * sizeof(T))) : nullptr;
    int64_t tail_group = -1;
    const bool merged = s.dilation_w == 1 && s.groups == 1;
    const int64_t run = merged ? s.s * cg : cg, runs = merged ? 1 : s.s;
    const RowTiles tiles(run);
    TileInput<T> in;
    in.a_stride = s.stride_w * block.pixel;
    in.length = s.q, in.a_outer = s.stride_h * block.row;
    for (int64_t item = first; item < last; ++item) {
      const int64_t r = item % s.r, j = item / s.r % panels, g = item / (s.r * panels);
      const int64_t column = j * kTileColumns, n = min64(kTileColumns, kg - column);
      if (tail && j == panels - 1) {
        if (tail_group != g) pack_b_panel(gy + g * kg + column, s.k, 1, pixels, n, tails);
        tail_group = g;
        in.b = tails, in.b_stride = kTileColumns;
      } else {
        in.b = gy + g * kg + column, in.b_stride = s.k;
      }
      // Rows of gy whose window row r meets the image; the others would add zeros.
      const int64_t shift = s.pad_top - r * s.dilation_h;
      const int64_t from = max64(p0, min64(p1, shift > 0 ? ceil_div(shift, s.stride_h) : 0));
      const int64_t to = max64(from, min64(p1, s.h + shift > 0 ? ceil_div(s.h + shift, s.stride_h) : 0));
      in.outer = to - from;
      in.b += (from - p0) * s.q * in.b_stride;
      for (int64_t v = 0; v < runs; ++v)
        for (int64_t i = 0; i < tiles.count; ++i) {
          const int64_t at = tiles.begin(i);
          in.a = block.data + ((from - p0) * s.stride_h + r * s.dilation_h) * block.row +
                 v * s.dilation_w * block.pixel + g * cg + at;
          const TileOutput<T> out{sums + (g * terms + r * s.s * cg + v * cg + at) * pitch + column,
                                  pitch,
                                  static_cast<int>(n),
                                  load,
                                  nullptr,
                                  Activation::none};
          run_tile_columns(tiles.rows(i), in, out);
        }
    }
  }

  static void finish(const T* sums, int64_t pitch, int64_t size, int64_t parts, int64_t terms, int count, T* gw) {
    constexpr int W = Vec<T>::W;
    for (int64_t t = 0; t < terms; t += W) {
      const int depth = static_cast<int>(min64(W, terms - t));
      Vec<T> v[W];
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) {
        v[i] = Vec<T>::zero();
        if (i < depth)
          for (int64_t part = 0; part < parts; ++part)
            v[i] = v[i] + Vec<T>::load_n(sums + part * size + (t + i) * pitch, count);
      }
      transpose(v);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i)
        if (i < count) v[i].store_n(gw + i * terms + t, depth);
    }
  }

  const Conv2dShape& s;
  const T* x_;
  const T* gy_;
  T* gw_;
};

}  // namespace dc::DC_ISA
