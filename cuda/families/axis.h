// Kernels of the index family that go along an axis: csrc/kernels/index.h.
#pragma once
#include "core/context.h"
#include "kernels/index.h"

namespace dc::cuda {

template <class T>
void argmax(const AxisShape& s, const T* x, int64_t* index, Context& context);
template <class T>
void argmin(const AxisShape& s, const T* x, int64_t* index, Context& context);
template <class T>
void cumsum(const AxisShape& s, bool reverse, const T* x, T* y, Context& context);

}  // namespace dc::cuda
