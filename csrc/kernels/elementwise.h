// Elementwise family: unary, binary and comparison ops, selection.
#pragma once
#include "elementwise_ops.h"
#include "kernel.h"
#include "layout.h"
#include "reduce.h"

namespace dc {

template <class T>
struct ElementwiseKernels {
  Kernel<void(UnaryOp, const Nd&, const T* x, T* y, double p0, double p1, Context&)> unary;
  Kernel<void(BinaryOp, const Nd&, const T* a, const T* b, T* y, double p0, double p1, Context&)> binary;
};

// What integers and bool need: arithmetic (add, subtract, multiply, maximum, minimum, power is not offered),
// comparisons of every type, selection by condition: types by tag, one plain implementation per device.
enum class ElementTag : int32_t { float32, float64, int32, int64, uint8, boolean };  // same order as DType

struct PlainKernels {
  Kernel<void(BinaryOp, ElementTag, const Nd&, const void* a, const void* b, void* y, Context&)> integer_binary;
  Kernel<void(CompareOp, ElementTag, const Nd&, const void* a, const void* b, uint8_t* y, Context&)> compare;
  // y = condition ? a : b, elements of `itemsize` bytes; strides 0, 1, 2 belong to condition, a, b.
  Kernel<void(int itemsize, const Nd&, const uint8_t* condition, const void* a, const void* b, void* y, Context&)>
      where;
  // y: (outer, inner), over the middle axis of a contiguous (outer, r, inner) array. Sums are int64 and wrap; max and
  // min have the type of x, r > 0.
  Kernel<void(ReduceOp, ElementTag, const ReduceShape&, const void* x, void* y, Context&)> integer_reduce;
  // The position of the first extreme along the axis, r > 0.
  Kernel<void(bool largest, ElementTag, const ReduceShape&, const void* x, int64_t* index, Context&)>
      integer_arg_extreme;
};

}  // namespace dc
