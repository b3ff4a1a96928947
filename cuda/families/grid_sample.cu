// Bilinear samples of images at the points of a grid, and their gradients; kernels/image.h has the formulas.
//   y[o, c] = sum over the four pixels around point o of weight * x
//   ggrid[o] = derivative of the weights times sum over c of g x: a thread per point, or a warp where channels are many
//   gx[pixel, c] = sum of weight * g over the points whose cell touches the pixel. The points of each image are sorted
//     by the cell between four pixels that they lie in, and every pixel adds up those of its four cells, one cell after
//     the other and in order of the points: no atomics, the same bits whatever the launch.
// Split: a thread per point (or pixel) and channel, or per four channels of float32. Bound: the scattered reads of x
// (of g), 16 bytes of cache per 4 of result.
#include "core/error.h"
#include "device/warp.cuh"
#include "families/families.h"
#include "families/image.cuh"
#include "families/lane.cuh"
#include "families/pack.cuh"
#include "families/sort.h"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;

// One coordinate of a point: pixels `at` and at + 1 with their weights (0 for one that does not exist), and d position
// / d coordinate (0 where clamping cut it). at: -2 where there is no pixel.
template <class T>
struct Point {
  long long at;
  T weight[2];
  T slope;
  bool inside[2];
};

template <class T>
DC_DEVICE Point<T> point_of(T u, long long size, bool border, bool align_corners) {
  const T span = static_cast<T>(align_corners ? size - 1 : size) * T(0.5), most = static_cast<T>(size - 1);
  T z = (u + T(1)) * span - (align_corners ? T(0) : T(0.5)), slope = span;
  if (border) {
    if (!(z > T(0))) z = T(0), slope = T(0);  // NaN too
    if (z > most) z = most, slope = T(0);
  }
  // Far outside, or NaN: no taps; this also keeps the conversion to an integer defined.
  if (!(z > T(-1) && z < static_cast<T>(size))) return {-2, {T(0), T(0)}, T(0), {false, false}};
  const T low = floor(Lane<T>{z}).value;
  const long long i = static_cast<long long>(low);
  return {i, {T(1) - (z - low), z - low}, slope, {i >= 0, i + 1 < size}};
}

struct Sampling {
  long long h, w, c;
  bool border, align_corners;
  Divisor by_packs, by_points, by_w, by_h;  // points of an image; packs of channels
};
Sampling sampling_of(const GridSampleShape& s, int width) {
  return {s.h,          s.w,         s.c, s.border, s.align_corners, Divisor(s.c / width), Divisor(s.p * s.q),
          Divisor(s.w), Divisor(s.h)};
}

template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    sample_kernel(Sampling s, const T* DC_RESTRICT x, const T* DC_RESTRICT grid, T* DC_RESTRICT y, long long all) {
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long point = place;
    const long long channel = s.by_packs.peel(point) * kWidth, n = s.by_points.of(point);
    const Point<T> column = point_of(grid[point * 2], s.w, s.border, s.align_corners);
    const Point<T> row = point_of(grid[point * 2 + 1], s.h, s.border, s.align_corners);
    const T* from = x + ((n * s.h + row.at) * s.w + column.at) * s.c + channel;
    Pack<T, kWidth> sum = pack_of<T, kWidth>(T(0)), v[4];
    DC_UNROLL
    for (int k = 0; k < 4; ++k)
      if (row.inside[k / 2] && column.inside[k % 2]) v[k] = load_pack<T, kWidth>(from + ((k / 2) * s.w + k % 2) * s.c);
    DC_UNROLL
    for (int k = 0; k < 4; ++k) {
      if (!(row.inside[k / 2] && column.inside[k % 2])) continue;
      const Lane<T> weight = {row.weight[k / 2] * column.weight[k % 2]};
      DC_UNROLL
      for (int e = 0; e < kWidth; ++e) sum.of[e] = fma(Lane<T>{v[k].of[e]}, weight, Lane<T>{sum.of[e]}).value;
    }
    store_pack<T, kWidth>(y + place * kWidth, sum);
  }
}

// lanes: threads per point, 1 or 32.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    grid_gradient(Sampling s, int lanes, const T* DC_RESTRICT x, const T* DC_RESTRICT grid, const T* DC_RESTRICT g,
                  T* DC_RESTRICT ggrid, long long points) {
  const int t = static_cast<int>(thread_index().x), together = kThreads / lanes;
  for (long long first = static_cast<long long>(block_index().x) * together; first < points;
       first += static_cast<long long>(grid_size().x) * together) {
    const long long point = first + t / lanes;
    T du = T(0), dv = T(0);
    Point<T> column{}, row{};
    if (point < points) {
      column = point_of(grid[point * 2], s.w, s.border, s.align_corners);
      row = point_of(grid[point * 2 + 1], s.h, s.border, s.align_corners);
      const T* from = x + ((s.by_points.of(point) * s.h + row.at) * s.w + column.at) * s.c;
      for (long long k = t % lanes; k < s.c; k += lanes) {
        const T gk = g[point * s.c + k];
        DC_UNROLL
        for (int tap = 0; tap < 4; ++tap) {
          const int i = tap / 2, j = tap % 2;
          if (!(row.inside[i] && column.inside[j])) continue;
          const T product = gk * from[(i * s.w + j) * s.c + k];
          du += (j ? product : -product) * row.weight[i];
          dv += (i ? product : -product) * column.weight[j];
        }
      }
    }
    if (lanes == 32) du = warp_sum(du), dv = warp_sum(dv);
    if (point < points && t % lanes == 0) {
      ggrid[point * 2] = du * column.slope;
      ggrid[point * 2 + 1] = dv * row.slope;
    }
  }
}

// items[point] = (cell, point of its image). Cell (i + 1) (w + 1) + j + 1 lies between pixels (i, j) and (i + 1, j +
// 1); a point without a cell gets the number behind the last.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    find_cells(Sampling s, const T* DC_RESTRICT grid, Item* DC_RESTRICT items, long long points) {
  for (long long point = first_index(kThreads); point < points; point += grid_step(kThreads)) {
    const Point<T> column = point_of(grid[point * 2], s.w, s.border, s.align_corners);
    const Point<T> row = point_of(grid[point * 2 + 1], s.h, s.border, s.align_corners);
    const bool exists = row.at >= -1 && column.at >= -1;
    const long long cell = exists ? (row.at + 1) * (s.w + 1) + column.at + 1 : (s.h + 1) * (s.w + 1);
    long long n = point;
    items[point] = static_cast<Item>(cell) << 32 | static_cast<Item>(s.by_points.peel(n));
  }
}

template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    image_gradient(Sampling s, const T* DC_RESTRICT grid, const T* DC_RESTRICT g, const Item* DC_RESTRICT items,
                   const unsigned* DC_RESTRICT start, T* DC_RESTRICT gx, long long all) {
  const long long points = s.by_points.size, cells = (s.h + 1) * (s.w + 1);
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long n = place;
    const long long channel = s.by_packs.peel(n) * kWidth, w = s.by_w.peel(n), h = s.by_h.peel(n);
    Pack<T, kWidth> sum = pack_of<T, kWidth>(T(0));
    for (int k = 0; k < 4; ++k) {
      // The cell above and left of the pixel has it as its last one.
      const int i = 1 - k / 2, j = 1 - k % 2;
      const unsigned* run = start + n * (cells + 1) + (h + 1 - i) * (s.w + 1) + w + 1 - j;
      const long long last = run[1];
      for (long long t = run[0]; t < last; ++t) {
        const long long point = n * points + static_cast<unsigned>(items[n * points + t]);
        const Point<T> column = point_of(grid[point * 2], s.w, s.border, s.align_corners);
        const Point<T> row = point_of(grid[point * 2 + 1], s.h, s.border, s.align_corners);
        const Lane<T> weight = {(i ? row.weight[1] : row.weight[0]) * (j ? column.weight[1] : column.weight[0])};
        const auto v = load_pack<T, kWidth>(g + point * s.c + channel);
        DC_UNROLL
        for (int e = 0; e < kWidth; ++e) sum.of[e] = fma(Lane<T>{v.of[e]}, weight, Lane<T>{sum.of[e]}).value;
      }
    }
    store_pack<T, kWidth>(gx + place * kWidth, sum);
  }
}

template <class T>
void gradient_of_image(const GridSampleShape& s, const T* grid, const T* g, T* gx, Context& context) {
  const char* op = "grid_sample_grad";
  constexpr int64_t most = (int64_t{1} << 32) - 2;
  const int64_t points = s.p * s.q, cells = (s.h + 1) * (s.w + 1), all = s.n * s.h * s.w * s.c;
  DC_CHECK(points < most && cells < most, ShapeError, op, ": expected fewer than 2^32 points and pixels, got ", s.p,
           " x ", s.q, " and ", s.h, " x ", s.w);
  const Scratch pairs(op, context, static_cast<size_t>(2 * s.n * points + 1) * sizeof(Item));
  const Scratch starts(op, context, static_cast<size_t>(s.n * (cells + 1)) * sizeof(unsigned));
  Item* items = pairs.as<Item>();
  unsigned* start = starts.as<unsigned>();
  const Item* sorted = items;
  if (points > 0) {
    run(op, context, find_cells<T>, dim3(blocks_for(s.n * points, kThreads)), dim3(kThreads), 0, sampling_of(s, 1),
        grid, items, s.n * points);
    sorted = sort_items(op, context, s.n, points, items, items + s.n * points);
  }
  find_starts(op, context, s.n, points, cells, sorted, start);
  if constexpr (sizeof(T) == 4) {
    if (four_at_a_time<T>(s.c, g, gx))
      return run(op, context, image_gradient<T, 4>, dim3(blocks_for(all / 4, kThreads)), dim3(kThreads), 0,
                 sampling_of(s, 4), grid, g, sorted, start, gx, all / 4);
  }
  run(op, context, image_gradient<T, 1>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, sampling_of(s, 1), grid, g,
      sorted, start, gx, all);
}

}  // namespace

template <class T>
void grid_sample(const GridSampleShape& s, const T* x, const T* grid, T* y, Context& context) {
  const long long all = s.n * s.p * s.q * s.c;
  if constexpr (sizeof(T) == 4) {
    if (four_at_a_time<T>(s.c, x, y))
      return run("grid_sample", context, sample_kernel<T, 4>, dim3(blocks_for(all / 4, kThreads)), dim3(kThreads), 0,
                 sampling_of(s, 4), x, grid, y, all / 4);
  }
  run("grid_sample", context, sample_kernel<T, 1>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0,
      sampling_of(s, 1), x, grid, y, all);
}

template <class T>
void grid_sample_grad(const GridSampleShape& s, const T* x, const T* grid, const T* g, T* gx, T* ggrid,
                      Context& context) {
  const long long points = s.n * s.p * s.q;
  if (ggrid && points > 0) {
    const int lanes = s.c < 16 ? 1 : 32;
    run("grid_sample_grad", context, grid_gradient<T>, dim3(blocks_for(points, kThreads / lanes)), dim3(kThreads), 0,
        sampling_of(s, 1), lanes, x, grid, g, ggrid, points);
  }
  if (gx && s.n * s.h * s.w * s.c > 0) gradient_of_image(s, grid, g, gx, context);
}

template void grid_sample<float>(const GridSampleShape&, const float*, const float*, float*, Context&);
template void grid_sample<double>(const GridSampleShape&, const double*, const double*, double*, Context&);
template void grid_sample_grad<float>(const GridSampleShape&, const float*, const float*, const float*, float*, float*,
                                      Context&);
template void grid_sample_grad<double>(const GridSampleShape&, const double*, const double*, const double*, double*,
                                       double*, Context&);

}  // namespace dc::cuda
