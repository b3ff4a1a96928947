// Resizing, grid sampling and augmentation, NHWC; formulas in kernels/image.h.
// Resizing is separable: a table per axis holds, for each output position, one or two source positions with weights,
// and, for the gradient, for each source position the outputs that read it. Gradients are gathers through the second
// table, in order, hence deterministic. The gradient of grid_sample scatters, image by image.
// Lanes run over channels; split by rows (resize) or images. Bound: memory bandwidth (resize), latency of the
// scattered reads (grid_sample, warps).
#include "kernels/image.h"

#include "core/parallel.h"
#include "core/philox.h"
#include "cpu/simd/vec_int.h"

namespace dc::DC_ISA {

namespace {

int64_t grain(int64_t elements_each) { return 32768 / (elements_each + 1) + 1; }

// ---- resize ----

template <class T>
struct Tap {
  int64_t at;
  T weight;
};

template <class T>
struct Pair {
  Tap<T> tap[2];
  int count;
};

template <class T>
Pair<T> source_of(Resize mode, int64_t o, int64_t in, int64_t out) {
  if (mode == Resize::nearest) return {{{o * in / out, T(1)}, {0, T(0)}}, 1};
  double z;
  if (mode == Resize::bilinear_corners)
    z = out > 1 ? static_cast<double>(o) * static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0.0;
  else
    z = (static_cast<double>(o) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
  z = scalar_min(scalar_max(z, 0.0), static_cast<double>(in - 1));
  const int64_t low = static_cast<int64_t>(z);
  const double part = z - static_cast<double>(low);
  // One tap where the point lies on a pixel: a NaN next to it stays where it is.
  if (part == 0.0 || low + 1 >= in) return {{{low, T(1)}, {0, T(0)}}, 1};
  return {{{low, static_cast<T>(1.0 - part)}, {low + 1, static_cast<T>(part)}}, 2};
}

// pairs[o] for outputs; readers[start[i]] .. readers[start[i + 1]] for source position i.
template <class T>
struct ResizeAxis {
  Pair<T>* pairs;
  Tap<T>* readers;
  int64_t* start;

  ResizeAxis(Resize mode, int64_t in, int64_t out, int slot) {
    const size_t pair_bytes = static_cast<size_t>(out) * sizeof(Pair<T>),
                 reader_bytes = static_cast<size_t>(2 * out) * sizeof(Tap<T>);
    char* memory = static_cast<char*>(
        thread_scratch(slot, pair_bytes + reader_bytes + static_cast<size_t>(in + 2) * sizeof(int64_t)));
    pairs = reinterpret_cast<Pair<T>*>(memory);
    readers = reinterpret_cast<Tap<T>*>(memory + pair_bytes);
    start = reinterpret_cast<int64_t*>(memory + pair_bytes + reader_bytes);
    for (int64_t i = 0; i < in + 2; ++i) start[i] = 0;
    for (int64_t o = 0; o < out; ++o) {
      pairs[o] = source_of<T>(mode, o, in, out);
      for (int k = 0; k < pairs[o].count; ++k) ++start[pairs[o].tap[k].at + 2];
    }
    for (int64_t i = 0; i < in; ++i) start[i + 2] += start[i + 1];
    for (int64_t o = 0; o < out; ++o)
      for (int k = 0; k < pairs[o].count; ++k) readers[start[pairs[o].tap[k].at + 1]++] = {o, pairs[o].tap[k].weight};
  }
};

template <class T>
void resize(const ResizeShape& s, const T* x, T* y, Context& context) {
  const ResizeAxis<T> rows(s.mode, s.h, s.p, 3), columns(s.mode, s.w, s.q, 4);
  parallel_for(context, s.n * s.p, grain(s.q * s.c * 2), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Pair<T> r = rows.pairs[row % s.p];
      const T* image = x + row / s.p * s.h * s.w * s.c;
      for (int64_t q = 0; q < s.q; ++q) {
        const Pair<T> column = columns.pairs[q];
        T* to = y + (row * s.q + q) * s.c;
        for_vectors<T>(s.c, [&](int64_t k, int m) {
          Vec<T> sum = Vec<T>::zero();
          for (int i = 0; i < r.count; ++i) {
            const T* line = image + r.tap[i].at * s.w * s.c + k;
            Vec<T> part = load_any(line + column.tap[0].at * s.c, m);
            if (column.count == 2)
              part = fma(load_any(line + column.tap[1].at * s.c, m), Vec<T>::set(column.tap[1].weight),
                         part * Vec<T>::set(column.tap[0].weight));
            sum = r.count == 1 ? part : fma(part, Vec<T>::set(r.tap[i].weight), sum);
          }
          store_any(to + k, sum, m);
        });
      }
    }
  });
}

template <class T>
void resize_grad(const ResizeShape& s, const T* g, T* gx, Context& context) {
  const ResizeAxis<T> rows(s.mode, s.h, s.p, 3), columns(s.mode, s.w, s.q, 4);
  parallel_for(context, s.n * s.h, grain(s.w * s.c * 4), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t h = row % s.h;
      const T* image = g + row / s.h * s.p * s.q * s.c;
      for (int64_t w = 0; w < s.w; ++w) {
        T* to = gx + (row * s.w + w) * s.c;
        for_vectors<T>(s.c, [&](int64_t k, int m) {
          Vec<T> sum = Vec<T>::zero();
          for (int64_t i = rows.start[h]; i < rows.start[h + 1]; ++i) {
            const T* line = image + rows.readers[i].at * s.q * s.c + k;
            Vec<T> part = Vec<T>::zero();
            for (int64_t j = columns.start[w]; j < columns.start[w + 1]; ++j)
              part = fma(load_any(line + columns.readers[j].at * s.c, m), Vec<T>::set(columns.readers[j].weight), part);
            sum = fma(part, Vec<T>::set(rows.readers[i].weight), sum);
          }
          store_any(to + k, sum, m);
        });
      }
    }
  });
}

// ---- grid sample ----

// The two taps of one coordinate, their weights, and d position / d coordinate (0 where clamping cut it).
template <class T>
struct Point {
  int64_t at[2];
  bool inside[2];
  T weight[2];
  T slope;
};

template <class T>
Point<T> point_of(T u, int64_t size, bool border, bool align_corners) {
  const T span = static_cast<T>(align_corners ? size - 1 : size) * T(0.5);
  T z = (u + T(1)) * span - (align_corners ? T(0) : T(0.5)), slope = span;
  const T most = static_cast<T>(size - 1);
  if (border) {
    if (!(z > T(0))) z = T(0), slope = T(0);  // NaN too
    if (z > most) z = most, slope = T(0);
  }
  // Far outside, or NaN: no taps; this also keeps the conversion to an integer defined.
  if (!(z > T(-1) && z < static_cast<T>(size))) return {{0, 0}, {false, false}, {T(0), T(0)}, T(0)};
  const T low = static_cast<T>(::floor(static_cast<double>(z)));
  const int64_t i = static_cast<int64_t>(low);
  return {{i, i + 1}, {i >= 0, i + 1 < size}, {T(1) - (z - low), z - low}, slope};
}

template <class T>
void grid_sample(const GridSampleShape& s, const T* x, const T* grid, T* y, Context& context) {
  parallel_for(context, s.n * s.p, grain(s.q * s.c * 4), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* image = x + row / s.p * s.h * s.w * s.c;
      for (int64_t q = 0; q < s.q; ++q) {
        const T* uv = grid + (row * s.q + q) * 2;
        const Point<T> column = point_of(uv[0], s.w, s.border, s.align_corners),
                       line = point_of(uv[1], s.h, s.border, s.align_corners);
        T* to = y + (row * s.q + q) * s.c;
        for_vectors<T>(s.c, [&](int64_t k, int m) {
          Vec<T> sum = Vec<T>::zero();
          for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 2; ++j)
              if (line.inside[i] && column.inside[j])
                sum = fma(load_any(image + (line.at[i] * s.w + column.at[j]) * s.c + k, m),
                          Vec<T>::set(line.weight[i] * column.weight[j]), sum);
          store_any(to + k, sum, m);
        });
      }
    }
  });
}

template <class T>
void grid_sample_grad(const GridSampleShape& s, const T* x, const T* grid, const T* g, T* gx, T* ggrid,
                      Context& context) {
  parallel_for(context, s.n, grain((s.p * s.q * 4 + s.h * s.w) * s.c), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* image = x + n * s.h * s.w * s.c;
      T* to = gx ? gx + n * s.h * s.w * s.c : nullptr;
      if (to) ::memset(to, 0, static_cast<size_t>(s.h * s.w * s.c) * sizeof(T));
      for (int64_t o = n * s.p * s.q; o < (n + 1) * s.p * s.q; ++o) {
        const T *uv = grid + o * 2, *from = g + o * s.c;
        const Point<T> column = point_of(uv[0], s.w, s.border, s.align_corners),
                       line = point_of(uv[1], s.h, s.border, s.align_corners);
        T du = T(0), dv = T(0);
        for (int i = 0; i < 2; ++i)
          for (int j = 0; j < 2; ++j) {
            if (!line.inside[i] || !column.inside[j]) continue;
            const int64_t at = (line.at[i] * s.w + column.at[j]) * s.c;
            const Vec<T> weight = Vec<T>::set(line.weight[i] * column.weight[j]);
            Vec<T> dot = Vec<T>::zero();
            for_vectors<T>(s.c, [&](int64_t k, int m) {
              const Vec<T> gv = load_any(from + k, m);
              if (to) store_any(to + at + k, fma(gv, weight, load_any(to + at + k, m)), m);
              if (ggrid) dot = fma(gv, load_any(image + at + k, m), dot);
            });
            if (!ggrid) continue;
            const T total = dot.sum();
            du += (j ? total : -total) * line.weight[i];
            dv += (i ? total : -total) * column.weight[j];
          }
        if (ggrid) {
          ggrid[o * 2] = du * column.slope;
          ggrid[o * 2 + 1] = dv * line.slope;
        }
      }
    }
  });
}

// ---- augmentation ----

struct Draw {
  int64_t top, left;  // of the crop, in the image
  bool flip, warp;
  double a, b, c, d, row, column;  // source = (a, b; c, d) (row - centre, column - centre) + (row, column)
  int64_t cut_row, cut_column;
};

int64_t whole(uint32_t bits, int64_t count) {
  return static_cast<int64_t>(static_cast<uint64_t>(bits) * static_cast<uint64_t>(count) >> 32);
}
double both_ways(uint32_t bits) { return static_cast<double>(bits) * 0x1p-31 - 1.0; }

Draw draw(const AugmentShape& s, uint64_t id) {
  const PhiloxBlock one = philox(s.seed, s.stream, 2 * id), two = philox(s.seed, s.stream, 2 * id + 1);
  Draw r;
  const int64_t down = whole(one.word[0], 2 * s.shift_h + 1) - s.shift_h,
                right = whole(one.word[1], 2 * s.shift_w + 1) - s.shift_w;
  r.top = (s.h - s.p) / 2 + down;
  r.left = (s.w - s.q) / 2 + right;
  r.flip = unit_float(one.word[2]) < s.flip;
  r.warp = s.rotate != 0 || s.scale != 0 || s.shear != 0;
  const double angle = both_ways(one.word[3]) * static_cast<double>(s.rotate);
  const double factor = 1.0 / (1.0 + both_ways(two.word[0]) * static_cast<double>(s.scale));
  const double shear = both_ways(two.word[1]) * static_cast<double>(s.shear);
  const double cosine = ::cos(angle) * factor, sine = ::sin(angle) * factor;
  r.a = cosine, r.b = sine;
  r.c = shear * cosine - sine, r.d = shear * sine + cosine;
  // Continuous shifts for warps: the fraction comes from the same words.
  r.row = static_cast<double>(s.h - 1) * 0.5 + both_ways(one.word[0]) * static_cast<double>(s.shift_h);
  r.column = static_cast<double>(s.w - 1) * 0.5 + both_ways(one.word[1]) * static_cast<double>(s.shift_w);
  r.cut_row = whole(two.word[2], s.p) - s.cut / 2;
  r.cut_column = whole(two.word[3], s.q) - s.cut / 2;
  return r;
}

// Raw values of output row p into line (q, c).
template <class T, class In>
void warped_line(const AugmentShape& s, const Draw& r, const In* image, int64_t p, T* line) {
  const double down = static_cast<double>(p) - static_cast<double>(s.p - 1) * 0.5;
  const T fill = static_cast<T>(s.fill);
  for (int64_t q = 0; q < s.q; ++q) {
    const double right = static_cast<double>(q) - static_cast<double>(s.q - 1) * 0.5;
    const double row = r.a * down + r.b * right + r.row, column = r.c * down + r.d * right + r.column;
    T* to = line + q * s.c;
    if (!(row > -1 && column > -1 && row < static_cast<double>(s.h) && column < static_cast<double>(s.w))) {
      for (int64_t k = 0; k < s.c; ++k) to[k] = fill;
      continue;
    }
    const double row_low = ::floor(row), column_low = ::floor(column);
    const int64_t i = static_cast<int64_t>(row_low), j = static_cast<int64_t>(column_low);
    const T v = static_cast<T>(row - row_low), u = static_cast<T>(column - column_low);
    const bool top = i >= 0, bottom = i + 1 < s.h, left = j >= 0, right_in = j + 1 < s.w;
    const In* at = image + (i * s.w + j) * s.c;
    for (int64_t k = 0; k < s.c; ++k) {
      const T a = top && left ? static_cast<T>(at[k]) : fill, b = top && right_in ? static_cast<T>(at[k + s.c]) : fill;
      const T c = bottom && left ? static_cast<T>(at[k + s.w * s.c]) : fill;
      const T d = bottom && right_in ? static_cast<T>(at[k + (s.w + 1) * s.c]) : fill;
      const T upper = a + u * (b - a), lower = c + u * (d - c);
      to[k] = upper + v * (lower - upper);
    }
  }
}

template <class T, class In>
void shifted_line(const AugmentShape& s, const Draw& r, const In* image, int64_t p, T* line) {
  const int64_t h = r.top + p;
  const T fill = static_cast<T>(s.fill);
  int64_t first = scalar_min(scalar_max<int64_t>(-r.left, 0), s.q), last = scalar_min(s.w - r.left, s.q);
  if (h < 0 || h >= s.h || last < first) first = last = 0;
  for (int64_t k = 0; k < first * s.c; ++k) line[k] = fill;
  const In* from = image + (h * s.w + r.left) * s.c;
  for (int64_t k = first * s.c; k < last * s.c; ++k) line[k] = static_cast<T>(from[k]);
  for (int64_t k = last * s.c; k < s.q * s.c; ++k) line[k] = fill;
}

template <class T>
void mirror(T* line, int64_t q, int64_t c) {
  for (int64_t i = 0, j = q - 1; i < j; ++i, --j)
    for (int64_t k = 0; k < c; ++k) {
      const T held = line[i * c + k];
      line[i * c + k] = line[j * c + k];
      line[j * c + k] = held;
    }
}

template <class T, class In>
void augment(const AugmentShape& s, const In* x, const int64_t* rows, const int64_t* ids, const T* gain, const T* bias,
             T* y, Context& context) {
  const int64_t width = s.q * s.c;
  // Gain and bias of one line, so that normalising is a product of plain vectors for any number of channels.
  T* gains = static_cast<T*>(thread_scratch(3, static_cast<size_t>(2 * width) * sizeof(T)));
  T* biases = gains + width;
  for (int64_t k = 0; k < width; ++k) gains[k] = gain[k % s.c], biases[k] = bias[k % s.c];
  parallel_for(context, s.n, grain(s.p * width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Draw r = draw(s, static_cast<uint64_t>(ids ? ids[i] : rows[i]));
      const In* image = x + rows[i] * s.h * s.w * s.c;
      for (int64_t p = 0; p < s.p; ++p) {
        T* line = y + (i * s.p + p) * width;
        if (r.warp)
          warped_line(s, r, image, p, line);
        else
          shifted_line(s, r, image, p, line);
        if (r.flip) mirror(line, s.q, s.c);
        if (s.cut > 0 && p >= r.cut_row && p < r.cut_row + s.cut) {
          const int64_t first = scalar_max<int64_t>(r.cut_column, 0), last = scalar_min(r.cut_column + s.cut, s.q);
          for (int64_t k = first * s.c; k < last * s.c; ++k) line[k] = static_cast<T>(s.fill);
        }
        for_vectors<T>(width, [&](int64_t k, int m) {
          store_any(line + k, fma(load_any(line + k, m), load_any(gains + k, m), load_any(biases + k, m)), m);
        });
      }
    }
  });
}

template <class T>
void mixup(int64_t rows, int64_t size, const T* weight, const int64_t* partner, const T* x, T* y, Context& context) {
  parallel_for(context, rows, grain(size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *own = x + i * size, *other = x + partner[i] * size;
      const Vec<T> a = Vec<T>::set(weight[i]), b = Vec<T>::set(T(1) - weight[i]);
      for_vectors<T>(size, [&](int64_t k, int m) {
        store_any(y + i * size + k, fma(a, load_any(own + k, m), b * load_any(other + k, m)), m);
      });
    }
  });
}

}  // namespace

extern const ImageKernels<float> image_f32;
const ImageKernels<float> image_f32 = {
    resize<float>,         resize_grad<float>,      grid_sample<float>, grid_sample_grad<float>,
    augment<float, float>, augment<float, uint8_t>, mixup<float>};
#ifdef DC_ISA_SCALAR
extern const ImageKernels<double> image_f64;
const ImageKernels<double> image_f64 = {
    resize<double>,          resize_grad<double>,      grid_sample<double>, grid_sample_grad<double>,
    augment<double, double>, augment<double, uint8_t>, mixup<double>};
#endif

}  // namespace dc::DC_ISA
