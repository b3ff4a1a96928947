// Copies of slices chosen by int64 indices, and the sums that undo them.
//   take       y[o, j, i] = x[o, index[j], i];  take_along: index[o, j, i]
//   gradients  gx[o, d, i] = sum over j with index = d of g[o, j, i], in order of j, gx written whole
// Split: a thread per element of the result, or per four floats where rows allow; neighbours run along inner.
// Gradients: with few indices every element looks at all of them. Else the positions j are sorted by destination (one
// row of them for take, one per (o, i) for take_along), and every element adds up the run that is its own.
// No atomics: the same terms in the same order, whatever the launch. A destination that is named very often is a long
// sum of one thread, with several terms under way at once. Bound: memory; 8 bytes an element plus the indices.
#include "core/error.h"
#include "families/axis.h"
#include "families/families.h"
#include "families/pack.cuh"
#include "families/sort.h"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;

template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    take_kernel(const T* DC_RESTRICT x, const int64_t* DC_RESTRICT index, T* DC_RESTRICT y, long long n,
                Divisor by_packs, Divisor by_m, long long all) {
  const long long inner = by_packs.size * kWidth;
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long o = place;
    const long long i = by_packs.peel(o) * kWidth, j = by_m.peel(o);
    store_pack<T, kWidth>(y + place * kWidth, load_pack<T, kWidth>(x + (o * n + index[j]) * inner + i));
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    take_along_kernel(const T* DC_RESTRICT x, const int64_t* DC_RESTRICT index, T* DC_RESTRICT y, long long n,
                      Divisor by_inner, Divisor by_m, long long all) {
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long o = place;
    const long long i = by_inner.peel(o);
    o = by_m.of(o);
    y[place] = x[(o * n + index[place]) * by_inner.size + i];
  }
}

// Every element of gx looks at all indices.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    grad_by_search(const T* DC_RESTRICT g, const int64_t* DC_RESTRICT index, T* DC_RESTRICT gx, bool along, long long m,
                   Divisor by_inner, Divisor by_n, long long all) {
  const long long inner = by_inner.size;
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long o = place;
    const long long i = by_inner.peel(o), d = by_n.peel(o), first = o * m * inner + i;
    const int64_t* of_j = along ? index + first : index;
    const long long step = along ? inner : 1;
    T sum = T(0);
    for (long long j = 0; j < m; ++j)
      if (of_j[j * step] == d) sum += g[first + j * inner];
    gx[place] = sum;
  }
}

// items[row, j] = (destination, j), rows by (o, i); index: (outer, m, inner).
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) make_items(const int64_t* DC_RESTRICT index, Item* DC_RESTRICT items,
                                                   Divisor by_inner, Divisor by_m, long long all) {
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long o = place;
    const long long i = by_inner.peel(o), j = by_m.peel(o);
    items[(o * by_inner.size + i) * by_m.size + j] = static_cast<Item>(index[place]) << 32 | static_cast<Item>(j);
  }
}

// The terms of destination d of a row are items [start[row, d], start[row, d + 1]). along: rows by (o, i), else one.
template <class T, int kWidth>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    grad_by_runs(const T* DC_RESTRICT g, const Item* DC_RESTRICT items, const unsigned* DC_RESTRICT start,
                 T* DC_RESTRICT gx, bool along, long long m, Divisor by_packs, Divisor by_n, long long all) {
  constexpr int kTogether = kWidth * sizeof(T) == 4 ? 8 : 4;
  const long long inner = by_packs.size * kWidth;
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long o = place;
    const long long i = by_packs.peel(o) * kWidth, d = by_n.peel(o), row = along ? o * inner + i : 0;
    const unsigned* run = start + row * (by_n.size + 1) + d;
    const Item* terms = items + row * m;
    const T* from = g + o * m * inner + i;
    const long long last = run[1];
    Pack<T, kWidth> sum = pack_of<T, kWidth>(T(0));
    for (long long t = run[0]; t < last; t += kTogether) {
      Pack<T, kWidth> v[kTogether];
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u)
        if (t + u < last)
          v[u] = load_pack<T, kWidth>(from + static_cast<long long>(static_cast<unsigned>(terms[t + u])) * inner);
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u) {
        if (t + u >= last) continue;
        DC_UNROLL
        for (int e = 0; e < kWidth; ++e) sum.of[e] += v[u].of[e];
      }
    }
    store_pack<T, kWidth>(gx + place * kWidth, sum);
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    one_hot_kernel(const int64_t* DC_RESTRICT index, T* DC_RESTRICT y, T on, T off, Divisor by_c, long long all) {
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long row = place;
    const long long c = by_c.peel(row);
    y[place] = index[row] == c ? on : off;
  }
}

template <class T>
void take(const AxisShape& s, int64_t m, const T* x, const int64_t* index, T* y, Context& context) {
  if constexpr (sizeof(T) == 4) {
    if (four_at_a_time<T>(s.inner, x, y)) {
      const long long all = s.outer * m * (s.inner / 4);
      return run("take", context, take_kernel<T, 4>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, x, index, y,
                 s.n, Divisor(s.inner / 4), Divisor(m), all);
    }
  }
  const long long all = s.outer * m * s.inner;
  run("take", context, take_kernel<T, 1>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, x, index, y, s.n,
      Divisor(s.inner), Divisor(m), all);
}

template <class T>
void take_along(const AxisShape& s, int64_t m, const T* x, const int64_t* index, T* y, Context& context) {
  const long long all = s.outer * m * s.inner;
  run("take_along", context, take_along_kernel<T>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, x, index, y, s.n,
      Divisor(s.inner), Divisor(m), all);
}

// One launch is worth some comparisons; sorting takes four or more.
constexpr int64_t kFewIndices = 32, kFewComparisons = 1 << 22;

template <class T>
void gradient(const char* op, bool along, const AxisShape& s, int64_t m, const T* g, const int64_t* index, T* gx,
              Context& context) {
  constexpr int64_t most = (int64_t{1} << 32) - 1;
  DC_CHECK(s.n < most && m < most, ShapeError, op, ": expected fewer than 2^32 - 1 elements along the axis, got ", s.n,
           " and ", m);
  const long long all = s.outer * s.n * s.inner;
  if (m <= kFewIndices || all <= kFewComparisons / m)
    return run(op, context, grad_by_search<T>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, g, index, gx, along,
               m, Divisor(s.inner), Divisor(s.n), all);
  const int64_t rows = along ? s.outer * s.inner : 1;
  const Scratch pairs(op, context, static_cast<size_t>(2 * rows * m) * sizeof(Item));
  const Scratch starts(op, context, static_cast<size_t>(rows * (s.n + 1)) * sizeof(unsigned));
  Item* items = pairs.as<Item>();
  unsigned* start = starts.as<unsigned>();
  run(op, context, make_items, dim3(blocks_for(rows * m, kThreads)), dim3(kThreads), 0, index, items,
      Divisor(along ? s.inner : 1), Divisor(m), rows * m);
  const Item* sorted = sort_items(op, context, rows, m, items, items + rows * m);
  find_starts(op, context, rows, m, s.n, sorted, start);
  if constexpr (sizeof(T) == 4) {
    if (!along && four_at_a_time<T>(s.inner, g, gx))
      return run(op, context, grad_by_runs<T, 4>, dim3(blocks_for(all / 4, kThreads)), dim3(kThreads), 0, g, sorted,
                 start, gx, along, m, Divisor(s.inner / 4), Divisor(s.n), all / 4);
  }
  run(op, context, grad_by_runs<T, 1>, dim3(blocks_for(all, kThreads)), dim3(kThreads), 0, g, sorted, start, gx, along,
      m, Divisor(s.inner), Divisor(s.n), all);
}

template <class T>
void take_grad(const AxisShape& s, int64_t m, const T* g, const int64_t* index, T* gx, Context& context) {
  gradient("take_grad", false, s, m, g, index, gx, context);
}
template <class T>
void take_along_grad(const AxisShape& s, int64_t m, const T* g, const int64_t* index, T* gx, Context& context) {
  gradient("take_along_grad", true, s, m, g, index, gx, context);
}

template <class T>
void one_hot(int64_t rows, int64_t c, T on, T off, const int64_t* index, T* y, Context& context) {
  run("one_hot", context, one_hot_kernel<T>, dim3(blocks_for(rows * c, kThreads)), dim3(kThreads), 0, index, y, on, off,
      Divisor(c), rows * c);
}

}  // namespace

const IndexKernels<float> index_f32 = {take<float>,       take_grad<float>, take_along<float>, take_along_grad<float>,
                                       one_hot<float>,    argmax<float>,    argmin<float>,     sort_rows<float>,
                                       top_k_rows<float>, cumsum<float>};
const IndexKernels<double> index_f64 = {
    take<double>,   take_grad<double>, take_along<double>, take_along_grad<double>, one_hot<double>,
    argmax<double>, argmin<double>,    sort_rows<double>,  top_k_rows<double>,      cumsum<double>};

}  // namespace dc::cuda
