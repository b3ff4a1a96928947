// Pooling, NHWC: y[n, p, q, c] = max or mean over the taps of window (p, q); kernels/pool.h has the formulas.
// Windows of up to 256 taps: a thread per window and channel, or four channels of float32 in 16-byte accesses, with the
// loads of four taps under way at once. Larger windows: a block per window and 32 channels, whose threads share the
// taps and meet in a tree. The gradients are in pool_grad.cu. Bound: memory; the image is read once from it and again,
// where windows overlap, from the caches.
#include "device/warp.cuh"
#include "families/families.h"
#include "families/pool.cuh"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256, kTogether = 4;
constexpr int64_t kLargeWindow = 256;  // taps

// Where a window and its first tap inside the image are, for the channels of one thread or block.
struct Window {
  int first_row, first_column, rows, columns;  // taps inside the image
  long long at;                                // the first of them in x
};
DC_DEVICE Window window_of(const Pool& s, long long n, int p, int q, int channel) {
  Window w;
  w.first_row = s.rows.first(p), w.first_column = s.columns.first(q);
  w.rows = s.rows.last(p) - w.first_row, w.columns = s.columns.last(q) - w.first_column;
  const int top = s.rows.origin(p) + w.first_row * s.rows.dilation;
  const int left = s.columns.origin(q) + w.first_column * s.columns.dilation;
  w.at = ((n * s.rows.in + top) * s.columns.in + left) * s.c + channel;
  return w;
}

// f(value, row, column) of every tap, in order.
template <class T, int kWidth, class F>
DC_DEVICE void for_taps(const Pool& s, const Window& w, const T* x, const F& f) {
  const long long row_step = static_cast<long long>(s.columns.in) * s.c * s.rows.dilation;
  const long long column_step = static_cast<long long>(s.c) * s.columns.dilation;
  for (int i = 0; i < w.rows; ++i) {
    const T* row = x + w.at + i * row_step;
    for (int j = 0; j < w.columns; j += kTogether) {
      Pack<T, kWidth> v[kTogether];
      DC_UNROLL
      for (int k = 0; k < kTogether; ++k)
        if (j + k < w.columns) v[k] = load_pack<T, kWidth>(row + (j + k) * column_step);
      DC_UNROLL
      for (int k = 0; k < kTogether; ++k)
        if (j + k < w.columns) f(v[k], i, j + k);
    }
  }
}

template <class T>
DC_DEVICE T lowest() {
  return -static_cast<T>(HUGE_VALF);
}

template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    max_small(Pool s, const T* DC_RESTRICT x, T* DC_RESTRICT y, PoolIndex index, long long outputs) {
  for (long long i = first_index(kThreads); i < outputs; i += grid_step(kThreads)) {
    long long n = i;
    const int channel = static_cast<int>(s.by_packs.peel(n)) * kWidth;
    const int q = static_cast<int>(s.by_q.peel(n)), p = static_cast<int>(s.by_p.peel(n));
    const Window w = window_of(s, n, p, q, channel);
    const int taps = s.columns.window, start = w.first_row * taps + w.first_column;
    Pack<T, kWidth> best = pack_of<T, kWidth>(lowest<T>());
    Pack<int, kWidth> place = pack_of<int, kWidth>(start);
    for_taps<T, kWidth>(s, w, x, [&](const Pack<T, kWidth>& v, int row, int column) {
      DC_UNROLL
      for (int e = 0; e < kWidth; ++e) {
        // Greater, or the first NaN.
        if (best.of[e] == best.of[e] && !(v.of[e] <= best.of[e])) {
          best.of[e] = v.of[e];
          place.of[e] = start + row * taps + column;
        }
      }
    });
    store_pack<T, kWidth>(y + i * kWidth, best);
    if (index.data) store_places<kWidth>(index, i * kWidth, place);
  }
}

template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    average_small(Pool s, const T* DC_RESTRICT x, T* DC_RESTRICT y, long long outputs) {
  for (long long i = first_index(kThreads); i < outputs; i += grid_step(kThreads)) {
    long long n = i;
    const int channel = static_cast<int>(s.by_packs.peel(n)) * kWidth;
    const int q = static_cast<int>(s.by_q.peel(n)), p = static_cast<int>(s.by_p.peel(n));
    // By rows: rounding grows with rows + columns, not with their product.
    Pack<T, kWidth> sum = pack_of<T, kWidth>(T(0)), line = sum;
    const Window w = window_of(s, n, p, q, channel);
    for_taps<T, kWidth>(s, w, x, [&](const Pack<T, kWidth>& v, int, int column) {
      DC_UNROLL
      for (int e = 0; e < kWidth; ++e) {
        line.of[e] += v.of[e];
        if (column + 1 == w.columns) sum.of[e] += line.of[e], line.of[e] = T(0);
      }
    });
    const T factor = s.rows.weight<T>(p, s.divisor) * s.columns.weight<T>(q, s.divisor);
    DC_UNROLL
    for (int e = 0; e < kWidth; ++e) sum.of[e] *= factor;
    store_pack<T, kWidth>(y + i * kWidth, sum);
  }
}

// ---- large windows ----

// A block's share of the work on large windows: `channels` neighbours together, the other threads on other taps.
struct Lanes {
  int channels, taps;  // channels * taps <= kThreads
  Divisor by_chunks;   // of channels
};
Lanes lanes_of(int64_t c) {
  const int channels = c < 32 ? static_cast<int>(c) : 32;
  return {channels, kThreads / channels, Divisor((c + channels - 1) / channels)};
}

// f(value, tap inside the window) of every lanes.taps-th tap from `tap` on.
template <class T, class F>
DC_DEVICE void for_shared_taps(const Pool& s, const Window& w, const T* x, int tap, int step, const F& f) {
  const long long row_step = static_cast<long long>(s.columns.in) * s.c * s.rows.dilation;
  const long long column_step = static_cast<long long>(s.c) * s.columns.dilation;
  const int down = step / w.columns, right = step % w.columns;
  for (int i = tap / w.columns, j = tap % w.columns; i < w.rows;) {
    T v[kTogether];
    int place[kTogether];
    DC_UNROLL
    for (int k = 0; k < kTogether; ++k) {
      place[k] = i < w.rows ? i * s.columns.window + j : -1;
      if (place[k] >= 0) v[k] = x[w.at + i * row_step + j * column_step];
      i += down, j += right;
      if (j >= w.columns) j -= w.columns, ++i;
    }
    DC_UNROLL
    for (int k = 0; k < kTogether; ++k)
      if (place[k] >= 0) f(v[k], place[k]);
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    max_large(Pool s, Lanes lanes, const T* DC_RESTRICT x, T* DC_RESTRICT y, PoolIndex index, long long tasks) {
  DC_SHARED(T[kThreads], values);
  DC_SHARED(int[kThreads], places);
  const int t = static_cast<int>(thread_index().x), tap = t / lanes.channels;
  for (long long task = block_index().x; task < tasks; task += grid_size().x) {
    long long n = task;
    const int channel = static_cast<int>(lanes.by_chunks.peel(n)) * lanes.channels + t % lanes.channels;
    const int q = static_cast<int>(s.by_q.peel(n)), p = static_cast<int>(s.by_p.peel(n));
    const bool used = tap < lanes.taps && channel < s.c;
    Indexed<T> best = {lowest<T>(), 0x7FFFFFFF};
    if (used) {
      const Window w = window_of(s, n, p, q, channel);
      const int start = w.first_row * s.columns.window + w.first_column;
      for_shared_taps(s, w, x, tap, lanes.taps,
                      [&](T v, int place) { best = larger(best, Indexed<T>{v, start + place}); });
    }
    values[t] = best.value, places[t] = best.index;
    sync_block();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (tap < half && tap + half < lanes.taps) {
        const int other = t + half * lanes.channels;
        best = larger(best, Indexed<T>{values[other], places[other]});
        values[t] = best.value, places[t] = best.index;
      }
      sync_block();
    }
    if (used && tap == 0) {
      const long long at = ((n * s.rows.out + p) * s.columns.out + q) * s.c + channel;
      y[at] = best.value;
      if (index.data) store_places<1>(index, at, {{best.index}});
    }
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    average_large(Pool s, Lanes lanes, const T* DC_RESTRICT x, T* DC_RESTRICT y, long long tasks) {
  DC_SHARED(T[kThreads], sums);
  const int t = static_cast<int>(thread_index().x), tap = t / lanes.channels;
  for (long long task = block_index().x; task < tasks; task += grid_size().x) {
    long long n = task;
    const int channel = static_cast<int>(lanes.by_chunks.peel(n)) * lanes.channels + t % lanes.channels;
    const int q = static_cast<int>(s.by_q.peel(n)), p = static_cast<int>(s.by_p.peel(n));
    const bool used = tap < lanes.taps && channel < s.c;
    T sum = T(0);
    if (used) for_shared_taps(s, window_of(s, n, p, q, channel), x, tap, lanes.taps, [&](T v, int) { sum += v; });
    sums[t] = sum;
    sync_block();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (tap < half && tap + half < lanes.taps) sums[t] = sum = sum + sums[t + half * lanes.channels];
      sync_block();
    }
    if (used && tap == 0)
      y[((n * s.rows.out + p) * s.columns.out + q) * s.c + channel] =
          sum * (s.rows.weight<T>(p, s.divisor) * s.columns.weight<T>(q, s.divisor));
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    gather_kernel(Pool s, const T* DC_RESTRICT x, PoolIndex index, T* DC_RESTRICT y, long long outputs) {
  for (long long i = first_index(kThreads); i < outputs; i += grid_step(kThreads)) {
    long long n = i;
    const int channel = static_cast<int>(s.by_packs.peel(n));
    const int q = static_cast<int>(s.by_q.peel(n)), p = static_cast<int>(s.by_p.peel(n));
    const int place = load_places<1>(index, i).of[0];
    T value = T(0);
    if (place >= 0) {
      const int row = s.by_taps.of(static_cast<unsigned>(place)), column = place - row * s.columns.window;
      // An index of another pooling may name any tap.
      const long long h = s.rows.origin(p) + static_cast<long long>(row) * s.rows.dilation;
      const long long w = s.columns.origin(q) + static_cast<long long>(column) * s.columns.dilation;
      if (h >= 0 && h < s.rows.in && w >= 0 && w < s.columns.in)
        value = x[((n * s.rows.in + h) * s.columns.in + w) * s.c + channel];
    }
    y[i] = value;
  }
}

template <class T>
void max_of(const PoolShape& s, const T* x, T* y, const PoolIndex& index, Context& context) {
  if (s.r * s.s > kLargeWindow) {
    const Pool pool = pool_of(s, 1);
    const Lanes lanes = lanes_of(s.c);
    const long long tasks = s.n * s.p * s.q * lanes.by_chunks.size;
    return run("max_pool", context, max_large<T>, dim3(blocks_for(tasks, 1)), dim3(kThreads), 0, pool, lanes, x, y,
               index, tasks);
  }
  if constexpr (sizeof(T) == 4) {
    if (four_at_a_time<T>(s.c, x, y) && reinterpret_cast<uintptr_t>(index.data) % 4 == 0) {
      const Pool pool = pool_of(s, 4);
      return run("max_pool", context, max_small<T, 4>, dim3(blocks_for(pool.outputs(), kThreads)), dim3(kThreads), 0,
                 pool, x, y, index, pool.outputs());
    }
  }
  const Pool pool = pool_of(s, 1);
  run("max_pool", context, max_small<T, 1>, dim3(blocks_for(pool.outputs(), kThreads)), dim3(kThreads), 0, pool, x, y,
      index, pool.outputs());
}

template <class T>
void average(const PoolShape& s, const T* x, T* y, Context& context) {
  if (s.r * s.s > kLargeWindow) {
    const Pool pool = pool_of(s, 1);
    const Lanes lanes = lanes_of(s.c);
    const long long tasks = s.n * s.p * s.q * lanes.by_chunks.size;
    return run("average_pool", context, average_large<T>, dim3(blocks_for(tasks, 1)), dim3(kThreads), 0, pool, lanes, x,
               y, tasks);
  }
  if constexpr (sizeof(T) == 4) {
    if (four_at_a_time<T>(s.c, x, y)) {
      const Pool pool = pool_of(s, 4);
      return run("average_pool", context, average_small<T, 4>, dim3(blocks_for(pool.outputs(), kThreads)),
                 dim3(kThreads), 0, pool, x, y, pool.outputs());
    }
  }
  const Pool pool = pool_of(s, 1);
  run("average_pool", context, average_small<T, 1>, dim3(blocks_for(pool.outputs(), kThreads)), dim3(kThreads), 0, pool,
      x, y, pool.outputs());
}

template <class I>
PoolIndex index_of(const I* index) {
  return {const_cast<I*>(index), sizeof(I) == 4};
}

template <class T, class I>
void max(const PoolShape& s, const T* x, T* y, I* index, Context& context) {
  max_of(s, x, y, index_of(index), context);
}
template <class T, class I>
void scatter(const PoolShape& s, const T* g, const I* index, T* gx, Context& context) {
  pool_scatter(s, g, index_of(index), gx, context);
}
template <class T, class I>
void gather(const PoolShape& s, const T* x, const I* index, T* y, Context& context) {
  const Pool pool = pool_of(s, 1);
  run("pool_gather", context, gather_kernel<T>, dim3(blocks_for(pool.outputs(), kThreads)), dim3(kThreads), 0, pool, x,
      index_of(index), y, pool.outputs());
}

}  // namespace

const PoolKernels<float> pool_f32 = {max<float, uint8_t>,     max<float, int32_t>,     scatter<float, uint8_t>,
                                     scatter<float, int32_t>, gather<float, uint8_t>,  gather<float, int32_t>,
                                     average<float>,          average_pool_grad<float>};
const PoolKernels<double> pool_f64 = {max<double, uint8_t>,     max<double, int32_t>,     scatter<double, uint8_t>,
                                      scatter<double, int32_t>, gather<double, uint8_t>,  gather<double, int32_t>,
                                      average<double>,          average_pool_grad<double>};

}  // namespace dc::cuda
