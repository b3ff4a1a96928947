// The lists of elementwise ops: tables, ops and bindings follow from them. A new op is its name here and a functor
// of that name in functors.h.
#pragma once
#include <cstdint>

namespace dc {

// DC_UNARY_OPS(X): y = f(x; p0, p1). Parameters are scalars: slope, alpha, bounds, exponent.
#define DC_UNARY_OPS(X) \
  X(negative)           \
  X(abs)                \
  X(sign)               \
  X(exp)                \
  X(expm1)              \
  X(log)                \
  X(log1p)              \
  X(sqrt)               \
  X(rsqrt)              \
  X(reciprocal)         \
  X(square)             \
  X(sin)                \
  X(cos)                \
  X(erf)                \
  X(tanh)               \
  X(sigmoid)            \
  X(softplus)           \
  X(relu)               \
  X(leaky_relu)         \
  X(elu)                \
  X(gelu)               \
  X(silu)               \
  X(hard_sigmoid)       \
  X(clamp)              \
  X(round)              \
  X(floor)              \
  X(ceil)               \
  X(step)               \
  X(softsign)

// DC_BINARY_OPS(X): y = f(a, b; p0, p1) with broadcasting.
#define DC_BINARY_OPS(X) \
  X(add)                 \
  X(subtract)            \
  X(multiply)            \
  X(divide)              \
  X(power)               \
  X(maximum)             \
  X(minimum)             \
  X(relu_grad)           \
  X(abs_grad)            \
  X(leaky_relu_grad)     \
  X(elu_grad)            \
  X(gelu_grad)           \
  X(silu_grad)           \
  X(hard_sigmoid_grad)   \
  X(clamp_grad)          \
  X(sigmoid_grad)        \
  X(tanh_grad)           \
  X(softsign_grad)

#define DC_COMPARE_OPS(X) \
  X(equal)                \
  X(not_equal)            \
  X(less)                 \
  X(less_equal)           \
  X(greater)              \
  X(greater_equal)

#define DC_ENUM_ENTRY(name) name,
enum class UnaryOp : int32_t { DC_UNARY_OPS(DC_ENUM_ENTRY) };
enum class BinaryOp : int32_t { DC_BINARY_OPS(DC_ENUM_ENTRY) };
enum class CompareOp : int32_t { DC_COMPARE_OPS(DC_ENUM_ENTRY) };
#undef DC_ENUM_ENTRY

}  // namespace dc
