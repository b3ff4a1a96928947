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
#include "rbm.h"
#include "reduce.h"
#include "rnn.h"

namespace dc {

// The families of a floating type, once: the table's members, their declarations in a back end and their entries.
#define DC_FAMILIES(X)               \
  X(ConvKernels, conv)               \
  X(ElementwiseKernels, elementwise) \
  X(ImageKernels, image)             \
  X(IndexKernels, index)             \
  X(LossKernels, loss)               \
  X(MatmulKernels, matmul)           \
  X(NormKernels, norm)               \
  X(OptimKernels, optim)             \
  X(PoolKernels, pool)               \
  X(RandomKernels, random)           \
  X(RbmKernels, rbm)                 \
  X(ReduceKernels, reduce)           \
  X(RnnKernels, rnn)

#define DC_FAMILY_MEMBER(Kernels, name) const Kernels<T>* name;
template <class T>
struct KernelTable {
  DC_FAMILIES(DC_FAMILY_MEMBER)
};
#undef DC_FAMILY_MEMBER

// In a back end's families.h: every family is defined at the end of its file under these names.
#define DC_DECLARE_FAMILY_F32(Kernels, name) extern const Kernels<float> name##_f32;
#define DC_DECLARE_FAMILY_F64(Kernels, name) extern const Kernels<double> name##_f64;
// In its table: the entries of a KernelTable, in order of the list.
#define DC_FAMILY_ENTRY_F32(Kernels, name) &name##_f32,
#define DC_FAMILY_ENTRY_F64(Kernels, name) &name##_f64,

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
