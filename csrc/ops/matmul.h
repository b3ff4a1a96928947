// Matrix products.
#pragma once
#include <optional>

#include "core/array.h"
#include "kernels/matmul.h"

namespace dc::ops {

// (..., m, k) x (..., k, n) -> (..., m, n); leading axes broadcast. Transposed views are read in place.
Array matmul(const Array& a, const Array& b);
// activation(x w^T + bias): x (..., c), w (k, c), bias (k) -> (..., k), one pass.
Array linear(const Array& x, const Array& w, const std::optional<Array>& bias, Activation activation);

}  // namespace dc::ops
