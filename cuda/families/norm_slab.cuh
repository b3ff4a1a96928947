// Batch, group and instance norm: x as (slabs, rows, c), statistics per slab and group of channels.
// Tiles: a block takes some rows of one slab (a chunk) and 128 bytes of every row; tx threads stand side by side along
// the channels, V of them each, and ty rows of threads share the chunk's rows, so that memory is read in whole lines.
//   moments     mean and sum of squared deviations of a chunk's channels: four rows at a time, joined by the formula of
//               Chan, Golub and LeVeque, in a thread, then over ty in a tree
//   statistics  a group of threads (rows.cuh) per slab and group adds what the chunks found, in double
//   apply       y = (x - mean) rstd gamma + beta; chunks in reverse order, so that what the second cache still holds of
//               x is used first
// The gradient goes the same way: sums of g and g (x - mean) by chunks, what they mean for groups and channels, gx.
// Chunks depend on the shape alone, and every sum has a fixed order.
// Bound: memory, two reads and a write (gradient: four reads and a write), less what the second cache keeps.
#pragma once
#include "families/lane.cuh"
#include "families/rows.cuh"
#include "kernels/norm.h"

namespace dc::cuda {

namespace {

inline constexpr int kSlabThreads = 256;
inline constexpr long long kSlabBlocks = 1056;  // eight a multiprocessor of the largest devices

struct SlabTiles {
  int tx, ty;
  long long column_blocks, chunk_rows, chunks;  // chunks: of a slab
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
  const long long step = 4ll * t.ty, most = (kSlabBlocks + s.slabs * t.column_blocks - 1) / (s.slabs * t.column_blocks);
  long long chunks = (s.rows + step - 1) / step;
  if (chunks > most) chunks = most;
  t.chunk_rows = ((s.rows + chunks - 1) / chunks + step - 1) / step * step;
  t.chunks = (s.rows + t.chunk_rows - 1) / t.chunk_rows;
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

template <class T, int V>
struct Moments {
  T count, mean[V], m2[V];
  // m, q: mean and sum of squared deviations of `other` more values.
  DC_DEVICE void join(T other, const T (&m)[V], const T (&q)[V]) {
    const T total = count + other;
    if (total == T(0)) return;
    const T share = other / total, both = count * share;
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      const T d = m[v] - mean[v];
      mean[v] = fma_of(d, share, mean[v]);
      m2[v] = fma_of(d * d, both, m2[v] + q[v]);
    }
    count = total;
  }
};

// partial: (slab, channel, chunk) pairs of mean and sum of squared deviations.
template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    slab_moments(SlabNormShape s, SlabTiles t, const T* DC_RESTRICT x, T* DC_RESTRICT partial) {
  DC_SHARED(T[2 * V + 1][kSlabThreads], held);
  const SlabPlace p = slab_place<V>(s, t, false);
  Moments<T, V> all{};
  for_slab_rows(
      p, s.c,
      [&](long long at, long long stride) {
        Channels<T, V> r[4];
        DC_UNROLL
        for (int i = 0; i < 4; ++i) r[i] = load_channels<V>(x + at + i * stride);
        T m[V], q[V];
        DC_UNROLL
        for (int v = 0; v < V; ++v) {
          m[v] = ((r[0].of[v] + r[1].of[v]) + (r[2].of[v] + r[3].of[v])) * T(0.25);
          q[v] = 0;
          DC_UNROLL
          for (int i = 0; i < 4; ++i) {
            const T d = r[i].of[v] - m[v];
            q[v] = fma_of(d, d, q[v]);
          }
        }
        all.join(T(4), m, q);
      },
      [&](long long at) {
        const Channels<T, V> r = load_channels<V>(x + at);
        const T none[V] = {};
        all.join(T(1), r.of, none);
      });
  tree_over_rows(
      [&](int me) {
        DC_UNROLL
        for (int v = 0; v < V; ++v) held[v][me] = all.mean[v], held[V + v][me] = all.m2[v];
        held[2 * V][me] = all.count;
      },
      [&](int other) {
        T m[V], q[V];
        DC_UNROLL
        for (int v = 0; v < V; ++v) m[v] = held[v][other], q[v] = held[V + v][other];
        all.join(held[2 * V][other], m, q);
      });
  if (thread_index().y == 0 && p.channel < s.c) {
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      T* to = partial + ((p.slab * s.c + p.channel + v) * t.chunks + p.chunk) * 2;
      to[0] = all.mean[v];
      to[1] = all.m2[v];
    }
  }
}

// First the mean of the chunks' means, then the squared deviations from it: nothing cancels.
template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, 1)
    slab_statistics(SlabNormShape s, SlabTiles t, int size, T epsilon, const T* DC_RESTRICT partial,
                    T* DC_RESTRICT mean, T* DC_RESTRICT rstd, T* DC_RESTRICT variance) {
  const Group group{size};
  const long long rows = s.slabs * s.groups, entries = s.c / s.groups * t.chunks;
  const double full = static_cast<double>(t.chunk_rows),
               last = static_cast<double>(s.rows - (t.chunks - 1) * t.chunk_rows);
  const double inverse = 1.0 / (static_cast<double>(s.rows) * static_cast<double>(s.c / s.groups));
  const unsigned chunks = static_cast<unsigned>(t.chunks);
  const auto count_of = [&](long long e) { return static_cast<unsigned>(e) % chunks == chunks - 1 ? last : full; };
  for (long long base = group.first(); base < rows; base += group.step()) {
    const RowPart part = group.part(base, rows, entries, false);
    const T* from = partial + part.row * entries * 2;
    double centre = 0, square = 0;
    for (long long e = part.rank; e < part.c; e += size) centre += count_of(e) * static_cast<double>(from[2 * e]);
    centre = group.reduce(centre, 0.0, Sum()) * inverse;
    for (long long e = part.rank; e < part.c; e += size) {
      const double d = static_cast<double>(from[2 * e]) - centre;
      square += static_cast<double>(from[2 * e + 1]) + count_of(e) * d * d;
    }
    square = group.reduce(square, 0.0, Sum()) * inverse;
    if (part.rank == 0 && part.row < rows) {
      mean[part.row] = static_cast<T>(centre);
      rstd[part.row] = static_cast<T>(1.0 / ::sqrt(square + static_cast<double>(epsilon)));
      if (variance) variance[part.row] = static_cast<T>(square);
    }
  }
}

// The map of a thread's channels: (x - mean) * scale + shift. The gradient finds the mask of ReLU again with it.
template <class T, int V>
struct SlabMap {
  T mean[V], scale[V], shift[V];

  DC_DEVICE SlabMap(const SlabNormShape& s, const SlabPlace& p, const T* means, const T* rstds, const T* gammas,
                    const T* betas) {
    const long long width = s.c / s.groups;
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      const long long k = p.channel + v, at = p.slab * s.groups + k / width;
      const bool live = k < s.c;
      mean[v] = live && means ? means[at] : T(0);
      scale[v] = (live && rstds ? rstds[at] : T(1)) * (live && gammas ? gammas[k] : T(1));
      shift[v] = live && betas ? betas[k] : T(0);
    }
  }
  DC_DEVICE T at(T x, int v) const { return fma_of(x - mean[v], scale[v], shift[v]); }
};

template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    slab_apply_kernel(SlabNormShape s, SlabTiles t, const T* DC_RESTRICT x, const T* DC_RESTRICT mean,
                      const T* DC_RESTRICT rstd, const T* DC_RESTRICT gamma, const T* DC_RESTRICT beta,
                      T* DC_RESTRICT y) {
  const SlabPlace p = slab_place<V>(s, t, true);
  const SlabMap<T, V> map(s, p, mean, rstd, gamma, beta);
  const auto give = [&](long long at, const Channels<T, V>& r) {
    Channels<T, V> out;
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      out.of[v] = map.at(r.of[v], v);
      if (s.relu && out.of[v] < T(0)) out.of[v] = T(0);  // keeps NaN
    }
    store_channels<V>(y + at, out);
  };
  for_slab_rows(
      p, s.c,
      [&](long long at, long long stride) {
        Channels<T, V> r[4];
        DC_UNROLL
        for (int i = 0; i < 4; ++i) r[i] = load_channels<V>(x + at + i * stride);
        DC_UNROLL
        for (int i = 0; i < 4; ++i) give(at + i * stride, r[i]);
      },
      [&](long long at) { give(at, load_channels<V>(x + at)); });
}

// partial: (slab, channel, chunk) pairs of sum g and sum g (x - mean), g behind the mask of ReLU.
template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 3)
    slab_grad_sums(SlabNormShape s, SlabTiles t, const T* DC_RESTRICT x, const T* DC_RESTRICT g,
                   const T* DC_RESTRICT mean, const T* DC_RESTRICT rstd, const T* DC_RESTRICT gamma,
                   const T* DC_RESTRICT beta, T* DC_RESTRICT partial) {
  DC_SHARED(T[2 * V][kSlabThreads], held);
  const SlabPlace p = slab_place<V>(s, t, false);
  const SlabMap<T, V> map(s, p, mean, rstd, gamma, beta);
  T sum[V] = {}, product[V] = {};
  const auto add = [&](const Channels<T, V>& r, const Channels<T, V>& gs) {
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      const T gv = s.relu && !(map.at(r.of[v], v) > T(0)) ? T(0) : gs.of[v];
      sum[v] += gv;
      product[v] = fma_of(gv, r.of[v] - map.mean[v], product[v]);
    }
  };
  for_slab_rows(
      p, s.c,
      [&](long long at, long long stride) {
        Channels<T, V> r[4], gs[4];
        DC_UNROLL
        for (int i = 0; i < 4; ++i)
          r[i] = load_channels<V>(x + at + i * stride), gs[i] = load_channels<V>(g + at + i * stride);
        DC_UNROLL
        for (int i = 0; i < 4; ++i) add(r[i], gs[i]);
      },
      [&](long long at) { add(load_channels<V>(x + at), load_channels<V>(g + at)); });
  tree_over_rows(
      [&](int me) {
        DC_UNROLL
        for (int v = 0; v < V; ++v) held[v][me] = sum[v], held[V + v][me] = product[v];
      },
      [&](int other) {
        DC_UNROLL
        for (int v = 0; v < V; ++v) sum[v] += held[v][other], product[v] += held[V + v][other];
      });
  if (thread_index().y == 0 && p.channel < s.c) {
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      T* to = partial + ((p.slab * s.c + p.channel + v) * t.chunks + p.chunk) * 2;
      to[0] = sum[v];
      to[1] = product[v];
    }
  }
}

// With A, B the means over a group's elements of gamma g and gamma g xhat: gx = rstd (gamma g - A - xhat B), hence
// gx = rstd gamma g - pull[0] - (x - mean) pull[1], pull = (rstd A, rstd^2 B) for each slab and group.
// Rows of this kernel: slabs x groups of them where `pull` is wanted, then c channels where ggamma is.
template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, 1)
    slab_grad_factors(SlabNormShape s, SlabTiles t, int size, const T* DC_RESTRICT partial, const T* DC_RESTRICT rstd,
                      const T* DC_RESTRICT gamma, T* DC_RESTRICT pull, T* DC_RESTRICT ggamma, T* DC_RESTRICT gbeta) {
  const Group group{size};
  const long long width = s.c / s.groups, group_rows = pull ? s.slabs * s.groups : 0,
                  rows = group_rows + (ggamma ? s.c : 0);
  const double inverse = 1.0 / (static_cast<double>(s.rows) * static_cast<double>(width));
  const unsigned chunks = static_cast<unsigned>(t.chunks);
  for (long long base = group.first(); base < rows; base += group.step()) {
    const RowPart part = group.part(base, rows, 1, false);
    const bool of_group = part.row < group_rows;
    const long long k = part.row - group_rows;
    double sum = 0, product = 0;
    if (part.row < rows) {
      const long long entries = (of_group ? width : s.slabs) * t.chunks;
      for (long long e = part.rank; e < entries; e += size) {
        const long long which = static_cast<unsigned>(e) / chunks, chunk = e - which * chunks;
        // which: a channel of the group, or a slab
        const T* from = partial + (of_group ? part.row * entries + e : (which * s.c + k) * t.chunks + chunk) * 2;
        double by_sum = 1, by_product = 1;
        if (of_group)
          by_sum = by_product = gamma ? static_cast<double>(gamma[part.row % s.groups * width + which]) : 1.0;
        else
          by_product = static_cast<double>(rstd[which * s.groups + k / width]);
        sum += by_sum * static_cast<double>(from[0]);
        product += by_product * static_cast<double>(from[1]);
      }
    }
    sum = group.reduce(sum, 0.0, Sum());
    product = group.reduce(product, 0.0, Sum());
    if (part.rank == 0 && part.row < rows) {
      if (of_group) {
        const double r = static_cast<double>(rstd[part.row]);
        pull[2 * part.row] = static_cast<T>(r * sum * inverse);
        pull[2 * part.row + 1] = static_cast<T>(r * r * r * product * inverse);
      } else {
        gbeta[k] = static_cast<T>(sum);
        ggamma[k] = static_cast<T>(product);
      }
    }
  }
}

template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 3)
    slab_grad_apply(SlabNormShape s, SlabTiles t, const T* DC_RESTRICT x, const T* DC_RESTRICT g,
                    const T* DC_RESTRICT mean, const T* DC_RESTRICT rstd, const T* DC_RESTRICT gamma,
                    const T* DC_RESTRICT beta, const T* DC_RESTRICT pull, T* DC_RESTRICT gx) {
  const SlabPlace p = slab_place<V>(s, t, true);
  const SlabMap<T, V> map(s, p, mean, rstd, gamma, beta);
  T constant[V], slope[V];
  DC_UNROLL
  for (int v = 0; v < V; ++v) {
    const long long k = p.channel + v, at = p.slab * s.groups + k / (s.c / s.groups);
    constant[v] = k < s.c ? pull[2 * at] : T(0);
    slope[v] = k < s.c ? pull[2 * at + 1] : T(0);
  }
  const auto give = [&](long long at, const Channels<T, V>& r, const Channels<T, V>& gs) {
    Channels<T, V> out;
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      const T gv = s.relu && !(map.at(r.of[v], v) > T(0)) ? T(0) : gs.of[v];
      out.of[v] = fma_of(gv, map.scale[v], -fma_of(r.of[v] - map.mean[v], slope[v], constant[v]));
    }
    store_channels<V>(gx + at, out);
  };
  for_slab_rows(
      p, s.c,
      [&](long long at, long long stride) {
        Channels<T, V> r[4], gs[4];
        DC_UNROLL
        for (int i = 0; i < 4; ++i)
          r[i] = load_channels<V>(x + at + i * stride), gs[i] = load_channels<V>(g + at + i * stride);
        DC_UNROLL
        for (int i = 0; i < 4; ++i) give(at + i * stride, r[i], gs[i]);
      },
      [&](long long at) { give(at, load_channels<V>(x + at), load_channels<V>(g + at)); });
}

}  // namespace

}  // namespace dc::cuda
