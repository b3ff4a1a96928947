// Batch, group and instance norm forward:
//   moments     mean and sum of squared deviations of a chunk's channels: four rows at a time, joined by the formula of
//               Chan, Golub and LeVeque, in a thread, then over its column in a tree
//   statistics  a group of threads (rows.cuh) per slab and group adds what the chunks found, in double
//   apply       y = (x - mean) rstd gamma + beta; blocks in reverse order, so that what the second cache still holds of
//               x is used first
// or `whole`, all of it in one block (norm_slab.cuh). Bound: memory, two reads and a write, less what caches keep.
#pragma once
#include "families/norm_slab.cuh"

namespace dc::cuda {

namespace {

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

// The moments of the block's chunk; threads with y = 0 have them.
template <class T, int V>
DC_DEVICE Moments<T, V> chunk_moments(const SlabNormShape& s, const SlabPlace& p, const T* x,
                                      T (&held)[2 * V + 1][kSlabThreads] DC_PLACE_PARAMETER) {
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
      } DC_PLACE_ARGUMENT);
  return all;
}

template <class T, int V>
DC_DEVICE void apply_rows(const SlabNormShape& s, const SlabPlace& p, const SlabMap<T, V>& map, const T* x, T* y) {
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

DC_DEVICE double rstd_of(double variance, double epsilon) { return 1.0 / ::sqrt(variance + epsilon); }

// partial: (slab, channel, chunk) pairs of mean and sum of squared deviations.
template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    slab_moments(SlabNormShape s, SlabTiles t, const T* DC_RESTRICT x, T* DC_RESTRICT partial) {
  DC_SHARED(T[2 * V + 1][kSlabThreads], held);
  const SlabPlace p = slab_place<V>(s, t, false);
  const Moments<T, V> all = chunk_moments<T, V>(s, p, x, held);
  if (thread_index().y == 0 && p.channel < s.c) {
    DC_UNROLL
    for (int v = 0; v < V; ++v)
      store_pair(partial + ((p.slab * s.c + p.channel + v) * t.chunks + p.chunk) * 2, all.mean[v], all.m2[v]);
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
    for (long long e = part.rank; e < part.c; e += size) centre += count_of(e) * load_pair(from + 2 * e).first;
    centre = group.reduce(centre, 0.0, Sum()) * inverse;
    for (long long e = part.rank; e < part.c; e += size) {
      const Pair m = load_pair(from + 2 * e);  // mean and sum of squared deviations
      const double d = m.first - centre;
      square += m.second + count_of(e) * d * d;
    }
    square = group.reduce(square, 0.0, Sum()) * inverse;
    if (part.rank == 0 && part.row < rows) {
      mean[part.row] = static_cast<T>(centre);
      rstd[part.row] = static_cast<T>(rstd_of(square, static_cast<double>(epsilon)));
      if (variance) variance[part.row] = static_cast<T>(square);
    }
  }
}

template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    slab_apply_kernel(SlabNormShape s, SlabTiles t, const T* DC_RESTRICT x, const T* DC_RESTRICT mean,
                      const T* DC_RESTRICT rstd, const T* DC_RESTRICT gamma, const T* DC_RESTRICT beta,
                      T* DC_RESTRICT y) {
  const SlabPlace p = slab_place<V>(s, t, true);
  apply_rows<T, V>(s, p, SlabMap<T, V>(s, p, mean, rstd, gamma, beta), x, y);
}

// Not restrict: a thread reads the mean that another one of its block wrote.
template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 3)
    slab_whole(SlabNormShape s, SlabTiles t, T epsilon, const T* DC_RESTRICT x, const T* DC_RESTRICT gamma,
               const T* DC_RESTRICT beta, T* DC_RESTRICT y, T* mean, T* rstd, T* variance) {
  DC_SHARED(T[2 * V + 1][kSlabThreads], held);
  const SlabPlace p = slab_place<V>(s, t, false);
  const Moments<T, V> all = chunk_moments<T, V>(s, p, x, held);
  if (thread_index().y == 0 && p.channel < s.c) {
    Channels<T, V> m, r, squares;
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      const double square = static_cast<double>(all.m2[v]) / static_cast<double>(s.rows);
      m.of[v] = all.mean[v];
      r.of[v] = static_cast<T>(rstd_of(square, static_cast<double>(epsilon)));
      squares.of[v] = static_cast<T>(square);
    }
    const long long at = p.slab * s.c + p.channel;
    store_channels<V>(mean + at, m);
    store_channels<V>(rstd + at, r);
    if (variance) store_channels<V>(variance + at, squares);
  }
  sync_block();
  apply_rows<T, V>(s, p, SlabMap<T, V>(s, p, mean, rstd, gamma, beta), x, y);
}

}  // namespace

}  // namespace dc::cuda
