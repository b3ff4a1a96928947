// The gradient of batch, group and instance norm: sums of g and g (x - mean) by chunks; what they mean for groups and
// channels; gx. Or `whole`, all of it in one block (norm_slab.cuh). Bound: memory, four reads and a write, less what
// caches keep.
#pragma once
#include "families/norm_slab.cuh"

namespace dc::cuda {

namespace {

template <class T, int V>
DC_DEVICE T behind_mask(const SlabNormShape& s, const SlabMap<T, V>& map, T x, T g, int v) {
  return s.relu && !(map.at(x, v) > T(0)) ? T(0) : g;
}

template <class T, int V>
struct GradSums {
  T sum[V], product[V];
};

// Sums of g and g (x - mean), g behind the mask of ReLU, over the block's chunk; threads with y = 0 have them.
template <class T, int V>
DC_DEVICE GradSums<T, V> chunk_grad_sums(const SlabNormShape& s, const SlabPlace& p, const SlabMap<T, V>& map,
                                         const T* x, const T* g, T (&held)[2 * V][kSlabThreads] DC_PLACE_PARAMETER) {
  GradSums<T, V> all{};
  const auto add = [&](const Channels<T, V>& r, const Channels<T, V>& gs) {
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      const T gv = behind_mask(s, map, r.of[v], gs.of[v], v);
      all.sum[v] += gv;
      all.product[v] = fma_of(gv, r.of[v] - map.mean[v], all.product[v]);
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
        for (int v = 0; v < V; ++v) held[v][me] = all.sum[v], held[V + v][me] = all.product[v];
      },
      [&](int other) {
        DC_UNROLL
        for (int v = 0; v < V; ++v) all.sum[v] += held[v][other], all.product[v] += held[V + v][other];
      } DC_PLACE_ARGUMENT);
  return all;
}

template <class T, int V>
DC_DEVICE void grad_apply_rows(const SlabNormShape& s, const SlabPlace& p, const SlabMap<T, V>& map,
                               const Channels<T, V>& constant, const Channels<T, V>& slope, const T* x, const T* g,
                               T* gx) {
  const auto give = [&](long long at, const Channels<T, V>& r, const Channels<T, V>& gs) {
    Channels<T, V> out;
    DC_UNROLL
    for (int v = 0; v < V; ++v)
      out.of[v] = fma_of(behind_mask(s, map, r.of[v], gs.of[v], v), map.scale[v],
                         -fma_of(r.of[v] - map.mean[v], slope.of[v], constant.of[v]));
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

// partial: (slab, channel, chunk) pairs of the sums.
template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 3)
    slab_grad_sums(SlabNormShape s, SlabTiles t, const T* DC_RESTRICT x, const T* DC_RESTRICT g,
                   const T* DC_RESTRICT mean, const T* DC_RESTRICT rstd, const T* DC_RESTRICT gamma,
                   const T* DC_RESTRICT beta, T* DC_RESTRICT partial) {
  DC_SHARED(T[2 * V][kSlabThreads], held);
  const SlabPlace p = slab_place<V>(s, t, false);
  const GradSums<T, V> all = chunk_grad_sums<T, V>(s, p, SlabMap<T, V>(s, p, mean, rstd, gamma, beta), x, g, held);
  if (thread_index().y == 0 && p.channel < s.c) {
    DC_UNROLL
    for (int v = 0; v < V; ++v)
      store_pair(partial + ((p.slab * s.c + p.channel + v) * t.chunks + p.chunk) * 2, all.sum[v], all.product[v]);
  }
}

// With A, B the means over a group's elements of gamma g and gamma g xhat: gx = rstd (gamma g - A - xhat B), hence
// gx = rstd gamma g - pull[0] - (x - mean) pull[1]; pull: (2, slabs, groups), rstd A and rstd^2 B.
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
        const Pair m =
            load_pair(partial + (of_group ? part.row * entries + e : (which * s.c + k) * t.chunks + chunk) * 2);
        double by_sum = 1, by_product = 1;
        if (of_group)
          by_sum = by_product = gamma ? static_cast<double>(gamma[part.row % s.groups * width + which]) : 1.0;
        else
          by_product = static_cast<double>(rstd[which * s.groups + k / width]);
        sum += by_sum * m.first;
        product += by_product * m.second;
      }
    }
    sum = group.reduce(sum, 0.0, Sum());
    product = group.reduce(product, 0.0, Sum());
    if (part.rank == 0 && part.row < rows) {
      if (of_group) {
        const double r = static_cast<double>(rstd[part.row]);
        pull[part.row] = static_cast<T>(r * sum * inverse);
        pull[group_rows + part.row] = static_cast<T>(r * r * r * product * inverse);
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
  const Channels<T, V> constant = of_groups<V>(pull, s, p, T(0));
  const Channels<T, V> slope = of_groups<V>(pull + s.slabs * s.groups, s, p, T(0));
  grad_apply_rows<T, V>(s, p, SlabMap<T, V>(s, p, mean, rstd, gamma, beta), constant, slope, x, g, gx);
}

// Sums and gx in one block; leaves gbeta and ggamma where there is one slab, else the sums in `partial` where not null.
template <class T, int V>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 2)
    slab_grad_whole(SlabNormShape s, SlabTiles t, const T* DC_RESTRICT x, const T* DC_RESTRICT g,
                    const T* DC_RESTRICT mean, const T* DC_RESTRICT rstd, const T* DC_RESTRICT gamma,
                    const T* DC_RESTRICT beta, T* DC_RESTRICT gx, T* DC_RESTRICT ggamma, T* DC_RESTRICT gbeta,
                    T* DC_RESTRICT partial) {
  DC_SHARED(T[2 * V][kSlabThreads], held);
  const SlabPlace p = slab_place<V>(s, t, false);
  const SlabMap<T, V> map(s, p, mean, rstd, gamma, beta);
  const GradSums<T, V> all = chunk_grad_sums<T, V>(s, p, map, x, g, held);
  const int column = static_cast<int>(thread_index().x);
  if (thread_index().y == 0 && p.channel < s.c) {
    const Channels<T, V> r = of_groups<V>(rstd, s, p, T(1));
    Channels<T, V> of_gamma, of_beta;
    DC_UNROLL
    for (int v = 0; v < V; ++v) {
      const T factor = map.scale[v] / static_cast<T>(s.rows);
      held[v][column] = factor * all.sum[v];
      held[V + v][column] = factor * r.of[v] * r.of[v] * all.product[v];
      of_gamma.of[v] = r.of[v] * all.product[v];
      of_beta.of[v] = all.sum[v];
      if (partial) store_pair(partial + (p.slab * s.c + p.channel + v) * 2, all.sum[v], all.product[v]);
    }
    if (ggamma && s.slabs == 1) {
      store_channels<V>(ggamma + p.channel, of_gamma);
      store_channels<V>(gbeta + p.channel, of_beta);
    }
  }
  sync_block();
  if (gx) {
    Channels<T, V> constant, slope;
    DC_UNROLL
    for (int v = 0; v < V; ++v) constant.of[v] = held[v][column], slope.of[v] = held[V + v][column];
    grad_apply_rows<T, V>(s, p, map, constant, slope, x, g, gx);
  }
}

}  // namespace

}  // namespace dc::cuda
