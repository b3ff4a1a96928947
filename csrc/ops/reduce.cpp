#include "ops/reduce.h"

#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

const char* name(ReduceOp op) {
  static const char* names[] = {"sum", "max", "min", "prod", "sum_squares", "sum_abs"};
  return names[static_cast<int>(op)];
}

Array reduce(ReduceOp op, const Array& x, const Dims& axes, bool all_axes, bool keepdims) {
  bool reduced[kMaxDims] = {};
  for (int d = 0; d < x.ndim(); ++d) reduced[d] = all_axes;
  for (int64_t axis : axes) {
    const int a = normalize_axis(name(op), axis, x.ndim());
    DC_CHECK(!reduced[a], ArgumentError, name(op), ": expected each axis once, got ", axes);
    reduced[a] = true;
  }
  Dims shape;
  for (int d = 0; d < x.ndim(); ++d) {
    if (!reduced[d])
      shape.push_back(x.shape(d));
    else if (keepdims)
      shape.push_back(1);
  }
  // Reduced axes side by side are one pass; otherwise they are moved to the end first.
  int first = -1, last = -1;
  bool adjacent = true;
  for (int d = 0; d < x.ndim(); ++d) {
    if (!reduced[d]) continue;
    adjacent = adjacent && (last < 0 || last == d - 1);
    if (first < 0) first = d;
    last = d;
  }
  Array source = x;
  ReduceShape s{1, 1, 1};
  if (first < 0) {
    s.outer = x.size();
  } else if (adjacent) {
    for (int d = 0; d < x.ndim(); ++d) (d < first ? s.outer : d <= last ? s.r : s.inner) *= x.shape(d);
  } else {
    Dims order;
    for (int d = 0; d < x.ndim(); ++d)
      if (!reduced[d]) order.push_back(d), s.outer *= x.shape(d);
    for (int d = 0; d < x.ndim(); ++d)
      if (reduced[d]) order.push_back(d), s.r *= x.shape(d);
    source = transpose(x, order);
  }
  source = contiguous(source);
  if (!is_floating(x.dtype()) && (op == ReduceOp::sum || op == ReduceOp::max || op == ReduceOp::min)) {
    Array y(shape, op == ReduceOp::sum ? DType::int64 : x.dtype(), x.device());
    DC_CHECK(s.r > 0 || y.size() == 0 || op == ReduceOp::sum, ArgumentError, name(op),
             ": integers without elements have no extreme, got shape ", x.shape());
    if (y.size() > 0)
      backend(x.device())
          .plain->integer_reduce(op, static_cast<ElementTag>(x.dtype()), s, source.data(), y.data(),
                                 context(x.device()));
    return y;
  }
  return dispatch_float(name(op), x.dtype(), [&]<class T>(T) {
    Array y(shape, x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device()).reduce->reduce(op, s, source.data<T>(), y.template data<T>(), context(x.device()));
    return y;
  });
}

}  // namespace dc::ops
