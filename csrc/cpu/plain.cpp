// Integer arithmetic, comparisons and selection: plain loops over a strided space, y contiguous.
// Split: flat chunks of the result. Bound: memory. Integer overflow wraps (two's complement).
#include "core/parallel.h"
#include "cpu/families.h"
#include "cpu/walk.h"
#include "kernels/by_type.h"

namespace dc::DC_ISA {

static constexpr int64_t kGrain = 16384;

template <class A, class Y, class F>
static DC_INLINE void map2(const Nd& nd, const A* a, const A* b, Y* y, Context& context, const F& f) {
  const int64_t sa = nd.stride[0][nd.ndim - 1], sb = nd.stride[1][nd.ndim - 1];
  parallel_for(context, nd.size, kGrain, [&](int64_t begin, int64_t end) {
    walk_rows(nd, begin, end, [&](int64_t flat, int64_t n, int64_t oa, int64_t ob, int64_t) {
      for (int64_t i = 0; i < n; ++i) y[flat + i] = f(a[oa + i * sa], b[ob + i * sb]);
    });
  });
}

template <class T>
static void integer_typed(BinaryOp op, const Nd& nd, const void* av, const void* bv, void* yv, Context& context) {
  const T *a = static_cast<const T*>(av), *b = static_cast<const T*>(bv);
  T* y = static_cast<T*>(yv);
  using U = typename Wrapping<T>::Type;
  switch (op) {
    case BinaryOp::add:
      return map2(nd, a, b, y, context, [](T p, T q) { return static_cast<T>(U(p) + U(q)); });
    case BinaryOp::subtract:
      return map2(nd, a, b, y, context, [](T p, T q) { return static_cast<T>(U(p) - U(q)); });
    case BinaryOp::multiply:
      return map2(nd, a, b, y, context, [](T p, T q) { return static_cast<T>(U(p) * U(q)); });
    case BinaryOp::maximum:
      return map2(nd, a, b, y, context, [](T p, T q) { return p > q ? p : q; });
    default:
      return map2(nd, a, b, y, context, [](T p, T q) { return p < q ? p : q; });  // minimum
  }
}

static void integer_binary(BinaryOp op, ElementTag tag, const Nd& nd, const void* a, const void* b, void* y,
                           Context& context) {
  by_integer(tag, [&]<class T>(T) { integer_typed<T>(op, nd, a, b, y, context); });
}

template <class T>
static void compare_typed(CompareOp op, const Nd& nd, const void* av, const void* bv, uint8_t* y, Context& context) {
  const T *a = static_cast<const T*>(av), *b = static_cast<const T*>(bv);
  switch (op) {
    case CompareOp::equal:
      return map2(nd, a, b, y, context, [](T p, T q) { return p == q; });
    case CompareOp::not_equal:
      return map2(nd, a, b, y, context, [](T p, T q) { return p != q; });
    case CompareOp::less:
      return map2(nd, a, b, y, context, [](T p, T q) { return p < q; });
    case CompareOp::less_equal:
      return map2(nd, a, b, y, context, [](T p, T q) { return p <= q; });
    case CompareOp::greater:
      return map2(nd, a, b, y, context, [](T p, T q) { return p > q; });
    case CompareOp::greater_equal:
      return map2(nd, a, b, y, context, [](T p, T q) { return p >= q; });
  }
}

static void compare(CompareOp op, ElementTag tag, const Nd& nd, const void* a, const void* b, uint8_t* y,
                    Context& context) {
  by_element(tag, [&]<class T>(T) { compare_typed<T>(op, nd, a, b, y, context); });
}

template <class T>
static void where_typed(const Nd& nd, const uint8_t* c, const void* av, const void* bv, void* yv, Context& context) {
  const T *a = static_cast<const T*>(av), *b = static_cast<const T*>(bv);
  T* y = static_cast<T*>(yv);
  const int last = nd.ndim - 1;
  const int64_t sc = nd.stride[0][last], sa = nd.stride[1][last], sb = nd.stride[2][last];
  parallel_for(context, nd.size, kGrain, [&](int64_t begin, int64_t end) {
    walk_rows(nd, begin, end, [&](int64_t flat, int64_t n, int64_t oc, int64_t oa, int64_t ob) {
      for (int64_t i = 0; i < n; ++i) {
        const T p = a[oa + i * sa], q = b[ob + i * sb];
        y[flat + i] = c[oc + i * sc] ? p : q;
      }
    });
  });
}

static void where(int itemsize, const Nd& nd, const uint8_t* c, const void* a, const void* b, void* y,
                  Context& context) {
  by_itemsize(itemsize, [&]<class T>(T) { where_typed<T>(nd, c, a, b, y, context); });
}

// f(run of one result, its index): one result after the other, elements a stride of `inner` apart.
template <class F>
static DC_INLINE void fold_axis(const ReduceShape& s, Context& context, const F& f) {
  parallel_for(context, s.outer * s.inner, kGrain / (s.r + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i / s.inner * s.r * s.inner + i % s.inner, i);
  });
}

template <class T>
static void integer_reduce_typed(ReduceOp op, const ReduceShape& s, const void* xv, void* yv, Context& context) {
  const T* x = static_cast<const T*>(xv);
  fold_axis(s, context, [&](int64_t first, int64_t i) {
    if (op == ReduceOp::sum) {
      uint64_t sum = 0;
      for (int64_t p = 0; p < s.r; ++p) sum += static_cast<uint64_t>(x[first + p * s.inner]);
      static_cast<int64_t*>(yv)[i] = static_cast<int64_t>(sum);
      return;
    }
    T best = x[first];
    for (int64_t p = 1; p < s.r; ++p) {
      const T v = x[first + p * s.inner];
      if (op == ReduceOp::max ? v > best : v < best) best = v;
    }
    static_cast<T*>(yv)[i] = best;
  });
}

static void integer_reduce(ReduceOp op, ElementTag tag, const ReduceShape& s, const void* x, void* y,
                           Context& context) {
  by_integer(tag, [&]<class T>(T) { integer_reduce_typed<T>(op, s, x, y, context); });
}

template <class T>
static void integer_arg_typed(bool largest, const ReduceShape& s, const void* xv, int64_t* index, Context& context) {
  const T* x = static_cast<const T*>(xv);
  fold_axis(s, context, [&](int64_t first, int64_t i) {
    int64_t best = 0;
    for (int64_t p = 1; p < s.r; ++p) {
      const T v = x[first + p * s.inner], top = x[first + best * s.inner];
      if (largest ? v > top : v < top) best = p;
    }
    index[i] = best;
  });
}

static void integer_arg_extreme(bool largest, ElementTag tag, const ReduceShape& s, const void* x, int64_t* index,
                                Context& context) {
  by_integer(tag, [&]<class T>(T) { integer_arg_typed<T>(largest, s, x, index, context); });
}

extern const PlainKernels plain = {integer_binary, compare, where, integer_reduce, integer_arg_extreme};

}  // namespace dc::DC_ISA
