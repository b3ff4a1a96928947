// The families of this instruction set, defined at the end of their files and collected in table.cpp.
#pragma once
#include "kernels/table.h"

namespace dc::DC_ISA {

extern const ConvKernels<float> conv_f32;
extern const ElementwiseKernels<float> elementwise_f32;
extern const MatmulKernels<float> matmul_f32;
extern const ReduceKernels<float> reduce_f32;
extern const MovementKernels movement;
extern const PlainKernels plain;
#ifdef DC_ISA_SCALAR
extern const ConvKernels<double> conv_f64;
extern const ElementwiseKernels<double> elementwise_f64;
extern const MatmulKernels<double> matmul_f64;
extern const ReduceKernels<double> reduce_f64;
#endif

}  // namespace dc::DC_ISA
