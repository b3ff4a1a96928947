// Movement kernels: strided copy, cast, fill.
// Split: flat chunks of the iteration space. Copies of transposed planes go through 16x16 blocks so that both
// sides use whole cache lines. Bound: memory.
#include "kernels/movement.h"

#include "core/parallel.h"
#include "cpu/families.h"
#include "cpu/walk.h"

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
  switch (itemsize) {
    case 1:
      return copy_typed<uint8_t>(nd, x, y, context);
    case 4:
      return copy_typed<uint32_t>(nd, x, y, context);
    default:
      return copy_typed<uint64_t>(nd, x, y, context);
  }
}

// Floats outside the range of an integer type saturate, NaN gives 0: the plain conversion is undefined there.
template <class From, class To>
static DC_INLINE To convert(From v) {
  constexpr bool from_float = static_cast<From>(0.5) != From(0);
  constexpr bool to_float = static_cast<To>(0.5) != To(0);
  if constexpr (from_float && !to_float) {
    constexpr To lowest = static_cast<To>(-1) < To(0) ? static_cast<To>(uint64_t{1} << (8 * sizeof(To) - 1)) : To(0);
    constexpr To highest = static_cast<To>(~lowest);
    if (v != v) return To(0);
    if (static_cast<double>(v) <= static_cast<double>(lowest)) return lowest;
    if (static_cast<double>(v) >= static_cast<double>(highest)) return highest;
    return static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
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

template <class From>
static void cast_from(ElementTag to, const Nd& nd, const void* x, void* y, Context& context) {
  switch (to) {
    case ElementTag::float32:
      return cast_typed<From, float, false>(nd, x, y, context);
    case ElementTag::float64:
      return cast_typed<From, double, false>(nd, x, y, context);
    case ElementTag::int32:
      return cast_typed<From, int32_t, false>(nd, x, y, context);
    case ElementTag::int64:
      return cast_typed<From, int64_t, false>(nd, x, y, context);
    case ElementTag::uint8:
      return cast_typed<From, uint8_t, false>(nd, x, y, context);
    case ElementTag::boolean:
      return cast_typed<From, uint8_t, true>(nd, x, y, context);
  }
}

static void cast(ElementTag from, ElementTag to, const Nd& nd, const void* x, void* y, Context& context) {
  switch (from) {
    case ElementTag::float32:
      return cast_from<float>(to, nd, x, y, context);
    case ElementTag::float64:
      return cast_from<double>(to, nd, x, y, context);
    case ElementTag::int32:
      return cast_from<int32_t>(to, nd, x, y, context);
    case ElementTag::int64:
      return cast_from<int64_t>(to, nd, x, y, context);
    default:
      return cast_from<uint8_t>(to, nd, x, y, context);
  }
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
  switch (itemsize) {
    case 1:
      return fill_typed<uint8_t>(n, value, y, context);
    case 4:
      return fill_typed<uint32_t>(n, value, y, context);
    default:
      return fill_typed<uint64_t>(n, value, y, context);
  }
}

extern const MovementKernels movement = {copy, cast, fill};

}  // namespace dc::DC_ISA
