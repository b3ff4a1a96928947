// Batched augmentation of images, NHWC: warp, shift, mirror, cut and normalise in one pass; kernels/image.h has the
// formulas and the random numbers. A first, small kernel draws for each image; then a thread per pixel and channel of
// the result reads what its image drew. Bound: memory, the image once (four reads from the caches where it is warped)
// and the result once.
#include "families/families.h"
#include "families/image.cuh"
#include "families/lane.cuh"
#include "families/pack.cuh"
#include "families/turn.cuh"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;

struct Draw {
  long long top, left;             // of the crop, in the image
  double a, b, c, d, row, column;  // source = (a, b; c, d) (row - centre, column - centre) + (row, column)
  long long cut_row, cut_column;
  bool flip;
};

DC_DEVICE long long whole(unsigned bits, long long count) {
  return static_cast<long long>(static_cast<unsigned long long>(bits) * static_cast<unsigned long long>(count) >> 32);
}
DC_DEVICE double both_ways(unsigned bits) { return static_cast<double>(bits) * 0x1p-31 - 1.0; }

DC_KERNEL void DC_LAUNCH_BOUNDS(256, 1) draw_kernel(AugmentShape s, const int64_t* DC_RESTRICT rows,
                                                    const int64_t* DC_RESTRICT ids, Draw* DC_RESTRICT draws) {
  for (long long i = first_index(kThreads); i < s.n; i += grid_step(kThreads)) {
    const uint64_t id = static_cast<uint64_t>(ids ? ids[i] : rows[i]);
    const PhiloxBlock one = philox(s.seed, s.stream, 2 * id), two = philox(s.seed, s.stream, 2 * id + 1);
    Draw r;
    r.top = (s.h - s.p) / 2 + whole(one.word[0], 2 * s.shift_h + 1) - s.shift_h;
    r.left = (s.w - s.q) / 2 + whole(one.word[1], 2 * s.shift_w + 1) - s.shift_w;
    r.flip = unit_float(one.word[2]) < s.flip;
    const double angle = both_ways(one.word[3]) * static_cast<double>(s.rotate);
    const double factor = 1.0 / (1.0 + both_ways(two.word[0]) * static_cast<double>(s.scale));
    const double shear = both_ways(two.word[1]) * static_cast<double>(s.shear);
    const Turn<double> at = turn_by_angle(angle);
    const double cosine = at.cosine * factor, sine = at.sine * factor;
    r.a = cosine, r.b = sine;
    r.c = shear * cosine - sine, r.d = shear * sine + cosine;
    // Continuous shifts for warps: the fraction comes from the same words.
    r.row = static_cast<double>(s.h - 1) * 0.5 + both_ways(one.word[0]) * static_cast<double>(s.shift_h);
    r.column = static_cast<double>(s.w - 1) * 0.5 + both_ways(one.word[1]) * static_cast<double>(s.shift_w);
    r.cut_row = whole(two.word[2], s.p) - s.cut / 2;
    r.cut_column = whole(two.word[3], s.q) - s.cut / 2;
    draws[i] = r;
  }
}

// The raw value of pixel (p, q) of the result, before mirror and cut.
template <class T, class In>
DC_DEVICE T warped(const AugmentShape& s, const Draw& r, const In* image, long long p, long long q, long long channel) {
  const double down = static_cast<double>(p) - static_cast<double>(s.p - 1) * 0.5;
  const double right = static_cast<double>(q) - static_cast<double>(s.q - 1) * 0.5;
  const double row = r.a * down + r.b * right + r.row, column = r.c * down + r.d * right + r.column;
  const T fill = static_cast<T>(s.fill);
  if (!(row > -1 && column > -1 && row < static_cast<double>(s.h) && column < static_cast<double>(s.w))) return fill;
  const double row_low = ::floor(row), column_low = ::floor(column);
  const long long i = static_cast<long long>(row_low), j = static_cast<long long>(column_low);
  const T v = static_cast<T>(row - row_low), u = static_cast<T>(column - column_low);
  const bool top = i >= 0, bottom = i + 1 < s.h, left = j >= 0, right_in = j + 1 < s.w;
  const In* at = image + (i * s.w + j) * s.c + channel;
  const T a = top && left ? static_cast<T>(at[0]) : fill, b = top && right_in ? static_cast<T>(at[s.c]) : fill;
  const T c = bottom && left ? static_cast<T>(at[s.w * s.c]) : fill;
  const T d = bottom && right_in ? static_cast<T>(at[(s.w + 1) * s.c]) : fill;
  const T upper = a + u * (b - a), lower = c + u * (d - c);
  return upper + v * (lower - upper);
}

template <class T, class In>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    augment_kernel(AugmentShape s, Divisor by_c, Divisor by_q, Divisor by_p, const In* DC_RESTRICT x,
                   const int64_t* DC_RESTRICT rows, const Draw* DC_RESTRICT draws, const T* DC_RESTRICT gain,
                   const T* DC_RESTRICT bias, T* DC_RESTRICT y, long long all) {
  const bool warp_too = s.rotate != 0 || s.scale != 0 || s.shear != 0;
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long n = place;
    const long long channel = by_c.peel(n), q = by_q.peel(n), p = by_p.peel(n);
    const Draw& r = draws[n];
    const In* image = x + rows[n] * s.h * s.w * s.c;
    const long long from = r.flip ? s.q - 1 - q : q, h = r.top + p, w = r.left + from;
    T value = static_cast<T>(s.fill);
    const bool cut =
        s.cut > 0 && p >= r.cut_row && p < r.cut_row + s.cut && q >= r.cut_column && q < r.cut_column + s.cut;
    if (!cut && warp_too)
      value = warped<T>(s, r, image, p, from, channel);
    else if (!cut && h >= 0 && h < s.h && w >= 0 && w < s.w)
      value = static_cast<T>(image[(h * s.w + w) * s.c + channel]);
    y[place] = fma(Lane<T>{value}, Lane<T>{gain[channel]}, Lane<T>{bias[channel]}).value;
  }
}

}  // namespace

template <class T, class In>
void augment(const AugmentShape& s, const In* x, const int64_t* rows, const int64_t* ids, const T* gain, const T* bias,
             T* y, Context& context) {
  const Scratch memory("augment", context, static_cast<size_t>(s.n) * sizeof(Draw));
  Draw* draws = memory.as<Draw>();
  refuse_recording("augment", context);
  run("augment", context, draw_kernel, dim3(blocks_for(s.n, kThreads)), dim3(kThreads), 0, s, rows, ids, draws);
  const long long all = s.n * s.p * s.q * s.c;
  run("augment", context, augment_kernel<T, In>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, s, Divisor(s.c),
      Divisor(s.q), Divisor(s.p), x, rows, draws, gain, bias, y, all);
}

template void augment<float, float>(const AugmentShape&, const float*, const int64_t*, const int64_t*, const float*,
                                    const float*, float*, Context&);
template void augment<float, uint8_t>(const AugmentShape&, const uint8_t*, const int64_t*, const int64_t*, const float*,
                                      const float*, float*, Context&);
template void augment<double, double>(const AugmentShape&, const double*, const int64_t*, const int64_t*, const double*,
                                      const double*, double*, Context&);
template void augment<double, uint8_t>(const AugmentShape&, const uint8_t*, const int64_t*, const int64_t*,
                                       const double*, const double*, double*, Context&);

}  // namespace dc::cuda
