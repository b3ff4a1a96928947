// Direct convolution with register tiles, no im2col:
//   y[n, p, q, k] = sum_{r, s, c} x[n, p stride_h - pad_top + r dilation_h, q stride_w - pad_left + s dilation_w, c]
//   w[k, r, s, c].
// A tile is up to kTileRows neighbouring pixels of a row of y by kTileColumns channels; its A rows are windows of the
// padded image, stride_w pixels apart, its reduction runs over (r, s, c) with the sums in registers throughout.
// Filters are packed as panels [group][k / kTileColumns][r][s][c][kTileColumns].
// Tasks are (image, band of rows of y, range of panels), chosen by size: the band of x lies in L2, a panel of the
// filters passes over it. Images too narrow to fill tiles gather their windows and run as a GEMM over all pixels.
// The distances of y are free, so that the gradient of x for stride > 1 is a set of such convolutions. Bound by FMA.
#pragma once
#include "cpu/conv_image.h"

namespace dc::DC_ISA {

struct DirectShape {
  int64_t n, h, w, c;               // x
  int64_t groups, reduce, outputs;  // channels of x and of y in a group
  int64_t r, s, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int64_t p, q, y_image, y_row, y_pixel;  // y
  Activation activation;

  int64_t panels() const { return ceil_div(outputs, kTileColumns); }
  int64_t terms() const { return r * s * reduce; }
  int64_t packed_size() const { return groups * panels() * terms() * kTileColumns; }
  int64_t columns() const { return (q - 1) * stride_w + (s - 1) * dilation_w + 1; }
  int64_t rows(int64_t p_rows) const { return (p_rows - 1) * stride_h + (r - 1) * dilation_h + 1; }
};

static constexpr int64_t kBandElements = 1 << 16;  // of x in one task
static constexpr int64_t kConvTaskWork = 1 << 18;  // multiply-adds that pay for waking a thread

template <class T>
class DirectConv {
 public:
  DirectConv(const DirectShape& shape, const T* x, const T* packed, const T* bias, T* y)
      : d(shape), x_(x), packed_(packed), bias_(bias), y_(y) {}

  void compute(Context& context) const {
    if (d.n * d.p * d.q * d.groups * d.outputs == 0) return;
    if (d.q < kNarrow && d.groups == 1 && d.y_row == d.q * d.y_pixel && d.y_image == d.p * d.y_row && d.n * d.p > 1)
      return narrow(context);
    const Padding padding(d.h, d.w, d.c, d.pad_top, d.pad_left, d.rows(d.p), d.columns(), d.stride_w, sizeof(T), true);
    const int64_t work = d.p * d.q * d.terms() * d.groups * d.outputs;
    // Enough bands to fit L2, more of them where there are few images, panels divided where even that is too few.
    int64_t bands = ceil_div(d.rows(d.p) * d.columns() * padding.pitch, kBandElements);
    bands = max64(bands, min64(ceil_div(16, d.n), work / kConvTaskWork));
    bands = max64(1, min64(bands, ceil_div(d.p, min64(d.p, max64(1, (d.r - 1) / 2)))));
    const int64_t all_panels = d.groups * d.panels();
    const int64_t splits = max64(1, min64(all_panels, min64(ceil_div(16, d.n * bands), work / bands / kConvTaskWork)));
    const int64_t tasks = d.n * bands * splits;
    const int64_t grain = max64(1, kConvTaskWork * bands * splits / max64(1, work));
    parallel_for(context, tasks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t image = t / (bands * splits), band = t / splits % bands, split = t % splits;
        run_band(padding, image, d.p * band / bands, d.p * (band + 1) / bands, all_panels * split / splits,
                 all_panels * (split + 1) / splits);
      }
    });
  }

 private:
  // Below this width a tile of one row is too low to hide the latency of FMA.
  static constexpr int64_t kNarrow = kTileRows >= 14 ? 5 : 3;

  void run_band(const Padding& padding, int64_t image, int64_t p0, int64_t p1, int64_t panel0, int64_t panel1) const {
    if (p0 == p1) return;
    const int64_t rows = d.rows(p1 - p0), columns = d.columns();
    T* scratch =
        padding.copy ? static_cast<T*>(thread_scratch(1, rows * columns * padding.pitch * sizeof(T))) : nullptr;
    const Block<T> block = padding.block(x_ + image * d.h * d.w * d.c, p0 * d.stride_h, rows, columns, scratch);
    TileInput<T> in;
    in.a_stride = d.stride_w * block.pixel;
    in.b_stride = kTileColumns;
    in.a_outer = d.dilation_h * block.row;
    in.length = d.reduce, in.inner = d.s, in.a_inner = d.dilation_w * block.pixel;
    if (d.dilation_w == 1 && block.pixel == d.reduce) in.length = d.s * d.reduce, in.inner = 1;
    const RowTiles tiles(d.q);
    for (int64_t j = panel0; j < panel1; ++j) {
      const int64_t group = j / d.panels(), column = j % d.panels() * kTileColumns;
      const int64_t k = group * d.outputs + column;
      const T* panel = packed_ + j * d.terms() * kTileColumns;
      TileOutput<T> out{nullptr,
                        d.y_pixel,
                        static_cast<int>(min64(kTileColumns, d.outputs - column)),
                        false,
                        bias_ ? bias_ + k : nullptr,
                        d.activation};
      for (int64_t p = p0; p < p1; ++p) {
        // Filter rows that meet the image; the others would add zeros.
        const int64_t top = p * d.stride_h - d.pad_top;
        const int64_t r0 = top < 0 ? min64(d.r, ceil_div(-top, d.dilation_h)) : 0;
        const int64_t r1 = max64(r0, min64(d.r, d.h > top ? ceil_div(d.h - top, d.dilation_h) : 0));
        in.outer = r1 - r0;
        in.b = panel + r0 * d.s * d.reduce * kTileColumns;
        for (int64_t i = 0; i < tiles.count; ++i) {
          const int64_t q = tiles.begin(i);
          in.a = block.data + ((p - p0) * d.stride_h + r0 * d.dilation_h) * block.row + q * d.stride_w * block.pixel +
                 group * d.reduce;
          out.c = y_ + image * d.y_image + p * d.y_row + q * d.y_pixel + k;
          run_tile_rows(tiles.rows(i), in, out);
        }
      }
    }
  }

  // The window of pixel m of y, counted over all images, as [r][s][c].
  void gather(int64_t m, T* out) const {
    const int64_t q = m % d.q, p = m / d.q % d.p, image = m / (d.q * d.p);
    const T* x = x_ + image * d.h * d.w * d.c;
    for (int64_t r = 0; r < d.r; ++r) {
      const int64_t i = p * d.stride_h - d.pad_top + r * d.dilation_h;
      for (int64_t s = 0; s < d.s; ++s, out += d.reduce) {
        const int64_t j = q * d.stride_w - d.pad_left + s * d.dilation_w;
        if (i < 0 || i >= d.h || j < 0 || j >= d.w)
          memset(out, 0, d.reduce * sizeof(T));
        else
          memcpy(out, x + (i * d.w + j) * d.c, d.reduce * sizeof(T));
      }
    }
  }

  void narrow(Context& context) const {
    const int64_t m = d.n * d.p * d.q, terms = d.terms();
    const int64_t pitch = terms * sizeof(T) % 2048 ? terms : terms + 64 / static_cast<int64_t>(sizeof(T));
    const RowTiles tiles(m);
    // Tiles per task: a fair share of L2 for their windows.
    const int64_t most = max64(1, kBandElements / (kTileRows * pitch));
    const int64_t least = ceil_div(kConvTaskWork, kTileRows * max64(1, terms) * d.outputs);
    const int64_t row_tasks = ceil_div(tiles.count, min64(max64(1, most), max64(1, least)));
    const int64_t splits =
        max64(1, min64(d.panels(), min64(ceil_div(16, row_tasks), m * terms * d.outputs / row_tasks / kConvTaskWork)));
    parallel_for(context, row_tasks * splits, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t row_task = t / splits, split = t % splits;
        const int64_t i0 = tiles.count * row_task / row_tasks, i1 = tiles.count * (row_task + 1) / row_tasks;
        const int64_t m0 = tiles.begin(i0), m1 = tiles.begin(i1);
        T* windows = static_cast<T*>(thread_scratch(1, (m1 - m0) * pitch * sizeof(T)));
        for (int64_t i = m0; i < m1; ++i) gather(i, windows + (i - m0) * pitch);
        TileInput<T> in;
        in.a_stride = pitch, in.b_stride = kTileColumns, in.length = terms;
        for (int64_t j = d.panels() * split / splits; j < d.panels() * (split + 1) / splits; ++j) {
          const int64_t k = j * kTileColumns;
          in.b = packed_ + j * terms * kTileColumns;
          for (int64_t i = i0; i < i1; ++i) {
            in.a = windows + (tiles.begin(i) - m0) * pitch;
            const TileOutput<T> out{y_ + tiles.begin(i) * d.y_pixel + k,
                                    d.y_pixel,
                                    static_cast<int>(min64(kTileColumns, d.outputs - k)),
                                    false,
                                    bias_ ? bias_ + k : nullptr,
                                    d.activation};
            run_tile_rows(tiles.rows(i), in, out);
          }
        }
      }
    });
  }

  const DirectShape& d;
  const T* x_;
  const T* packed_;
  const T* bias_;
  T* y_;
};

// Panels of the forward filters w[k, r, s, c].
template <class T>
static inline void pack_filters(const DirectShape& d, const T* w, T* packed, Context& context) {
  const int64_t terms = d.terms();
  parallel_for(context, d.groups * d.panels(), ceil_div(1 << 14, max64(1, terms * kTileColumns)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t j = begin; j < end; ++j) {
                   const int64_t group = j / d.panels(), column = j % d.panels() * kTileColumns;
                   pack_b_panel(w + (group * d.outputs + column) * terms, 1, terms, terms,
                                min64(kTileColumns, d.outputs - column), packed + j * terms * kTileColumns);
                 }
               });
}

// The taps of one dimension that reach the positions phase, phase + stride, ... of the input:
// r = first, first + step, ..., `count` of them; tap number t reads row i + shift - t * dilation of the output.
struct PhaseTaps {
  int64_t first, step, count, shift, dilation, positions;
  PhaseTaps(int64_t phase, int64_t size, int64_t taps, int64_t stride, int64_t pad, int64_t dilate)
      : first(0),
        step(1),
        count(0),
        shift(0),
        dilation(1),
        positions(phase < size ? (size - phase - 1) / stride + 1 : 0) {
    while (first < taps && (phase + pad - first * dilate) % stride != 0) ++first;
    if (first >= taps) return;
    while ((step * dilate) % stride != 0) ++step;
    count = (taps - first - 1) / step + 1;
    dilation = step * dilate / stride;
    shift = (phase + pad - first * dilate) / stride;
  }
};

// The convolution of gy, stride 1, that gives gx at the pixels of one phase: the taps above in reverse order.
// Reversed tap t' = count - 1 - t reads row i + shift - (count - 1) dilation + t' dilation.
static inline DirectShape phase_shape(const Conv2dShape& s, const PhaseTaps& v, const PhaseTaps& u) {
  return {s.n,
          s.p,
          s.q,
          s.k,
          s.groups,
          s.k / s.groups,
          s.c / s.groups,
          v.count,
          u.count,
          1,
          1,
          v.dilation,
          u.dilation,
          (v.count - 1) * v.dilation - v.shift,
          (u.count - 1) * u.dilation - u.shift,
          v.positions,
          u.positions,
          s.h * s.w * s.c,
          s.stride_h * s.w * s.c,
          s.stride_w * s.c,
          Activation::none};
}

// Panels of the filters of one phase.
template <class T>
static inline void pack_phase(const Conv2dShape& s, const DirectShape& d, const PhaseTaps& v, const PhaseTaps& u,
                              const T* w, T* packed, Context& context) {
  const int64_t cg = d.outputs, kg = d.reduce, filter = s.r * s.s * cg;
  parallel_for(context, d.groups * d.panels(), ceil_div(1 << 14, max64(1, d.terms() * kTileColumns)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t j = begin; j < end; ++j) {
                   const int64_t group = j / d.panels(), column = j % d.panels() * kTileColumns;
                   T* dst = packed + j * d.terms() * kTileColumns;
                   for (int64_t y = 0; y < d.r; ++y)
                     for (int64_t x = 0; x < d.s; ++x, dst += kg * kTileColumns) {
                       const int64_t r = v.first + (v.count - 1 - y) * v.step;
                       const int64_t c = u.first + (u.count - 1 - x) * u.step;
                       pack_b_panel(w + group * kg * filter + (r * s.s + c) * cg + column, filter, 1, kg,
                                    min64(kTileColumns, cg - column), dst);
                     }
                 }
               });
}

template <class T>
static inline void clear_phase(const Conv2dShape& s, const PhaseTaps& v, const PhaseTaps& u, T* gx) {
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t i = 0; i < v.positions; ++i)
      for (int64_t j = 0; j < u.positions; ++j)
        memset(gx + ((n * s.h + i * s.stride_h) * s.w + j * s.stride_w) * s.c, 0, s.c * sizeof(T));
}

template <class T>
static inline void direct_grad_input(const Conv2dShape& s, const T* gy, const T* w, T* gx, Context& context) {
  for (int64_t a = 0; a < min64(s.stride_h, s.h); ++a)
    for (int64_t b = 0; b < min64(s.stride_w, s.w); ++b) {
      const PhaseTaps v(a, s.h, s.r, s.stride_h, s.pad_top, s.dilation_h);
      const PhaseTaps u(b, s.w, s.s, s.stride_w, s.pad_left, s.dilation_w);
      T* out = gx + (a * s.w + b) * s.c;
      if (v.count * u.count * s.k * s.p * s.q == 0) {
        clear_phase(s, v, u, out);
        continue;
      }
      const DirectShape d = phase_shape(s, v, u);
      T* packed = static_cast<T*>(thread_scratch(0, d.packed_size() * sizeof(T)));
      pack_phase(s, d, v, u, w, packed, context);
      DirectConv<T>(d, gy, packed, nullptr, out).compute(context);
    }
}

static inline DirectShape forward_shape(const Conv2dShape& s) {
  return {s.n,
          s.h,
          s.w,
          s.c,
          s.groups,
          s.c / s.groups,
          s.k / s.groups,
          s.r,
          s.s,
          s.stride_h,
          s.stride_w,
          s.dilation_h,
          s.dilation_w,
          s.pad_top,
          s.pad_left,
          s.p,
          s.q,
          s.p * s.q * s.k,
          s.q * s.k,
          s.k,
          s.activation};
}

template <class T>
static inline void direct_forward(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y, Context& context) {
  const DirectShape d = forward_shape(s);
  T* packed = static_cast<T*>(thread_scratch(0, d.packed_size() * sizeof(T)));
  pack_filters(d, w, packed, context);
  DirectConv<T>(d, x, packed, bias, y).compute(context);
}

}  // namespace dc::DC_ISA
