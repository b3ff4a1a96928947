// GEMM family: C[m, n] (+)= sum_k A[m, k] B[k, n], with epilogue.
#pragma once
#include "kernel.h"
#include "optim.h"

namespace dc {

enum class Activation : int32_t { none = 0, relu = 1, sigmoid = 2, tanh = 3 };

// Element (i, p) of A lies at a[i * a_row + p * a_col]; likewise B; C is row-major with c_row.
// One of the two strides of A and of B is 1 (csrc/ops copies other layouts first), so every
// transposition is a choice of strides. Batches step by a_batch, b_batch, c_batch (0 = broadcast).
struct MatmulShape {
  int64_t batch = 1, m, n, k;
  int64_t a_row, a_col, a_batch = 0;
  int64_t b_row, b_col, b_batch = 0;
  int64_t c_row, c_batch = 0;
  bool accumulate = false;  // C += instead of C =
  bool in_order = false;    // sums over k go the same way for any m, so that a row has the same bits in any A
  Activation activation = Activation::none;
};

template <class T>
struct MatmulKernels {
  // bias: n values added to each row before the activation, or null.
  // packed_b: null, or what pack_b wrote for this B (batch 1); then b is not read.
  Kernel<void(const MatmulShape&, const T* a, const T* b, const T* packed_b, const T* bias, T* c, Context&)> gemm;
  // The step of kernels/optim.h, without momentum, of a parameter whose gradient is A B, which is not stored: the bits
  // of gemm followed by the step. False, and nothing is done, where a device or a shape has no such pass.
  Kernel<bool(const MatmulShape&, const T* a, const T* b, const SgdStep<T>&, T* param, Context&)> gemm_sgd;
  Kernel<int64_t(int64_t k, int64_t n)> packed_b_size;  // elements
  Kernel<void(const MatmulShape&, const T* b, T* packed_b, Context&)> pack_b;
};

}  // namespace dc
