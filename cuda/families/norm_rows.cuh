// Layer norm: y = (x - mean) rstd gamma + beta, statistics over each row of a matrix (rows, c).
// A group of threads takes a row (rows.cuh) and holds it in registers between its passes: the mean, the squared
// deviations from it, y. The gradient holds x and g, and its threads meet the same columns in every row, so that the
// sums for gamma and beta grow in registers too: a block leaves one pair of rows of them, and a second kernel adds
// those in double, in order. Bound: memory, one read and one write (gradient: two reads and one write).
#pragma once
#include "families/lane.cuh"
#include "families/rows.cuh"
#include "kernels/norm.h"

namespace dc::cuda {

namespace {

inline constexpr int64_t kShortRow = 1024, kShortGradRow = 512;  // of a warp: 32 lanes, 8 or 4 quads each
inline constexpr int kAddColumns = 32;

// Half of what other kernels hold: sums take the other half.
template <class T, class Group>
inline constexpr int kGradHeld = kHeld<T, Group> / 2;

template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, Group::kBlocks)
    norm_rows(long long rows, long long c, int size, bool vector, T epsilon, const T* DC_RESTRICT x,
              const T* DC_RESTRICT gamma, const T* DC_RESTRICT beta, T* DC_RESTRICT y, T* DC_RESTRICT mean,
              T* DC_RESTRICT rstd) {
  const Group group{size};
  for (long long base = group.first(); base < rows; base += group.step()) {
    const RowPart part = group.part(base, rows, c, vector);
    const T* from = x + part.row * c;
    T* to = y + part.row * c;
    Quad<T> held[kHeld<T, Group>];
    T sum = 0, square = 0;
    const auto add = [&](const Quad<T>& v) { sum += (v.of[0] + v.of[1]) + (v.of[2] + v.of[3]); };
    for_quads<Group::kRest>(
        part, held,
        [&](int q, Quad<T>& v) {
          v = load_quad(from, part, q, T(0));
          add(v);
        },
        [&](long long q) { add(load_quad(from, part, q, T(0))); });
    const T centre = group.reduce(sum, T(0), Sum()) / static_cast<T>(c);
    const auto add_square = [&](const Quad<T>& v, auto q) {
      DC_UNROLL
      for (int i = 0; i < 4; ++i) {
        const T d = part.inside(part.first(q) + i * part.step()) ? v.of[i] - centre : T(0);
        square = fma_of(d, d, square);
      }
    };
    for_quads<Group::kRest>(
        part, held, [&](int q, const Quad<T>& v) { add_square(v, q); },
        [&](long long q) { add_square(load_quad(from, part, q, T(0)), q); });
    const T scale = T(1) / sqrt_of(group.reduce(square, T(0), Sum()) / static_cast<T>(c) + epsilon);
    const auto give = [&](const Quad<T>& v, auto q) {
      const Quad<T> w = gamma ? load_quad(gamma, part, q, T(0)) : Quad<T>{T(1), T(1), T(1), T(1)};
      const Quad<T> b = beta ? load_quad(beta, part, q, T(0)) : Quad<T>{};
      Quad<T> r;
      DC_UNROLL
      for (int i = 0; i < 4; ++i) r.of[i] = fma_of((v.of[i] - centre) * scale, w.of[i], b.of[i]);
      store_quad(to, part, q, r);
    };
    for_quads<Group::kRest>(
        part, held, [&](int q, const Quad<T>& v) { give(v, q); },
        [&](long long q) { give(load_quad(from, part, q, T(0)), q); });
    if (part.rank == 0 && part.row < rows) {
      mean[part.row] = centre;
      rstd[part.row] = scale;
    }
  }
}

// What a thread holds of a row, and the sums of its columns so far.
template <class T>
struct GradQuad {
  Quad<T> hat, g, sum_g, sum_product;
};

// Blocks with groups of lanes: joins the sums of all of them, first within each warp, then warp by warp.
template <class T, int kQuads>
DC_DEVICE void leave_sums(const WarpRows& group, const RowPart& part, GradQuad<T> (&held)[kQuads],
                          T* to DC_PLACE_PARAMETER) {
  DC_SHARED(T[2][kShortGradRow], sums);
  DC_UNROLL
  for (int q = 0; q < kQuads; ++q) {
    DC_UNROLL
    for (int i = 0; i < 4; ++i)
      for (int distance = group.size; distance < 32; distance *= 2) {
        T &a = held[q].sum_g.of[i], &b = held[q].sum_product.of[i];
        a += shuffle_xor(kFullMask, a, distance DC_PLACE_ARGUMENT);
        b += shuffle_xor(kFullMask, b, distance DC_PLACE_ARGUMENT);
      }
  }
  const unsigned warps = block_size().x / 32;
  for (unsigned w = 0; w < warps; ++w) {
    if (warp() == w && lane() < static_cast<unsigned>(group.size)) {
      DC_UNROLL
      for (int q = 0; q < kQuads; ++q) {
        DC_UNROLL
        for (int i = 0; i < 4; ++i)
          if (const int k = part.first(q) + i * part.step(); part.inside(k)) {
            sums[0][k] = (w ? sums[0][k] : T(0)) + held[q].sum_g.of[i];
            sums[1][k] = (w ? sums[1][k] : T(0)) + held[q].sum_product.of[i];
          }
      }
    }
    sync_block(DC_PLACE_ONLY);
  }
  for (long long k = thread_index().x; k < part.c; k += block_size().x) {
    to[k] = sums[0][k];
    to[part.c + k] = sums[1][k];
  }
}
// A block's own columns; those beyond its registers are there already.
template <class T, int kQuads>
DC_DEVICE void leave_sums(const BlockRows&, const RowPart& part, GradQuad<T> (&held)[kQuads], T* to) {
  DC_UNROLL
  for (int q = 0; q < kQuads; ++q) {
    store_quad(to, part, q, held[q].sum_g);
    store_quad(to + part.c, part, q, held[q].sum_product);
  }
}

// gx = rstd (gamma g - mean(gamma g) - xhat mean(gamma g xhat)). partial: (blocks, 2, c) sums of g and g xhat, or null.
template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, Group::kBlocks)
    norm_grad_rows(long long rows, long long c, int size, bool vector, const T* DC_RESTRICT x, const T* DC_RESTRICT g,
                   const T* DC_RESTRICT mean, const T* DC_RESTRICT rstd, const T* DC_RESTRICT gamma, T* DC_RESTRICT gx,
                   T* DC_RESTRICT partial) {
  const Group group{size};
  GradQuad<T> held[kGradHeld<T, Group>];
  DC_UNROLL
  for (int q = 0; q < kGradHeld<T, Group>; ++q) held[q].sum_g = held[q].sum_product = Quad<T>{};
  T* sums = partial ? partial + block_index().x * 2 * c : nullptr;
  bool fresh = true;
  for (long long base = group.first(); base < rows; base += group.step()) {
    const RowPart part = group.part(base, rows, c, vector);
    const bool live = part.row < rows;
    const T *xs = x + part.row * c, *gs = g + part.row * c;
    const T centre = live ? mean[part.row] : T(0), scale = live ? rstd[part.row] : T(0);
    T a = 0, b = 0;
    const auto take = [&](Quad<T>& hat, Quad<T>& gv, auto q) {
      hat = load_quad(xs, part, q, centre);
      gv = load_quad(gs, part, q, T(0));
      DC_UNROLL
      for (int i = 0; i < 4; ++i) hat.of[i] = (hat.of[i] - centre) * scale;
    };
    const auto gamma_of = [&](auto q) {
      return gamma ? load_quad(gamma, part, q, T(0)) : Quad<T>{T(1), T(1), T(1), T(1)};
    };
    const auto add = [&](const Quad<T>& hat, const Quad<T>& gv, auto q) {
      const Quad<T> w = gamma_of(q);
      DC_UNROLL
      for (int i = 0; i < 4; ++i) {
        const T weighted = gv.of[i] * w.of[i];
        a += weighted;
        b = fma_of(weighted, hat.of[i], b);
      }
    };
    for_quads<Group::kRest>(
        part, held,
        [&](int q, GradQuad<T>& v) {
          take(v.hat, v.g, q);
          add(v.hat, v.g, q);
          DC_UNROLL
          for (int i = 0; i < 4; ++i) {
            v.sum_g.of[i] += v.g.of[i];
            v.sum_product.of[i] = fma_of(v.g.of[i], v.hat.of[i], v.sum_product.of[i]);
          }
        },
        [&](long long q) {
          Quad<T> hat, gv;
          take(hat, gv, q);
          add(hat, gv, q);
          if (!sums) return;
          Quad<T> so_far = fresh ? Quad<T>{} : load_quad(sums, part, q, T(0));
          Quad<T> products = fresh ? Quad<T>{} : load_quad(sums + c, part, q, T(0));
          for (int i = 0; i < 4; ++i) {
            so_far.of[i] += gv.of[i];
            products.of[i] = fma_of(gv.of[i], hat.of[i], products.of[i]);
          }
          store_quad(sums, part, q, so_far);
          store_quad(sums + c, part, q, products);
        });
    fresh = false;
    if (gx) {
      const T inverse = T(1) / static_cast<T>(c);
      a = group.reduce(a, T(0), Sum()) * inverse;
      b = group.reduce(b, T(0), Sum()) * inverse;
      const auto give = [&](const Quad<T>& hat, const Quad<T>& gv, auto q) {
        const Quad<T> w = gamma_of(q);
        Quad<T> r;
        DC_UNROLL
        for (int i = 0; i < 4; ++i) r.of[i] = scale * (fma_of(gv.of[i], w.of[i], -a) - hat.of[i] * b);
        store_quad(gx + part.row * c, part, q, r);
      };
      for_quads<Group::kRest>(
          part, held, [&](int q, const GradQuad<T>& v) { give(v.hat, v.g, q); },
          [&](long long q) {
            Quad<T> hat, gv;
            take(hat, gv, q);
            give(hat, gv, q);
          });
    }
  }
  if (sums) {
    const RowPart any = group.part(0, 1, c, vector);
    const RowPart all(0, c, size, any.rank, vector);
    leave_sums(group, all, held, sums);
  }
}

// gbeta and ggamma from (parts, 2, c): a block per 32 columns, whose threads share the parts.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(1024, 1)
    add_parts(long long parts, long long c, const T* DC_RESTRICT partial, T* DC_RESTRICT ggamma, T* DC_RESTRICT gbeta) {
  DC_SHARED(double[32][kAddColumns], sums);
  const long long column = static_cast<long long>(block_index().x) * kAddColumns + thread_index().x;
  double sum = 0;
  if (column < 2 * c)
    for (long long p = thread_index().y; p < parts; p += block_size().y)
      sum += static_cast<double>(partial[p * 2 * c + column]);
  sums[thread_index().y][thread_index().x] = sum;
  sync_block();
  if (thread_index().y == 0 && column < 2 * c) {
    for (unsigned k = 1; k < block_size().y; ++k) sum += sums[k][thread_index().x];
    if (column < c)
      gbeta[column] = static_cast<T>(sum);
    else
      ggamma[column - c] = static_cast<T>(sum);
  }
}

}  // namespace

}  // namespace dc::cuda
