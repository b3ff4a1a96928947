// Elementwise ops with broadcasting.
#pragma once
#include "core/array.h"
#include "kernels/elementwise.h"

namespace dc::ops {

const char* name(UnaryOp op);
const char* name(BinaryOp op);
const char* name(CompareOp op);

Array unary(UnaryOp op, const Array& x, double p0 = 0, double p1 = 0);
// Operands of different types are cast to the later one in bool, uint8, int32, int64, float32, float64.
// Integers know add, subtract, multiply, maximum, minimum.
Array binary(BinaryOp op, const Array& a, const Array& b, double p0 = 0, double p1 = 0);
Array compare(CompareOp op, const Array& a, const Array& b);
Array where(const Array& condition, const Array& a, const Array& b);

}  // namespace dc::ops
