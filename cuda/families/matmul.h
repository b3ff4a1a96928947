// The product of matmul.cu for other families: convolutions of one tap are one.
#pragma once
#include "families/precision.h"
#include "kernels/matmul.h"

namespace dc {
struct Context;
}

namespace dc::cuda {

void product(const char* op, Precision precision, const MatmulShape& shape, const float* a, const float* b,
             const float* bias, float* c, Context& context);
void product(const char* op, Precision precision, const MatmulShape& shape, const double* a, const double* b,
             const double* bias, double* c, Context& context);

}  // namespace dc::cuda
