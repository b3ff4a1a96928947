// Movement kernels: strided copy, cast, fill.
// Split: flat chunks of the iteration space. Copies of transposed planes go through 16x16 blocks so that both
// sides use whole cache lines. Bound: memory.
#include "kernels/movement.h"

#include "core/parallel.h"
#include "cpu/families.h"
#include "cpu/walk.h"
#include "kernels/by_type.h"
#include "kernels/convert.h"

namespace dc::DC_ISA {

static constexpr int64_t kGrain = 16384;

// The last two axes, where x runs along the outer and y along the inner one: blocks keep both in cache.
template <class T>
static void copy_transposed(const Nd& nd, const T* x, T* y, Context& context) {
  constexpr int64_t kBlock = 16;
  const int r = nd.ndim - 2, c = nd.ndim - 1;
  const int64_t rows = nd.shape[r], cols = nd.shape[c];
  const int64_t xr = nd.stride[0][r], xc = nd.stride[0][c], yr = nd.stride[1][r], yc = nd.stride[1][c];
  int64_t planes = 1;
  for (int d = 0; d < r; ++d) planes *= nd.shape[d];
  const int64_t row_blocks = (rows + kBlock - 1) / kBlock;
  const int64_t grain = scalar_max<int64_t>(1, kGrain / scalar_max<int64_t>(1, kBlock * cols));
  parallel_for(context, planes * row_blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      int64_t plane = t / row_blocks, ox = 0, oy = 0;
      const int64_t i0 = t % row_blocks * kBlock, i1 = scalar_min(i0 + kBlock, rows);
      for (int d = r - 1; d >= 0; --d) {
        const int64_t k = plane % nd.shape[d];
        plane /= nd.shape[d];
        ox += k * nd.stride[0][d];
        oy += k * nd.stride[1][d];
      }
      for (int64_t j0 = 0; j0 < cols; j0 += kBlock) {
        const int64_t j1 = scalar_min(j0 + kBlock, cols);
        for (int64_t i = i0; i < i1; ++i)
          for (int64_t j = j0; j < j1; ++j) y[oy + i * yr + j * yc] = x[ox + i * xr + j * xc];
      }
    }
  });
}

template <class T>
static void copy_typed(const Nd& nd, const void* xv, void* yv, Context& context) {
  const T* x = static_cast<const T*>(xv);
  T* y = static_cast<T*>(yv);
  const int last = nd.ndim - 1;
  const int64_t sx = nd.stride[0][last], sy = nd.stride[1][last];
  if (nd.ndim >= 2 && nd.stride[0][last - 1] == 1 && sy == 1 && sx > 1 && nd.shape[last] > 1)
    return copy_transposed(nd, x, y, context);
  parallel_for(context, nd.size, kGrain, [&](int64_t begin, int64_t end) {
    walk_rows(nd, begin, end, [&](int64_t, int64_t n, int64_t ox, int64_t oy, int64_t) {
      const T* xr = x + ox;
      T* yr = y + oy;
      if (sx == 1 && sy == 1) {
        memcpy(yr, xr, static_cast<size_t>(n) * sizeof(T));
      } else {
        for (int64_t i = 0; i < n; ++i) yr[i * sy] = xr[i * sx];
      }
    });
  });
}

static void copy(int itemsize, const Nd& nd, const void* x, void* y, Context& context) {
  by_itemsize(itemsize, [&]<class T>(T) { copy_typed<T>(nd, x, y, context); });
}

template <class From, class To, bool kToBool>
static void cast_typed(const Nd& nd, const void* xv, void* yv, Context& context) {
  const From* x = static_cast<const From*>(xv);
  To* y = static_cast<To*>(yv);
  const int64_t sx = nd.stride[0][nd.ndim - 1];
  parallel_for(context, nd.size, kGrain, [&](int64_t begin, int64_t end) {
    walk_rows(nd, begin, end, [&](int64_t flat, int64_t n, int64_t ox, int64_t, int64_t) {
      for (int64_t i = 0; i < n; ++i) {
        const From v = x[ox + i * sx];
        if constexpr (kToBool)
          y[flat + i] = v != From(0);
        else
          y[flat + i] = convert<From, To>(v);
      }
    });
  });
}

static void cast(ElementTag from, ElementTag to, const Nd& nd, const void* x, void* y, Context& context) {
  by_element(from, [&]<class From>(From) {
    if (to == ElementTag::boolean) return cast_typed<From, uint8_t, true>(nd, x, y, context);
    by_element(to, [&]<class To>(To) { cast_typed<From, To, false>(nd, x, y, context); });
  });
}

template <class T>
static void fill_typed(int64_t n, const void* value, void* yv, Context& context) {
  T v;
  memcpy(&v, value, sizeof(T));
  T* y = static_cast<T*>(yv);
  parallel_for(context, n, 4 * kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = v;
  });
}

static void fill(int itemsize, int64_t n, const void* value, void* y, Context& context) {
  by_itemsize(itemsize, [&]<class T>(T) { fill_typed<T>(n, value, y, context); });
}

extern const MovementKernels movement = {copy, cast, fill};

}  // namespace dc::DC_ISA
