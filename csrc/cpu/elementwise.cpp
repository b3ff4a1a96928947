// Elementwise kernels: y[i] = f(x[i]) and y[i] = f(a[i], b[i]) over a strided space, y contiguous.
// Split: flat chunks of the result; inside, rows of the innermost axis. A row is read as registers when its
// stride is 1, as one value when it is 0 and gathered lane by lane otherwise.
// Bound: memory (8 or 12 bytes an element in DRAM) for arithmetic, the polynomials of math.h in cache.
#include "kernels/elementwise.h"

#include "core/parallel.h"
#include "cpu/families.h"
#include "cpu/simd/math.h"
#include "cpu/walk.h"
#include "kernels/functors.h"

namespace dc::DC_ISA {

static constexpr int64_t kGrain = 16384;

template <class T>
static DC_INLINE Vec<T> load_strided(const T* p, int64_t stride, int n) {
  T lanes[Vec<T>::W] = {};
  for (int j = 0; j < n; ++j) lanes[j] = p[j * stride];
  return Vec<T>::load(lanes);
}

template <class Op, class T>
static void unary_run(const Nd& nd, const T* x, T* y, double p0, double p1, Context& context) {
  using V = Vec<T>;
  const V q0 = V::set(static_cast<T>(p0)), q1 = V::set(static_cast<T>(p1));
  parallel_for(context, nd.size, kGrain, [&](int64_t begin, int64_t end) {
    walk_rows(nd, begin, end, [&](int64_t flat, int64_t n, int64_t ox, int64_t, int64_t) {
      const int64_t stride = nd.stride[0][nd.ndim - 1];
      const T* xr = x + ox;
      T* yr = y + flat;
      if (stride == 1) {
        int64_t i = 0;
        for (; i + V::W <= n; i += V::W) Op::apply(V::load(xr + i), q0, q1).store(yr + i);
        if (i < n) {
          const int rest = static_cast<int>(n - i);
          Op::apply(V::load_n(xr + i, rest), q0, q1).store_n(yr + i, rest);
        }
      } else {
        for_vectors<T>(n, [&](int64_t i, int w) {
          Op::apply(load_strided(xr + i * stride, stride, w), q0, q1).store_n(yr + i, w);
        });
      }
    });
  });
}

template <class T>
static void unary(UnaryOp op, const Nd& nd, const T* x, T* y, double p0, double p1, Context& context) {
  switch (op) {
#define DC_CASE(name) \
  case UnaryOp::name: \
    return unary_run<functors::name>(nd, x, y, p0, p1, context);
    DC_UNARY_OPS(DC_CASE)
#undef DC_CASE
  }
}

template <class Op, class T>
static void binary_run(const Nd& nd, const T* a, const T* b, T* y, double p0, double p1, Context& context) {
  using V = Vec<T>;
  const V q0 = V::set(static_cast<T>(p0)), q1 = V::set(static_cast<T>(p1));
  const int64_t sa = nd.stride[0][nd.ndim - 1], sb = nd.stride[1][nd.ndim - 1];
  parallel_for(context, nd.size, kGrain, [&](int64_t begin, int64_t end) {
    walk_rows(nd, begin, end, [&](int64_t flat, int64_t n, int64_t oa, int64_t ob, int64_t) {
      const T *ar = a + oa, *br = b + ob;
      T* yr = y + flat;
      int64_t i = 0;
      if (sa == 1 && sb == 1) {
        for (; i + V::W <= n; i += V::W) Op::apply(V::load(ar + i), V::load(br + i), q0, q1).store(yr + i);
        if (i < n) {
          const int w = static_cast<int>(n - i);
          Op::apply(V::load_n(ar + i, w), V::load_n(br + i, w), q0, q1).store_n(yr + i, w);
        }
      } else if (sa == 1 && sb == 0) {
        const V bv = V::set(*br);
        for (; i + V::W <= n; i += V::W) Op::apply(V::load(ar + i), bv, q0, q1).store(yr + i);
        if (i < n) {
          const int w = static_cast<int>(n - i);
          Op::apply(V::load_n(ar + i, w), bv, q0, q1).store_n(yr + i, w);
        }
      } else if (sa == 0 && sb == 1) {
        const V av = V::set(*ar);
        for_vectors<T>(n, [&](int64_t j, int w) { Op::apply(av, V::load_n(br + j, w), q0, q1).store_n(yr + j, w); });
      } else {
        for_vectors<T>(n, [&](int64_t j, int w) {
          Op::apply(load_strided(ar + j * sa, sa, w), load_strided(br + j * sb, sb, w), q0, q1).store_n(yr + j, w);
        });
      }
    });
  });
}

template <class T>
static void binary(BinaryOp op, const Nd& nd, const T* a, const T* b, T* y, double p0, double p1, Context& context) {
  switch (op) {
#define DC_CASE(name)  \
  case BinaryOp::name: \
    return binary_run<functors::name>(nd, a, b, y, p0, p1, context);
    DC_BINARY_OPS(DC_CASE)
#undef DC_CASE
  }
}

extern const ElementwiseKernels<float> elementwise_f32 = {unary<float>, binary<float>};
#ifdef DC_ISA_SCALAR
extern const ElementwiseKernels<double> elementwise_f64 = {unary<double>, binary<double>};
#endif

}  // namespace dc::DC_ISA
