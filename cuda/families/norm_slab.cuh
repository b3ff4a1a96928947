// Batch, group and instance norm: x as (slabs, rows, c), statistics per slab and group of channels. What their kernels
// share; norm_slab_forward.cuh and norm_slab_grad.cuh have them.
// Tiles: a block takes some rows of one slab (a chunk) and 128 bytes of every row; tx threads stand side by side along
// the channels, V of them each, and ty rows of threads share the chunk's rows, so that memory is read in whole lines.
// Chunks depend on the shape alone, and every sum has a fixed order. Where each channel has statistics of its own and a
// slab is one chunk (or has at most kWholeRows rows, which then are one), a block does everything in one launch.
#pragma once
#include "families/lane.cuh"
#include "families/rows.cuh"
#include "kernels/norm.h"

namespace dc::cuda {

namespace {

inline constexpr int kSlabThreads = 256;
inline constexpr long long kWholeRows = 512;
inline constexpr long long kSlabBlocks = 1056;  // eight a multiprocessor of the largest devices

struct SlabTiles {
  int tx, ty;
  long long column_blocks, chunk_rows, chunks;  // chunks: of a slab
  bool whole;
  long long blocks(long long slabs) const { return slabs * chunks * column_blocks; }
};

template <class T>
SlabTiles slab_tiles(const SlabNormShape& s, int v) {
  SlabTiles t{};
  const long long units = s.c / v;
  t.tx = power_of_two_from(units, 128 / (v * static_cast<int>(sizeof(T))));
  t.ty = power_of_two_from((s.rows + 3) / 4, kSlabThreads / t.tx);
  if (t.tx * t.ty < 32) t.ty = 32 / t.tx;
  t.column_blocks = (units + t.tx - 1) / t.tx;
  if (s.rows == 0 || s.slabs == 0) return t;
  const bool own_statistics = s.groups == s.c;
  const long long step = 4ll * t.ty, most = (kSlabBlocks + s.slabs * t.column_blocks - 1) / (s.slabs * t.column_blocks);
  long long chunks = own_statistics && s.rows <= kWholeRows ? 1 : (s.rows + step - 1) / step;
  if (chunks > most) chunks = most;
  t.chunk_rows = ((s.rows + chunks - 1) / chunks + step - 1) / step * step;
  t.chunks = (s.rows + t.chunk_rows - 1) / t.chunk_rows;
  t.whole = own_statistics && t.chunks == 1;
  return t;
}

// Where a thread works: rows are counted over all slabs, and it takes begin + ty, begin + ty + step, ...
struct SlabPlace {
  long long slab, chunk, channel, begin, end;
  int step;
};
template <int V>
DC_DEVICE SlabPlace slab_place(const SlabNormShape& s, const SlabTiles& t, bool backwards) {
  long long b = block_index().x;
  if (backwards) b = grid_size().x - 1 - b;
  SlabPlace p;
  const long long column_block = b % t.column_blocks;
  b /= t.column_blocks;
  p.chunk = b % t.chunks;
  p.slab = b / t.chunks;
  p.channel = (column_block * t.tx + thread_index().x) * V;
  const long long first = p.chunk * t.chunk_rows, last = first + t.chunk_rows < s.rows ? first + t.chunk_rows : s.rows;
  p.begin = p.slab * s.rows + first + thread_index().y;
  p.end = p.channel < s.c ? p.slab * s.rows + last : 0;  // no rows for threads beyond the channels
  p.step = t.ty;
  return p;
}

template <class T, int V>
struct Channels {
  T of[V];
};
template <int V, class T>
DC_DEVICE Channels<T, V> load_channels(const T* p) {
  if constexpr (V == 4) {
    const float4 a = load<float4>(p);
    return {{a.x, a.y, a.z, a.w}};
  } else {
    return {{*p}};
  }
}
template <int V, class T>
DC_DEVICE void store_channels(T* p, const Channels<T, V>& v) {
  if constexpr (V == 4)
    store(p, float4{v.of[0], v.of[1], v.of[2], v.of[3]});
  else
    *p = v.of[0];
}

struct Pair {
  double first, second;
};
DC_DEVICE Pair load_pair(const float* p) {
  const float2 a = load<float2>(p);
  return {static_cast<double>(a.x), static_cast<double>(a.y)};
}
DC_DEVICE Pair load_pair(const double* p) {
  const double2 a = load<double2>(p);
  return {a.x, a.y};
}
DC_DEVICE void store_pair(float* p, float a, float b) { store(p, float2{a, b}); }
DC_DEVICE void store_pair(double* p, double a, double b) { store(p, double2{a, b}); }

// The thread's rows: four(offset, stride) where four are left, so that their loads are all under way before the first
// is used, then one(offset).
template <class Four, class One>
DC_DEVICE void for_slab_rows(const SlabPlace& p, long long c, const Four& four, const One& one) {
  const long long stride = p.step * c;
  long long row = p.begin, at = row * c + p.channel;
  for (; row + 3ll * p.step < p.end; row += 4ll * p.step, at += 4 * stride) four(at, stride);
  for (; row < p.end; row += p.step, at += stride) one(at);
}

// Sums over the threads of a column, in a tree: `add(other)` joins what thread `other` wrote to `held`; thread 0 of the
// column has the result.
template <class Write, class Add>
DC_DEVICE void tree_over_rows(const Write& write, const Add& add DC_PLACE_PARAMETER) {
  const int tx = static_cast<int>(block_size().x), y = static_cast<int>(thread_index().y);
  const int me = y * tx + static_cast<int>(thread_index().x);
  for (int half = static_cast<int>(block_size().y) / 2; half > 0; half /= 2) {
    if (y < 2 * half && y >= half) write(me);
    sync_block(DC_PLACE_ONLY);
    if (y < half) add(me + half * tx);
  }
}

// What belongs to a thread's channels: of an array of c, and of one of (slabs, groups). `missing` where there is none.
template <int V, class T>
DC_DEVICE Channels<T, V> of_channels(const T* p, const SlabNormShape& s, const SlabPlace& place, T missing) {
  Channels<T, V> r;
  DC_UNROLL
  for (int v = 0; v < V; ++v) r.of[v] = missing;
  if (p && place.channel < s.c) r = load_channels<V>(p + place.channel);
  return r;
}
template <int V, class T>
DC_DEVICE Channels<T, V> of_groups(const T* p, const SlabNormShape& s, const SlabPlace& place, T missing) {
  if (p) p += place.slab * s.groups;
  if (s.groups == s.c) return of_channels<V>(p, s, place, missing);
  Channels<T, V> r;
  DC_UNROLL
  for (int v = 0; v < V; ++v) {
    const long long k = place.channel + v;
    r.of[v] = p && k < s.c ? p[k / (s.c / s.groups)] : missing;
  }
  return r;
}

// The map of a thread's channels: (x - mean) * scale + shift. The gradient finds the mask of ReLU again with it.
template <class T, int V>
struct SlabMap {
  T mean[V], scale[V], shift[V];

  DC_DEVICE SlabMap(const SlabNormShape& s, const SlabPlace& p, const T* means, const T* rstds, const T* gammas,
                    const T* betas) {
    const Channels<T, V> centre = of_groups<V>(means, s, p, T(0)), rstd = of_groups<V>(rstds, s, p, T(1));
    const Channels<T, V> gamma = of_channels<V>(gammas, s, p, T(1)), beta = of_channels<V>(betas, s, p, T(0));
    DC_UNROLL
    for (int v = 0; v < V; ++v) mean[v] = centre.of[v], scale[v] = rstd.of[v] * gamma.of[v], shift[v] = beta.of[v];
  }
  DC_DEVICE T at(T x, int v) const { return fma_of(x - mean[v], scale[v], shift[v]); }
};

}  // namespace

}  // namespace dc::cuda
