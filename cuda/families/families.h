// The families of the CUDA back end, defined at the end of their files and collected in table.cu.
#pragma once
#include "kernels/table.h"

namespace dc::cuda {

extern const ConvKernels<float> conv_f32;
extern const ElementwiseKernels<float> elementwise_f32;
extern const ImageKernels<float> image_f32;
extern const IndexKernels<float> index_f32;
extern const LossKernels<float> loss_f32;
extern const MatmulKernels<float> matmul_f32;
extern const NormKernels<float> norm_f32;
extern const OptimKernels<float> optim_f32;
extern const PoolKernels<float> pool_f32;
extern const RandomKernels<float> random_f32;
extern const ReduceKernels<float> reduce_f32;
extern const ConvKernels<double> conv_f64;
extern const ElementwiseKernels<double> elementwise_f64;
extern const ImageKernels<double> image_f64;
extern const IndexKernels<double> index_f64;
extern const LossKernels<double> loss_f64;
extern const MatmulKernels<double> matmul_f64;
extern const NormKernels<double> norm_f64;
extern const OptimKernels<double> optim_f64;
extern const PoolKernels<double> pool_f64;
extern const RandomKernels<double> random_f64;
extern const ReduceKernels<double> reduce_f64;
extern const MovementKernels movement;
extern const PeakKernels peak;
extern const PlainKernels plain;

extern const BackendTable table;
extern const KernelTable<double> table_f64;

}  // namespace dc::cuda
