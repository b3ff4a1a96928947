#include "ops/index.h"

#include "kernels/index.h"
#include "ops/dispatch.h"
#include "ops/movement.h"
#include "ops/range.h"

namespace dc::ops {

namespace {

AxisShape split(const Dims& shape, int axis) {
  AxisShape s{1, shape[axis], 1};
  for (int d = 0; d < shape.size(); ++d)
    if (d != axis) (d < axis ? s.outer : s.inner) *= shape[d];
  return s;
}

// Contiguous int64 values in [0, size): negative ones count from the end.
Array checked_index(const char* op, const Array& index0, int64_t size, Device device) {
  DC_CHECK(index0.dtype() == DType::int64 || index0.dtype() == DType::int32 || index0.dtype() == DType::uint8,
           DtypeError, op, ": expected integer indices, got ", index0.dtype());
  DC_CHECK(index0.device() == device, DeviceError, op, ": expected one device, got ", device, " and ", index0.device());
  return in_range(op, "indices", contiguous(cast(index0, DType::int64)),
                  {.low = -size, .high = size, .from_end = true});
}

Dims taken_shape(const Dims& x, const Dims& index, int axis) {
  Dims shape;
  for (int d = 0; d < axis; ++d) shape.push_back(x[d]);
  for (int64_t n : index) shape.push_back(n);
  for (int d = axis + 1; d < x.size(); ++d) shape.push_back(x[d]);
  return shape;
}

// Elements of other types move as floats or doubles of the same size would: copies do not look at bits.
template <class F>
auto dispatch_bits(const char* op, DType dtype, const F& f) {
  switch (itemsize(dtype)) {
    case 4:
      return f(float{});
    case 8:
      return f(double{});
    default:
      throw DtypeError(message(op, ": expected elements of 4 or 8 bytes, got ", dtype));
  }
}

void check_along(const char* op, const Dims& x, const Dims& index, int axis) {
  bool fits = x.size() == index.size();
  for (int d = 0; fits && d < x.size(); ++d) fits = d == axis || x[d] == index[d];
  DC_CHECK(fits, ShapeError, op, ": expected an index shaped like x ", x, " but for axis ", axis, ", got ", index);
}

}  // namespace

Array take(const Array& x0, const Array& index0, int64_t axis0) {
  const int axis = normalize_axis("take", axis0, x0.ndim());
  const AxisShape s = split(x0.shape(), axis);
  const Array index = checked_index("take", index0, s.n, x0.device());
  if (x0.dtype() == DType::uint8 || x0.dtype() == DType::boolean) {
    const Array y = take(cast(x0, DType::int32), index, axis);
    return cast(y, x0.dtype());
  }
  const Array x = contiguous(x0);
  return dispatch_bits("take", x.dtype(), [&]<class T>(T) {
    Array y(taken_shape(x.shape(), index.shape(), axis), x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device())
          .index->take(s, index.size(), static_cast<const T*>(x.data()), index.data<int64_t>(),
                       static_cast<T*>(y.data()), context(x.device()));
    return y;
  });
}

Array take_grad(const Array& g0, const Array& index0, int64_t size, int64_t axis0) {
  DC_CHECK(size >= 0, ArgumentError, "take_grad: expected a size >= 0, got ", size);
  const int rank = g0.ndim() - index0.ndim() + 1;
  DC_CHECK(rank >= 1, ShapeError, "take_grad: expected a cotangent with the axes of the index ", index0.shape(),
           ", got ", g0.shape());
  const int axis = normalize_axis("take_grad", axis0, rank);
  Dims shape;
  for (int d = 0; d < axis; ++d) shape.push_back(g0.shape(d));
  shape.push_back(size);
  for (int d = axis + index0.ndim(); d < g0.ndim(); ++d) shape.push_back(g0.shape(d));
  DC_CHECK(g0.shape() == taken_shape(shape, index0.shape(), axis), ShapeError, "take_grad: expected a cotangent ",
           taken_shape(shape, index0.shape(), axis), ", got ", g0.shape());
  const Array index = checked_index("take_grad", index0, size, g0.device()), g = contiguous(g0);
  return dispatch_float("take_grad", g.dtype(), [&]<class T>(T) {
    Array gx(shape, g.dtype(), g.device());
    if (gx.size() > 0)
      kernels<T>(g.device())
          .index->take_grad(split(shape, axis), index.size(), g.data<T>(), index.data<int64_t>(), gx.template data<T>(),
                            context(g.device()));
    return gx;
  });
}

Array take_along(const Array& x0, const Array& index0, int64_t axis0) {
  const int axis = normalize_axis("take_along", axis0, x0.ndim());
  check_along("take_along", x0.shape(), index0.shape(), axis);
  const AxisShape s = split(x0.shape(), axis);
  const Array index = checked_index("take_along", index0, s.n, x0.device());
  if (x0.dtype() == DType::uint8 || x0.dtype() == DType::boolean)
    return cast(take_along(cast(x0, DType::int32), index, axis), x0.dtype());
  const Array x = contiguous(x0);
  return dispatch_bits("take_along", x.dtype(), [&]<class T>(T) {
    Array y(index.shape(), x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device())
          .index->take_along(s, index.shape(axis), static_cast<const T*>(x.data()), index.data<int64_t>(),
                             static_cast<T*>(y.data()), context(x.device()));
    return y;
  });
}

Array take_along_grad(const Array& g0, const Array& index0, int64_t size, int64_t axis0) {
  DC_CHECK(size >= 0, ArgumentError, "take_along_grad: expected a size >= 0, got ", size);
  const int axis = normalize_axis("take_along_grad", axis0, g0.ndim());
  DC_CHECK(g0.shape() == index0.shape(), ShapeError, "take_along_grad: expected a cotangent ", index0.shape(), ", got ",
           g0.shape());
  Dims shape = g0.shape();
  shape[axis] = size;
  const Array index = checked_index("take_along_grad", index0, size, g0.device()), g = contiguous(g0);
  return dispatch_float("take_along_grad", g.dtype(), [&]<class T>(T) {
    Array gx(shape, g.dtype(), g.device());
    if (gx.size() > 0)
      kernels<T>(g.device())
          .index->take_along_grad(split(shape, axis), index.shape(axis), g.data<T>(), index.data<int64_t>(),
                                  gx.template data<T>(), context(g.device()));
    return gx;
  });
}

Array one_hot(const Array& index0, int64_t c, double on, double off, DType dtype) {
  DC_CHECK(c >= 0, ArgumentError, "one_hot: expected a number of classes >= 0, got ", c);
  DC_CHECK(index0.dtype() == DType::int64 || index0.dtype() == DType::int32 || index0.dtype() == DType::uint8,
           DtypeError, "one_hot: expected integer indices, got ", index0.dtype());
  const Array index = in_range("one_hot", "indices", contiguous(cast(index0, DType::int64)), {.low = 0, .high = c});
  Dims shape = index.shape();
  shape.push_back(c);
  return dispatch_float("one_hot", dtype, [&]<class T>(T) {
    Array y(shape, dtype, index.device());
    if (y.size() > 0)
      kernels<T>(index.device())
          .index->one_hot(index.size(), c, static_cast<T>(on), static_cast<T>(off), index.data<int64_t>(),
                          y.template data<T>(), context(index.device()));
    return y;
  });
}

namespace {

Array arg_extreme(bool largest, const Array& x0, int64_t axis0, bool keepdims) {
  const char* op = largest ? "argmax" : "argmin";
  const int axis = normalize_axis(op, axis0, x0.ndim());
  const AxisShape s = split(x0.shape(), axis);
  DC_CHECK(s.n > 0 || s.outer * s.inner == 0, ArgumentError, op, ": no elements along axis ", axis, " of shape ",
           x0.shape());
  DC_CHECK(s.n < (int64_t{1} << 31), ShapeError, op, ": expected fewer than 2^31 elements along the axis, got ", s.n);
  Dims shape;
  for (int d = 0; d < x0.ndim(); ++d) {
    if (d != axis)
      shape.push_back(x0.shape(d));
    else if (keepdims)
      shape.push_back(1);
  }
  const Array x = contiguous(x0);
  Array index(shape, DType::int64, x.device());
  if (!is_floating(x.dtype())) {
    if (index.size() > 0)
      backend(x.device())
          .plain->integer_arg_extreme(largest, static_cast<ElementTag>(x.dtype()), {s.outer, s.n, s.inner}, x.data(),
                                      index.data<int64_t>(), context(x.device()));
    return index;
  }
  dispatch_float(op, x.dtype(), [&]<class T>(T) {
    const auto& family = *kernels<T>(x.device()).index;
    const auto& kernel = largest ? family.argmax : family.argmin;
    if (index.size() > 0) kernel(s, x.data<T>(), index.data<int64_t>(), context(x.device()));
  });
  return index;
}

}  // namespace

Array argmax(const Array& x, int64_t axis, bool keepdims) { return arg_extreme(true, x, axis, keepdims); }
Array argmin(const Array& x, int64_t axis, bool keepdims) { return arg_extreme(false, x, axis, keepdims); }

std::pair<Array, Array> top_k(const Array& x0, int64_t k, bool descending) {
  DC_CHECK(x0.ndim() >= 1, ShapeError, "top_k: expected at least one axis, got ", x0.shape());
  const int64_t n = x0.shape(x0.ndim() - 1);
  DC_CHECK(k >= 0 && k <= n, ArgumentError, "top_k: expected k in [0, ", n, "], got ", k);
  DC_CHECK(n < (int64_t{1} << 32), ShapeError, "top_k: expected fewer than 2^32 elements per row, got ", n);
  Dims shape = x0.shape();
  shape[shape.size() - 1] = k;
  const Array x = contiguous(x0);
  return dispatch_float("top_k", x.dtype(), [&]<class T>(T) -> std::pair<Array, Array> {
    Array values(shape, x.dtype(), x.device()), index(shape, DType::int64, x.device());
    if (values.size() > 0)
      kernels<T>(x.device())
          .index->top_k(x.size() / n, n, k, descending, x.data<T>(), values.template data<T>(),
                        index.template data<int64_t>(), context(x.device()));
    return {values, index};
  });
}

std::pair<Array, Array> sort(const Array& x, bool descending) {
  DC_CHECK(x.ndim() >= 1, ShapeError, "sort: expected at least one axis, got ", x.shape());
  return top_k(x, x.shape(x.ndim() - 1), descending);
}

Array cumsum(const Array& x0, int64_t axis0, bool reverse) {
  const int axis = normalize_axis("cumsum", axis0, x0.ndim());
  const Array x = contiguous(x0);
  return dispatch_float("cumsum", x.dtype(), [&]<class T>(T) {
    Array y(x.shape(), x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device())
          .index->cumsum(split(x.shape(), axis), reverse, x.data<T>(), y.template data<T>(), context(x.device()));
    return y;
  });
}

}  // namespace dc::ops
