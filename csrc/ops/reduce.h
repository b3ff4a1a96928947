// Reductions over any set of axes.
#pragma once
#include "core/array.h"
#include "kernels/reduce.h"

namespace dc::ops {

const char* name(ReduceOp op);
// Axes as given (negative allowed, each once); none: all axes. Integers and bool are summed in int64; their max and
// min keep the type (ArgumentError where there are no elements); other operations raise DtypeError for them.
Array reduce(ReduceOp op, const Array& x, const Dims& axes, bool all_axes, bool keepdims);

}  // namespace dc::ops
