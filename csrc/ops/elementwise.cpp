#include "ops/elementwise.h"

#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

#define DC_NAME_CASE(op) #op,
const char* name(UnaryOp op) {
  static const char* names[] = {DC_UNARY_OPS(DC_NAME_CASE)};
  return names[static_cast<int>(op)];
}
const char* name(BinaryOp op) {
  static const char* names[] = {DC_BINARY_OPS(DC_NAME_CASE)};
  return names[static_cast<int>(op)];
}
const char* name(CompareOp op) {
  static const char* names[] = {DC_COMPARE_OPS(DC_NAME_CASE)};
  return names[static_cast<int>(op)];
}
#undef DC_NAME_CASE

Array unary(UnaryOp op, const Array& x, double p0, double p1) {
  return dispatch_float(name(op), x.dtype(), [&]<class T>(T) {
    Array y(x.shape(), x.dtype(), x.device());
    if (x.size() > 0)
      kernels<T>(x.device())
          .elementwise->unary(op, make_nd(x.shape(), {x.strides()}), x.data<T>(), y.template data<T>(), p0, p1,
                              context(x.device()));
    return y;
  });
}

namespace {
// The common type of two operands: the later one in bool, uint8, int32, int64, float32, float64.
DType promoted(DType a, DType b) {
  const auto rank = [](DType t) {
    switch (t) {
      case DType::boolean:
        return 0;
      case DType::uint8:
        return 1;
      case DType::int32:
        return 2;
      case DType::int64:
        return 3;
      case DType::float32:
        return 4;
      default:
        return 5;
    }
  };
  return rank(a) > rank(b) ? a : b;
}

Nd pair_nd(const Array& a, const Array& b, const Dims& shape) {
  return make_nd(shape, {broadcast_strides(a, shape), broadcast_strides(b, shape)});
}
}  // namespace

Array binary(BinaryOp op, const Array& a, const Array& b, double p0, double p1) {
  if (a.dtype() != b.dtype()) {
    const DType dtype = promoted(a.dtype(), b.dtype());
    return binary(op, cast(a, dtype), cast(b, dtype), p0, p1);
  }
  check_same_device(name(op), a, b);
  const Dims shape = broadcast(name(op), a.shape(), b.shape());
  const Nd nd = pair_nd(a, b, shape);
  if (!is_floating(a.dtype())) {
    const bool known = op == BinaryOp::add || op == BinaryOp::subtract || op == BinaryOp::multiply ||
                       op == BinaryOp::maximum || op == BinaryOp::minimum;
    DC_CHECK(known && a.dtype() != DType::boolean, DtypeError, name(op), ": expected float32 or float64, got ",
             a.dtype());
    Array y(shape, a.dtype(), a.device());
    if (y.size() > 0)
      backend(a.device())
          .plain->integer_binary(op, static_cast<ElementTag>(a.dtype()), nd, a.data(), b.data(), y.data(),
                                 context(a.device()));
    return y;
  }
  return dispatch_float(name(op), a.dtype(), [&]<class T>(T) {
    Array y(shape, a.dtype(), a.device());
    if (y.size() > 0)
      kernels<T>(a.device())
          .elementwise->binary(op, nd, a.data<T>(), b.data<T>(), y.template data<T>(), p0, p1, context(a.device()));
    return y;
  });
}

Array compare(CompareOp op, const Array& a, const Array& b) {
  if (a.dtype() != b.dtype()) {
    const DType dtype = promoted(a.dtype(), b.dtype());
    return compare(op, cast(a, dtype), cast(b, dtype));
  }
  check_same_device(name(op), a, b);
  const Dims shape = broadcast(name(op), a.shape(), b.shape());
  Array y(shape, DType::boolean, a.device());
  if (y.size() > 0)
    backend(a.device())
        .plain->compare(op, static_cast<ElementTag>(a.dtype()), pair_nd(a, b, shape), a.data(), b.data(),
                        y.data<uint8_t>(), context(a.device()));
  return y;
}

Array where(const Array& condition, const Array& a, const Array& b) {
  DC_CHECK(condition.dtype() == DType::boolean, DtypeError, "where: expected a bool condition, got ",
           condition.dtype());
  if (a.dtype() != b.dtype()) {
    const DType dtype = promoted(a.dtype(), b.dtype());
    return where(condition, cast(a, dtype), cast(b, dtype));
  }
  check_same_device("where", a, b);
  check_same_device("where", a, condition);
  const Dims shape = broadcast("where", condition.shape(), broadcast("where", a.shape(), b.shape()));
  const Nd nd =
      make_nd(shape, {broadcast_strides(condition, shape), broadcast_strides(a, shape), broadcast_strides(b, shape)});
  Array y(shape, a.dtype(), a.device());
  if (y.size() > 0)
    backend(a.device())
        .plain->where(static_cast<int>(itemsize(a.dtype())), nd, condition.data<uint8_t>(), a.data(), b.data(),
                      y.data(), context(a.device()));
  return y;
}

}  // namespace dc::ops
