// Matrix products.
#pragma once
#include <optional>

#include "core/array.h"
#include "kernels/matmul.h"

namespace dc::ops {

// (..., m, k) x (..., k, n) -> (..., m, n); leading axes broadcast. Transposed views are read in place.
Array matmul(const Array& a, const Array& b);
// What matmul asks of its kernel: operands that it reads in place, their strides, and the shape of the result.
struct GemmCall {
  MatmulShape s;
  Array a, b;
  Dims shape;
};
GemmCall gemm_call(const Array& a, const Array& b);
// activation(x w^T + bias): x (..., c), w (k, c), bias (k) -> (..., k), one pass.
// `packed`: null, or pack_linear(w) made on this instruction set, which then stands for w.
// in_order: a row of x gives the same bits whatever the others are and however many.
Array linear(const Array& x, const Array& w, const std::optional<Array>& bias, Activation activation,
             const std::optional<Array>& packed = std::nullopt, bool in_order = false);
// Cotangents of the arguments of y = linear(x, w, bias, activation) from that of y, each where it is needed.
struct LinearGrads {
  std::optional<Array> x, w, bias;
};
// With w_step, w takes that step of SGD at the end instead of a gradient of it being given.
struct StepOptions;
LinearGrads linear_grad(const Array& g, const Array& y, const Array& x, const Array& w, Activation activation,
                        bool need_x, bool need_w, bool need_bias, const StepOptions* w_step = nullptr);
// w (k, c) as the tiles of the GEMM read it: worth keeping where one w meets many small x.
Array pack_linear(const Array& w);

}  // namespace dc::ops
