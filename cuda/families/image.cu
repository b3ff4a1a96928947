// Resizing and mixing of images, NHWC; kernels/image.h has the formulas.
// Output o of an axis reads position (start + o step) / scale, all whole numbers: its pixel is a quotient and the
// weight of the next one the rest (float64 rounds the position first, as the CPU does). The gradient is a gather: the
// outputs that may read a pixel are a range that follows from the same numbers, and each is asked in order what it
// took. Split: a thread per pixel and channel of the result, or per four channels of float32. Bound: memory.
#include "families/families.h"
#include "families/image.cuh"
#include "families/lane.cuh"
#include "families/pack.cuh"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;

// Pixel `at` with weight `low`, and the next one with weight `high` if that is not 0.
template <class T>
struct Taps {
  long long at;
  T low, high;
};

template <class T>
struct ResizeAxis {
  long long in, out, start, step;
  Divisor by_scale, by_step;
  T unit;  // 1 / scale
  bool nearest, corners;

  DC_DEVICE Taps<T> taps_of(long long o) const {
    const long long position = start + o * step;
    if (position <= 0) return {0, T(1), T(0)};
    const long long low = by_scale.of(position), rest = position - low * by_scale.size;
    if (low >= in - 1) return {in - 1, T(1), T(0)};
    if (nearest || rest == 0) return {low, T(1), T(0)};
    if constexpr (sizeof(T) == 8) {
      const T z = corners ? static_cast<T>(position) / static_cast<T>(by_scale.size)
                          : (static_cast<T>(o) + T(0.5)) * static_cast<T>(in) / static_cast<T>(out) - T(0.5);
      const T high = z - static_cast<T>(low);
      return {low, T(1) - high, high};
    }
    return {low, static_cast<T>(by_scale.size - rest) * unit, static_cast<T>(rest) * unit};
  }
  // What output o took of pixel i.
  DC_DEVICE T weight(long long o, long long i) const {
    const Taps<T> taps = taps_of(o);
    return taps.at == i ? taps.low : taps.at + 1 == i ? taps.high : T(0);
  }
  // Outputs [first_reader, last_reader) lie less than a pixel from i.
  DC_DEVICE long long first_reader(long long i) const {
    const long long room = (nearest ? i : i - 1) * by_scale.size - start;
    if (room < 0 || step == 0) return 0;
    return nearest ? by_step.of(room + step - 1) : by_step.of(room) + 1;
  }
  DC_DEVICE long long last_reader(long long i) const {
    if (step == 0) return out;
    const long long room = (i + 1) * by_scale.size - start;
    const long long end = room <= 0 ? 0 : by_step.of(room + step - 1);
    return end < out ? end : out;
  }
};

template <class T>
ResizeAxis<T> axis_of(Resize mode, int64_t in, int64_t out) {
  int64_t start = 0, step = in, scale = out;
  if (mode == Resize::bilinear) start = in - out, step = 2 * in, scale = 2 * out;
  if (mode == Resize::bilinear_corners) step = out > 1 ? in - 1 : 0, scale = out > 1 ? out - 1 : 1;
  return {in,
          out,
          start,
          step,
          Divisor(scale),
          Divisor(step),
          static_cast<T>(1.0 / static_cast<double>(scale)),
          mode == Resize::nearest,
          mode == Resize::bilinear_corners};
}

template <class T>
struct Resizing {
  ResizeAxis<T> rows, columns;
  Divisor by_packs, by_w, by_h, by_q, by_p;
  long long c;
};
template <class T>
Resizing<T> resizing_of(const ResizeShape& s, int width) {
  return {axis_of<T>(s.mode, s.h, s.p),
          axis_of<T>(s.mode, s.w, s.q),
          Divisor(s.c / width),
          Divisor(s.w),
          Divisor(s.h),
          Divisor(s.q),
          Divisor(s.p),
          s.c};
}

template <class T>
DC_DEVICE T multiply_add(T a, T b, T c) {
  return fma(Lane<T>{a}, Lane<T>{b}, Lane<T>{c}).value;
}

template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    resize_kernel(Resizing<T> s, const T* DC_RESTRICT x, T* DC_RESTRICT y, long long all) {
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long n = place;
    const long long channel = s.by_packs.peel(n) * kWidth, q = s.by_q.peel(n), p = s.by_p.peel(n);
    const Taps<T> row = s.rows.taps_of(p), column = s.columns.taps_of(q);
    const T* from = x + ((n * s.rows.in + row.at) * s.columns.in + column.at) * s.c + channel;
    // A tap that takes no part is the first one again: a NaN next to the point stays where it is.
    const long long right = column.high == T(0) ? 0 : s.c, below = row.high == T(0) ? 0 : s.columns.in * s.c;
    const auto a = load_pack<T, kWidth>(from), b = load_pack<T, kWidth>(from + right);
    const auto c = load_pack<T, kWidth>(from + below), d = load_pack<T, kWidth>(from + below + right);
    Pack<T, kWidth> result;
    DC_UNROLL
    for (int e = 0; e < kWidth; ++e) {
      const T upper = right ? multiply_add(b.of[e], column.high, a.of[e] * column.low) : a.of[e];
      const T lower = right ? multiply_add(d.of[e], column.high, c.of[e] * column.low) : c.of[e];
      result.of[e] = below ? multiply_add(lower, row.high, upper * row.low) : upper;
    }
    store_pack<T, kWidth>(y + place * kWidth, result);
  }
}

template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, sizeof(T) == 4 ? 4 : 2)
    resize_grad_kernel(Resizing<T> s, const T* DC_RESTRICT g, T* DC_RESTRICT gx, long long all) {
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long n = place;
    const long long channel = s.by_packs.peel(n) * kWidth, w = s.by_w.peel(n), h = s.by_h.peel(n);
    const long long q_begin = s.columns.first_reader(w), q_end = s.columns.last_reader(w);
    const long long p_end = s.rows.last_reader(h);
    Pack<T, kWidth> sum = pack_of<T, kWidth>(T(0));
    for (long long p = s.rows.first_reader(h); p < p_end; ++p) {
      const T row = s.rows.weight(p, h);
      if (row == T(0)) continue;
      const T* line = g + (n * s.rows.out + p) * s.columns.out * s.c + channel;
      for (long long q = q_begin; q < q_end; ++q) {
        const T weight = s.columns.weight(q, w) * row;
        if (weight == T(0)) continue;
        const auto v = load_pack<T, kWidth>(line + q * s.c);
        DC_UNROLL
        for (int e = 0; e < kWidth; ++e) sum.of[e] = multiply_add(v.of[e], weight, sum.of[e]);
      }
    }
    store_pack<T, kWidth>(gx + place * kWidth, sum);
  }
}

template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    mixup_kernel(const T* DC_RESTRICT weight, const int64_t* DC_RESTRICT partner, const T* DC_RESTRICT x,
                 T* DC_RESTRICT y, Divisor by_packs, long long all) {
  const long long size = by_packs.size * kWidth;
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long row = place;
    const long long k = by_packs.peel(row) * kWidth;
    const T a = weight[row], b = T(1) - a;
    const auto own = load_pack<T, kWidth>(x + place * kWidth);
    const auto other = load_pack<T, kWidth>(x + partner[row] * size + k);
    Pack<T, kWidth> result;
    DC_UNROLL
    for (int e = 0; e < kWidth; ++e) result.of[e] = multiply_add(a, own.of[e], b * other.of[e]);
    store_pack<T, kWidth>(y + place * kWidth, result);
  }
}

template <class T>
void resize(const ResizeShape& s, const T* x, T* y, Context& context) {
  const long long all = s.n * s.p * s.q * s.c;
  if constexpr (sizeof(T) == 4) {
    if (four_at_a_time<T>(s.c, x, y))
      return run("resize", context, resize_kernel<T, 4>, dim3(blocks_for(all / 4, kThreads)), dim3(kThreads), 0,
                 resizing_of<T>(s, 4), x, y, all / 4);
  }
  run("resize", context, resize_kernel<T, 1>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, resizing_of<T>(s, 1),
      x, y, all);
}

template <class T>
void resize_grad(const ResizeShape& s, const T* g, T* gx, Context& context) {
  const long long all = s.n * s.h * s.w * s.c;
  if constexpr (sizeof(T) == 4) {
    if (four_at_a_time<T>(s.c, g, gx))
      return run("resize_grad", context, resize_grad_kernel<T, 4>, dim3(blocks_for(all / 4, kThreads)), dim3(kThreads),
                 0, resizing_of<T>(s, 4), g, gx, all / 4);
  }
  run("resize_grad", context, resize_grad_kernel<T, 1>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0,
      resizing_of<T>(s, 1), g, gx, all);
}

template <class T>
void mixup(int64_t rows, int64_t size, const T* weight, const int64_t* partner, const T* x, T* y, Context& context) {
  const long long all = rows * size;
  if constexpr (sizeof(T) == 4) {
    if (four_at_a_time<T>(size, x, y))
      return run("mixup", context, mixup_kernel<T, 4>, dim3(blocks_for(all / 4, kThreads)), dim3(kThreads), 0, weight,
                 partner, x, y, Divisor(size / 4), all / 4);
  }
  run("mixup", context, mixup_kernel<T, 1>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, weight, partner, x, y,
      Divisor(size), all);
}

}  // namespace

const ImageKernels<float> image_f32 = {
    resize<float>,         resize_grad<float>,      grid_sample<float>, grid_sample_grad<float>,
    augment<float, float>, augment<float, uint8_t>, mixup<float>};
const ImageKernels<double> image_f64 = {
    resize<double>,          resize_grad<double>,      grid_sample<double>, grid_sample_grad<double>,
    augment<double, double>, augment<double, uint8_t>, mixup<double>};

}  // namespace dc::cuda
