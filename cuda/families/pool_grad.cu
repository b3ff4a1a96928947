// Gradients of pooling as gathers: gx[n, h, w, c] = sum over the windows (p, q) that cover the pixel, in their order,
// of g[n, p, q, c] where the window's index points at the pixel (max, unpooling), or times the weight of a tap (mean).
// No atomics; every pixel is written once, zeros included.
// Split: small windows that do not overlap own their pixels, so a thread per window reads g once and writes them all;
// else a thread per pixel. Four channels of float32 go together in 16-byte accesses where they can.
// Bound: memory, g and its index once and gx once.
#include "families/families.h"
#include "families/pool.cuh"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kSmallWindow = 16;  // taps and pixels of a window that one thread writes

// What a window gives to its pixels: kIndexed, g where the index names the tap; else g times a weight.
template <class T, int kWidth, bool kIndexed>
struct Share {
  Pack<T, kWidth> g;
  Pack<int, kWidth> place;

  DC_DEVICE void load(const T* from, const PoolIndex& index, long long at) {
    g = load_pack<T, kWidth>(from + at);
    if constexpr (kIndexed) place = load_places<kWidth>(index, at);
  }
  DC_DEVICE T of(int e, int tap, T weight) const {
    if constexpr (kIndexed) return place.of[e] == tap ? g.of[e] : T(0);
    return g.of[e] * weight;
  }
};

template <class T, int kWidth, bool kIndexed>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    collect(Pool s, const T* DC_RESTRICT g, PoolIndex index, T* DC_RESTRICT gx, long long pixels) {
  for (long long i = first_index(kThreads); i < pixels; i += grid_step(kThreads)) {
    long long n = i;
    const int channel = static_cast<int>(s.by_packs.peel(n)) * kWidth;
    const int w = static_cast<int>(s.by_w.peel(n)), h = static_cast<int>(s.by_h.peel(n));
    const int p_end = s.rows.cover_end(h), q_begin = s.columns.cover_begin(w), q_end = s.columns.cover_end(w);
    Pack<T, kWidth> sum = pack_of<T, kWidth>(T(0));
    for (int p = s.rows.cover_begin(h); p < p_end; ++p) {
      const int row = s.rows.tap_at(p, h);
      if (row < 0) continue;
      const T row_weight = kIndexed ? T(1) : s.rows.weight<T>(p, s.divisor);
      for (int q = q_begin; q < q_end; ++q) {
        const int column = s.columns.tap_at(q, w);
        if (column < 0) continue;
        Share<T, kWidth, kIndexed> share;
        share.load(g, index, ((n * s.rows.out + p) * s.columns.out + q) * s.c + channel);
        const T weight = kIndexed ? T(1) : row_weight * s.columns.weight<T>(q, s.divisor);
        DC_UNROLL
        for (int e = 0; e < kWidth; ++e) sum.of[e] += share.of(e, row * s.columns.window + column, weight);
      }
    }
    store_pack<T, kWidth>(gx + i * kWidth, sum);
  }
}

template <class T, int kWidth, bool kIndexed>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    write_owned(Pool s, const T* DC_RESTRICT g, PoolIndex index, T* DC_RESTRICT gx, long long outputs) {
  for (long long i = first_index(kThreads); i < outputs; i += grid_step(kThreads)) {
    long long n = i;
    const int channel = static_cast<int>(s.by_packs.peel(n)) * kWidth;
    const int q = static_cast<int>(s.by_q.peel(n)), p = static_cast<int>(s.by_p.peel(n));
    Share<T, kWidth, kIndexed> share;
    share.load(g, index, i * kWidth);
    const T weight = kIndexed ? T(1) : s.rows.weight<T>(p, s.divisor) * s.columns.weight<T>(q, s.divisor);
    const int top = s.rows.origin(p), left = s.columns.origin(q);
    const int h_end = s.rows.own_end(p), w_begin = s.columns.own_begin(q), w_end = s.columns.own_end(q);
    for (int h = s.rows.own_begin(p); h < h_end; ++h) {
      T* line = gx + (n * s.rows.in + h) * s.columns.in * s.c + channel;
      for (int w = w_begin; w < w_end; ++w) {
        const bool inside = h - top < s.rows.window && w - left < s.columns.window;
        Pack<T, kWidth> v;
        DC_UNROLL
        for (int e = 0; e < kWidth; ++e)
          v.of[e] = inside ? share.of(e, (h - top) * s.columns.window + w - left, weight) : T(0);
        store_pack<T, kWidth>(line + static_cast<long long>(w) * s.c, v);
      }
    }
  }
}

template <class T, bool kIndexed>
void gradient(const char* op, const PoolShape& s, const T* g, const PoolIndex& index, T* gx, Context& context) {
  if constexpr (sizeof(T) == 4) {
    const bool owned = !pool_of(s, 1).rows.overlaps() && !pool_of(s, 1).columns.overlaps() &&
                       s.r * s.s <= kSmallWindow && s.stride_h * s.stride_w <= kSmallWindow && s.p * s.q > 0;
    const bool packed =
        four_at_a_time<T>(s.c, g, gx) && !index.wide && reinterpret_cast<uintptr_t>(index.data) % 4 == 0;
    const Pool pool = pool_of(s, packed ? 4 : 1);
    const auto launch_over = [&](auto kernel, long long items) {
      run(op, context, kernel, dim3(blocks_for(items, kThreads)), dim3(kThreads), 0, pool, g, index, gx, items);
    };
    if (owned && packed) return launch_over(write_owned<T, 4, kIndexed>, pool.outputs());
    if (owned) return launch_over(write_owned<T, 1, kIndexed>, pool.outputs());
    if (packed) return launch_over(collect<T, 4, kIndexed>, pool.pixels());
  }
  const Pool pool = pool_of(s, 1);
  run(op, context, collect<T, 1, kIndexed>, dim3(blocks_for(pool.pixels(), kThreads)), dim3(kThreads), 0, pool, g,
      index, gx, pool.pixels());
}

}  // namespace

template <class T>
void pool_scatter(const PoolShape& s, const T* g, const PoolIndex& index, T* gx, Context& context) {
  gradient<T, true>("pool_scatter", s, g, index, gx, context);
}
template <class T>
void average_pool_grad(const PoolShape& s, const T* g, T* gx, Context& context) {
  gradient<T, false>("average_pool_grad", s, g, {nullptr, false}, gx, context);
}
template void pool_scatter<float>(const PoolShape&, const float*, const PoolIndex&, float*, Context&);
template void pool_scatter<double>(const PoolShape&, const double*, const PoolIndex&, double*, Context&);
template void average_pool_grad<float>(const PoolShape&, const float*, float*, Context&);
template void average_pool_grad<double>(const PoolShape&, const double*, double*, Context&);

}  // namespace dc::cuda
