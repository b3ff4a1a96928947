// The image family's kernels that have files of their own; image.cu holds the others and the table.
#pragma once
#include "core/context.h"
#include "kernels/image.h"

namespace dc::cuda {

template <class T>
void grid_sample(const GridSampleShape& s, const T* x, const T* grid, T* y, Context& context);
template <class T>
void grid_sample_grad(const GridSampleShape& s, const T* x, const T* grid, const T* g, T* gx, T* ggrid,
                      Context& context);
template <class T, class In>
void augment(const AugmentShape& s, const In* x, const int64_t* rows, const int64_t* ids, const T* gain, const T* bias,
             T* y, Context& context);

}  // namespace dc::cuda
