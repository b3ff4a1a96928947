// Reductions over any set of axes.
#pragma once
#include "core/array.h"
#include "kernels/reduce.h"

namespace dc::ops {

const char* name(ReduceOp op);
// Axes as given (negative allowed, each once); none: all axes. Integers (uint8, int32, int64, bool) are summed
// in int64; max and min keep their type through float64 is not allowed: they raise DtypeError.
Array reduce(ReduceOp op, const Array& x, const Dims& axes, bool all_axes, bool keepdims);

}  // namespace dc::ops
