// Depthwise convolution: one input channel per group, k = c * m; output channel k reads input channel k / m.
//   y[n, p, q, k] = sum_{r, s} x[n, .., .., k / m] w[k, r, s]
// Lanes run over k; the filters are laid out as [r][s][k]. For m > 1 a band of x is spread to k channels when it is
// copied, and the gradient of x gathers its m terms again. Forward and gradient of the input hold a few pixels of a row
// in registers over all taps; the gradient of the filters holds the taps of a filter row over a band of pixels.
// Tasks are (image, band of rows), the sums of gw over a number of parts fixed by the size, added in order.
// Bound by loads: one per FMA.
#pragma once
#include "cpu/conv_direct.h"

namespace dc::DC_ISA {

static inline bool is_depthwise(const Conv2dShape& s) { return s.groups > 1 && s.c == s.groups; }

// A band of the padded image, every channel `times` times.
template <class T>
static inline Block<T> spread_block(const Padding& padding, const T* image, int64_t row0, int64_t rows, int64_t columns,
                                    int64_t times) {
  const int64_t size = rows * columns * padding.channels;
  const bool need = padding.copy || times > 1;
  T* scratch = need ? static_cast<T*>(thread_scratch(1, size * (times > 1 ? times + 1 : 1) * sizeof(T))) : nullptr;
  const Block<T> block = padding.block(image, row0, rows, columns, scratch);
  if (times == 1) return block;
  T* out = scratch + size;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      const T* in = block.data + i * block.row + j * block.pixel;
      for (int64_t c = 0; c < padding.channels; ++c)
        for (int64_t t = 0; t < times; ++t) *out++ = in[c];
    }
  return {scratch + size, columns * padding.channels * times, padding.channels * times};
}

// PX pixels by one register of channels.
template <class T, int PX>
static DC_INLINE void depthwise_pixels(const T* x, int64_t tap_row, int64_t tap, int64_t step, int64_t r, int64_t s,
                                       const T* w, int64_t channels, int count, const T* bias, bool relu, T* y,
                                       int64_t y_pixel) {
  Vec<T> acc[PX];
#pragma GCC unroll 8
  for (int i = 0; i < PX; ++i) acc[i] = bias ? Vec<T>::load_n(bias, count) : Vec<T>::zero();
  if (count == Vec<T>::W) {
    for (int64_t u = 0; u < r; ++u)
      for (int64_t v = 0; v < s; ++v) {
        const Vec<T> f = Vec<T>::load(w + (u * s + v) * channels);
        const T* in = x + u * tap_row + v * tap;
#pragma GCC unroll 8
        for (int i = 0; i < PX; ++i) acc[i] = fma(Vec<T>::load(in + i * step), f, acc[i]);
      }
  } else {
    for (int64_t u = 0; u < r; ++u)
      for (int64_t v = 0; v < s; ++v) {
        const Vec<T> f = Vec<T>::load_n(w + (u * s + v) * channels, count);
        const T* in = x + u * tap_row + v * tap;
#pragma GCC unroll 8
        for (int i = 0; i < PX; ++i) acc[i] = fma(Vec<T>::load_n(in + i * step, count), f, acc[i]);
      }
  }
#pragma GCC unroll 8
  for (int i = 0; i < PX; ++i) (relu ? max(Vec<T>::zero(), acc[i]) : acc[i]).store_n(y + i * y_pixel, count);
}

// d.reduce == 1 and d.outputs == 1: groups are channels. gather > 1: y has d.groups / gather channels, each the sum of
// `gather` neighbours; times > 1: x has d.groups / times channels.
template <class T>
static inline void depthwise_conv(const DirectShape& d, int64_t times, int64_t gather, const T* x, const T* w,
                                  const T* bias, T* y, Context& context) {
  const int64_t channels = d.groups;
  const Padding padding(d.h, d.w, d.c, d.pad_top, d.pad_left, d.rows(d.p), d.columns(), d.stride_w, sizeof(T), false);
  int64_t bands = ceil_div(d.rows(d.p) * d.columns() * channels, kBandElements);
  const int64_t work = d.p * d.q * d.r * d.s * channels;
  bands = max64(1, min64(d.p, max64(bands, min64(ceil_div(16, d.n), work >> 17))));
  const bool relu = d.activation == Activation::relu && gather == 1;
  parallel_for(context, d.n * bands, max64(1, (1 << 16) * bands / max64(1, work)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t image = t / bands, p0 = d.p * (t % bands) / bands, p1 = d.p * (t % bands + 1) / bands;
      if (p0 == p1) continue;
      const Block<T> block =
          spread_block(padding, x + image * d.h * d.w * d.c, p0 * d.stride_h, d.rows(p1 - p0), d.columns(), times);
      T* row = gather > 1 ? static_cast<T*>(thread_scratch(2, d.q * channels * sizeof(T))) : nullptr;
      for (int64_t p = p0; p < p1; ++p) {
        T* target = y + image * d.y_image + p * d.y_row;
        T* out = row ? row : target;
        const int64_t y_pixel = row ? channels : d.y_pixel, step = d.stride_w * block.pixel;
        for_vectors<T>(channels, [&](int64_t c, int count) {
          const T* in = block.data + (p - p0) * d.stride_h * block.row + c;
          const auto pixels = [&]<int PX>(int64_t q) {
            depthwise_pixels<T, PX>(in + q * step, d.dilation_h * block.row, d.dilation_w * block.pixel, step, d.r, d.s,
                                    w + c, channels, count, bias ? bias + c : nullptr, relu, out + q * y_pixel + c,
                                    y_pixel);
          };
          int64_t q = 0;
          for (; q + 8 <= d.q; q += 8) pixels.template operator()<8>(q);
          if (q + 4 <= d.q) pixels.template operator()<4>(q), q += 4;
          for (; q < d.q; ++q) pixels.template operator()<1>(q);
        });
        if (row)
          for (int64_t q = 0; q < d.q; ++q)
            for (int64_t c = 0; c < channels / gather; ++c) {
              T sum = row[q * channels + c * gather];
              for (int64_t j = 1; j < gather; ++j) sum = sum + row[q * channels + c * gather + j];
              target[q * d.y_pixel + c] = sum;
            }
        else if (!relu)
          activate_rows(target, d.q, d.y_pixel, channels, d.activation);
      }
    }
  });
}

template <class T>
static inline void depthwise_forward(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y,
                                     Context& context) {
  DirectShape d = forward_shape(s);
  const int64_t times = s.k / s.c, taps = s.r * s.s;
  d.groups = s.k, d.reduce = d.outputs = 1;
  T* filters = static_cast<T*>(thread_scratch(0, taps * s.k * sizeof(T)));
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t t = 0; t < taps; ++t) filters[t * s.k + k] = w[k * taps + t];
  depthwise_conv(d, times, 1, x, filters, bias, y, context);
}

template <class T>
static inline void depthwise_grad_input(const Conv2dShape& s, const T* gy, const T* w, T* gx, Context& context) {
  const int64_t times = s.k / s.c, taps = s.r * s.s;
  for (int64_t a = 0; a < min64(s.stride_h, s.h); ++a)
    for (int64_t b = 0; b < min64(s.stride_w, s.w); ++b) {
      const PhaseTaps v(a, s.h, s.r, s.stride_h, s.pad_top, s.dilation_h);
      const PhaseTaps u(b, s.w, s.s, s.stride_w, s.pad_left, s.dilation_w);
      T* out = gx + (a * s.w + b) * s.c;
      if (v.count * u.count * s.k * s.p * s.q == 0) {
        clear_phase(s, v, u, out);
        continue;
      }
      DirectShape d = phase_shape(s, v, u);
      d.groups = s.k, d.reduce = d.outputs = 1;
      T* filters = static_cast<T*>(thread_scratch(0, v.count * u.count * s.k * sizeof(T)));
      for (int64_t y = 0; y < v.count; ++y)
        for (int64_t x = 0; x < u.count; ++x) {
          const int64_t r = v.first + (v.count - 1 - y) * v.step, c = u.first + (u.count - 1 - x) * u.step;
          for (int64_t k = 0; k < s.k; ++k) filters[(y * u.count + x) * s.k + k] = w[k * taps + r * s.s + c];
        }
      depthwise_conv(d, 1, times, gy, filters, static_cast<const T*>(nullptr), out, context);
    }
}

// acc[v] += gy x over a band, for TAPS neighbouring taps of one filter row.
template <class T, int TAPS>
static DC_INLINE void depthwise_taps(const T* x, int64_t x_row, int64_t x_step, int64_t tap, const T* gy,
                                     int64_t gy_row, int64_t gy_pixel, int64_t rows, int64_t q, int count, T* sums,
                                     int64_t channels) {
  Vec<T> acc[TAPS][2];
#pragma GCC unroll 4
  for (int v = 0; v < TAPS; ++v) acc[v][0] = Vec<T>::load_n(sums + v * channels, count), acc[v][1] = Vec<T>::zero();
  for (int64_t p = 0; p < rows; ++p) {
    const T* in = x + p * x_row;
    const T* g = gy + p * gy_row;
    int64_t j = 0;
    if (count == Vec<T>::W)
      for (; j + 2 <= q; j += 2, in += 2 * x_step, g += 2 * gy_pixel) {
        const Vec<T> g0 = Vec<T>::load(g), g1 = Vec<T>::load(g + gy_pixel);
#pragma GCC unroll 4
        for (int v = 0; v < TAPS; ++v) {
          acc[v][0] = fma(Vec<T>::load(in + v * tap), g0, acc[v][0]);
          acc[v][1] = fma(Vec<T>::load(in + x_step + v * tap), g1, acc[v][1]);
        }
      }
    for (; j < q; ++j, in += x_step, g += gy_pixel) {
      const Vec<T> g0 = Vec<T>::load_n(g, count);
#pragma GCC unroll 4
      for (int v = 0; v < TAPS; ++v) acc[v][0] = fma(Vec<T>::load_n(in + v * tap, count), g0, acc[v][0]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < TAPS; ++v) (acc[v][0] + acc[v][1]).store_n(sums + v * channels, count);
}

template <class T>
static inline void depthwise_grad_weight(const Conv2dShape& s, const T* x, const T* gy, T* gw, Context& context) {
  const int64_t times = s.k / s.c, taps = s.r * s.s, size = taps * s.k;
  const DirectShape d = forward_shape(s);
  if (s.n * s.p * s.q == 0) {
    memset(gw, 0, size * sizeof(T));
    return;
  }
  const Padding padding(s.h, s.w, s.c, s.pad_top, s.pad_left, d.rows(s.p), d.columns(), s.stride_w, sizeof(T), false);
  const int64_t work = s.n * s.p * s.q * size;
  const int64_t bands = max64(1, min64(s.p, ceil_div((d.rows(s.p) * d.columns() + s.p * s.q) * s.k, kBandElements)));
  const int64_t parts = max64(1, min64(min64(16, s.n * bands), work >> 17));
  T* sums = static_cast<T*>(thread_scratch(0, parts * size * sizeof(T)));
  parallel_for(context, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      T* own = sums + part * size;
      memset(own, 0, size * sizeof(T));
      for (int64_t t = s.n * bands * part / parts; t < s.n * bands * (part + 1) / parts; ++t) {
        const int64_t image = t / bands, p0 = s.p * (t % bands) / bands, p1 = s.p * (t % bands + 1) / bands;
        if (p0 == p1) continue;
        const Block<T> block =
            spread_block(padding, x + image * s.h * s.w * s.c, p0 * s.stride_h, d.rows(p1 - p0), d.columns(), times);
        const T* g = gy + (image * s.p + p0) * s.q * s.k;
        for_vectors<T>(s.k, [&](int64_t k, int count) {
          for (int64_t r = 0; r < s.r; ++r) {
            const auto some = [&]<int TAPS>(int64_t v) {
              depthwise_taps<T, TAPS>(block.data + r * s.dilation_h * block.row + v * s.dilation_w * block.pixel + k,
                                      s.stride_h * block.row, s.stride_w * block.pixel, s.dilation_w * block.pixel,
                                      g + k, s.q * s.k, s.k, p1 - p0, s.q, count, own + (r * s.s + v) * s.k + k, s.k);
            };
            int64_t v = 0;
            for (; v + 3 <= s.s; v += 3) some.template operator()<3>(v);
            if (v + 2 <= s.s) some.template operator()<2>(v), v += 2;
            if (v < s.s) some.template operator()<1>(v);
          }
        });
      }
    }
  });
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t t = 0; t < taps; ++t) {
      T sum = sums[t * s.k + k];
      for (int64_t part = 1; part < parts; ++part) sum = sum + sums[part * size + t * s.k + k];
      gw[k * taps + t] = sum;
    }
}

}  // namespace dc::DC_ISA
