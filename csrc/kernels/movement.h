// Movement family: strided copies and casts.
#pragma once
#include "elementwise.h"
#include "kernel.h"
#include "layout.h"

namespace dc {

struct MovementKernels {
  // y[i] = x[i] over nd; stride[0] of x, stride[1] of y; elements of `itemsize` bytes.
  Kernel<void(int itemsize, const Nd&, const void* x, void* y, Context&)> copy;
  // y contiguous; to boolean: x != 0, to integers: truncation toward zero, saturating at the ends of the type, NaN
  // gives 0.
  Kernel<void(ElementTag from, ElementTag to, const Nd&, const void* x, void* y, Context&)> cast;
  // n elements of `itemsize` bytes set to *value.
  Kernel<void(int itemsize, int64_t n, const void* value, void* y, Context&)> fill;
};

}  // namespace dc
