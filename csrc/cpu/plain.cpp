// Integer arithmetic, comparisons and selection: plain loops over a strided space, y contiguous.
// Split: flat chunks of the result. Bound: memory. Integer overflow wraps (two's complement).
#include "core/parallel.h"
#include "cpu/families.h"
#include "cpu/walk.h"

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

template <class T, class U>
static void integer_typed(BinaryOp op, const Nd& nd, const void* av, const void* bv, void* yv, Context& context) {
  const T *a = static_cast<const T*>(av), *b = static_cast<const T*>(bv);
  T* y = static_cast<T*>(yv);
  // Arithmetic in the unsigned type U: wrapping is defined there.
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
  switch (tag) {
    case ElementTag::int32:
      return integer_typed<int32_t, uint32_t>(op, nd, a, b, y, context);
    case ElementTag::int64:
      return integer_typed<int64_t, uint64_t>(op, nd, a, b, y, context);
    default:
      return integer_typed<uint8_t, uint32_t>(op, nd, a, b, y, context);
  }
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
  switch (tag) {
    case ElementTag::float32:
      return compare_typed<float>(op, nd, a, b, y, context);
    case ElementTag::float64:
      return compare_typed<double>(op, nd, a, b, y, context);
    case ElementTag::int32:
      return compare_typed<int32_t>(op, nd, a, b, y, context);
    case ElementTag::int64:
      return compare_typed<int64_t>(op, nd, a, b, y, context);
    default:
      return compare_typed<uint8_t>(op, nd, a, b, y, context);
  }
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
  switch (itemsize) {
    case 1:
      return where_typed<uint8_t>(nd, c, a, b, y, context);
    case 4:
      return where_typed<uint32_t>(nd, c, a, b, y, context);
    default:
      return where_typed<uint64_t>(nd, c, a, b, y, context);
  }
}

extern const PlainKernels plain = {integer_binary, compare, where};

}  // namespace dc::DC_ISA
