// KernelTable: everything a back end offers. One member per family; a back end is one filling.
#pragma once
#include "conv.h"
#include "elementwise.h"
#include "image.h"
#include "index.h"
#include "loss.h"
#include "matmul.h"
#include "movement.h"
#include "norm.h"
#include "optim.h"
#include "peak.h"
#include "pool.h"
#include "random.h"
#include "reduce.h"

namespace dc {

template <class T>
struct KernelTable {
  const ConvKernels<T>* conv;
  const ElementwiseKernels<T>* elementwise;
  const ImageKernels<T>* image;
  const IndexKernels<T>* index;
  const LossKernels<T>* loss;
  const MatmulKernels<T>* matmul;
  const NormKernels<T>* norm;
  const OptimKernels<T>* optim;
  const PoolKernels<T>* pool;
  const RandomKernels<T>* random;
  const ReduceKernels<T>* reduce;
};

// Kernels that do not depend on a floating type.
struct BackendTable {
  const char* name;
  int vector_bytes;
  KernelTable<float> f32;
  const PlainKernels* plain;
  const MovementKernels* movement;
  const PeakKernels* peak;
};

}  // namespace dc
