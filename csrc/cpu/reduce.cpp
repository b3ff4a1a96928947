// Reductions: y[o, i] = reduce over p of x[o, p, i], x contiguous (outer, r, inner).
// inner == 1: four registers run along r; otherwise lanes run over inner and rows are folded one by one.
// Long reductions with few results are cut into chunks of fixed size whose partial results are folded in order, so
// neither threads nor the machine's core count change a bit. Bound: memory (one read of x).
#include "kernels/reduce.h"

#include "core/parallel.h"
#include "cpu/families.h"
#include "cpu/simd/vec.h"

namespace dc::DC_ISA {

static constexpr int64_t kGrain = 32768;
static constexpr int kScratchSlot = 3;

namespace folds {
struct Sum {
  template <class V>
  static DC_INLINE V first(V x) {
    return x;
  }
  template <class V>
  static DC_INLINE V fold(V a, V b) {
    return a + b;
  }
  static constexpr double kNeutral = 0;
};
struct SumSquares : Sum {
  template <class V>
  static DC_INLINE V first(V x) {
    return x * x;
  }
};
struct SumAbs : Sum {
  template <class V>
  static DC_INLINE V first(V x) {
    return abs(x);
  }
};
struct Max {
  template <class V>
  static DC_INLINE V first(V x) {
    return x;
  }
  template <class V>
  static DC_INLINE V fold(V a, V b) {
    return select(isnan(a), a, select(gt(a, b), a, b));
  }
  static constexpr double kNeutral = -HUGE_VAL;
};
struct Min {
  template <class V>
  static DC_INLINE V first(V x) {
    return x;
  }
  template <class V>
  static DC_INLINE V fold(V a, V b) {
    return select(isnan(a), a, select(lt(a, b), a, b));
  }
  static constexpr double kNeutral = HUGE_VAL;
};
struct Prod {
  template <class V>
  static DC_INLINE V first(V x) {
    return x;
  }
  template <class V>
  static DC_INLINE V fold(V a, V b) {
    return a * b;
  }
  static constexpr double kNeutral = 1;
};
}  // namespace folds

template <class Op, class T>
static DC_INLINE Vec<T> load_tail(const T* p, int n) {
  // Lanes past the end hold the neutral element after `first`.
  T lanes[Vec<T>::W];
  for (int j = 0; j < Vec<T>::W; ++j) lanes[j] = static_cast<T>(Op::kNeutral);
  Op::template first<Vec<T>>(Vec<T>::load_n(p, n)).store_n(lanes, n);
  return Vec<T>::load(lanes);
}

template <class Op, class T>
static T reduce_row(const T* x, int64_t n) {
  using V = Vec<T>;
  constexpr int W = V::W;
  V acc[4];
  for (V& a : acc) a = V::set(static_cast<T>(Op::kNeutral));
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
    for (int u = 0; u < 4; ++u) acc[u] = Op::fold(acc[u], Op::template first<V>(V::load(x + i + u * W)));
  for (; i + W <= n; i += W) acc[0] = Op::fold(acc[0], Op::template first<V>(V::load(x + i)));
  if (i < n) acc[1] = Op::fold(acc[1], load_tail<Op>(x + i, static_cast<int>(n - i)));
  V r = Op::fold(Op::fold(acc[0], acc[1]), Op::fold(acc[2], acc[3]));
  T lanes[W];
  r.store(lanes);
  for (int width = W / 2; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) {
      T out[W];
      Op::fold(V::set(lanes[j]), V::set(lanes[j + width])).store(out);
      lanes[j] = out[0];
    }
  return lanes[0];
}

// Folds rows [p0, p1) of one outer slice into y (inner values), overwriting it.
template <class Op, class T>
static void reduce_columns(const T* x, int64_t p0, int64_t p1, int64_t inner, T* y) {
  using V = Vec<T>;
  for_vectors<T>(inner, [&](int64_t i, int w) {
    const T* column = x + i;
    V even = V::set(static_cast<T>(Op::kNeutral)), odd = even;
    int64_t p = p0;
    if (w == V::W) {
      for (; p + 2 <= p1; p += 2) {
        even = Op::fold(even, Op::template first<V>(V::load(column + p * inner)));
        odd = Op::fold(odd, Op::template first<V>(V::load(column + (p + 1) * inner)));
      }
      if (p < p1) even = Op::fold(even, Op::template first<V>(V::load(column + p * inner)));
    } else {
      for (; p < p1; ++p) even = Op::fold(even, Op::template first<V>(V::load_n(column + p * inner, w)));
    }
    Op::fold(even, odd).store_n(y + i, w);
  });
}

template <class Op, class T>
static void reduce_run(const ReduceShape& s, const T* x, T* y, Context& context) {
  if (s.outer == 0 || s.inner == 0) return;
  const int64_t outputs = s.outer * s.inner;
  // Long reductions: chunks of at least kGrain elements, at most 64 of them.
  const int64_t slice = s.r * s.inner;
  int64_t chunks = 1;
  if (s.outer < 8 && slice >= 4 * kGrain && s.inner <= kGrain) chunks = scalar_min<int64_t>(64, slice / kGrain);
  const int64_t rows = (s.r + chunks - 1) / scalar_max<int64_t>(chunks, 1);
  T* partial = y;
  if (chunks > 1)
    partial = static_cast<T*>(thread_scratch(kScratchSlot, static_cast<size_t>(chunks * outputs) * sizeof(T)));
  const auto block = [&](int64_t o, int64_t chunk, T* out) {
    const int64_t p0 = scalar_min(chunk * rows, s.r), p1 = scalar_min(p0 + rows, s.r);
    const T* base = x + o * slice;
    if (s.inner == 1)
      *out = reduce_row<Op>(base + p0, p1 - p0);
    else
      reduce_columns<Op>(base, p0, p1, s.inner, out);
  };
  const int64_t work = scalar_max<int64_t>(1, rows * s.inner);
  parallel_for(context, s.outer * chunks, scalar_max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) block(t / chunks, t % chunks, partial + t * s.inner);
  });
  if (chunks == 1) return;
  using V = Vec<T>;
  for (int64_t o = 0; o < s.outer; ++o)
    for_vectors<T>(s.inner, [&](int64_t i, int w) {
      const T* p = partial + o * chunks * s.inner + i;
      V a = V::load_n(p, w);
      for (int64_t c = 1; c < chunks; ++c) a = Op::fold(a, V::load_n(p + c * s.inner, w));
      a.store_n(y + o * s.inner + i, w);
    });
}

template <class T>
static void reduce(ReduceOp op, const ReduceShape& s, const T* x, T* y, Context& context) {
  switch (op) {
    case ReduceOp::sum:
      return reduce_run<folds::Sum>(s, x, y, context);
    case ReduceOp::max:
      return reduce_run<folds::Max>(s, x, y, context);
    case ReduceOp::min:
      return reduce_run<folds::Min>(s, x, y, context);
    case ReduceOp::prod:
      return reduce_run<folds::Prod>(s, x, y, context);
    case ReduceOp::sum_squares:
      return reduce_run<folds::SumSquares>(s, x, y, context);
    case ReduceOp::sum_abs:
      return reduce_run<folds::SumAbs>(s, x, y, context);
  }
}

extern const ReduceKernels<float> reduce_f32 = {reduce<float>};
#ifdef DC_ISA_SCALAR
extern const ReduceKernels<double> reduce_f64 = {reduce<double>};
#endif

}  // namespace dc::DC_ISA
