// Views and copies.
#pragma once
#include <vector>

#include "core/array.h"
#include "kernels/layout.h"

namespace dc::ops {

// A space over `shape` for up to three operands with these strides, neighbouring axes merged where possible.
Nd make_nd(const Dims& shape, std::initializer_list<Dims> strides);
// Strides of `a` seen as broadcast to `shape`.
Dims broadcast_strides(const Array& a, const Dims& shape);

Array contiguous(const Array& x);
Array copy(const Array& x);
Array cast(const Array& x, DType dtype);
// The values on another device, contiguous; x itself where it is there already.
Array to_device(const Array& x, Device device);
Array full(const Dims& shape, double value, DType dtype, Device device = {});
Array arange(double start, double stop, double step, DType dtype);

Array reshape(const Array& x, const Dims& shape);  // one size may be -1; a view where possible
Array transpose(const Array& x, const Dims& axes);
Array broadcast_to(const Array& x, const Dims& shape);
Array slice(const Array& x, const Dims& starts, const Dims& sizes, const Dims& steps);
// Zeros of `shape` with g written at slice(starts, g.shape, steps).
Array slice_embed(const Array& g, const Dims& shape, const Dims& starts, const Dims& steps);
Array flip(const Array& x, const Dims& axes);
Array concatenate(const std::vector<Array>& xs, int64_t axis);
// x (contiguous or not, on any device) written over `out` in place, for buffers that must keep their address.
void copy_into(const Array& x, Array& out);

}  // namespace dc::ops
