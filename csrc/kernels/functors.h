// Elementwise functors, written once over a value type V: a register of any instruction set. The including file
// defines DC_INLINE and the math functions for V in namespace DC_ISA (csrc/cpu/simd/math.h).
#pragma once

namespace dc::DC_ISA::functors {

// Each functor is a struct with a static template `apply`; math functions (exp, tanh, ...) come from the
// namespace of the instruction set by argument-dependent lookup.
#define DC_FUNCTOR1(name, ...)                  \
  struct name {                                 \
    template <class V>                          \
    static DC_INLINE V apply(V x, V p0, V p1) { \
      (void)p0, (void)p1;                       \
      __VA_ARGS__                               \
    }                                           \
  };
#define DC_FUNCTOR2(name, ...)                       \
  struct name {                                      \
    template <class V>                               \
    static DC_INLINE V apply(V a, V b, V p0, V p1) { \
      (void)p0, (void)p1;                            \
      __VA_ARGS__                                    \
    }                                                \
  };

template <class V>
static DC_INLINE V constant(double x) {
  return V::set(static_cast<decltype(V::zero().sum())>(x));
}

DC_FUNCTOR1(negative, return -x;)
DC_FUNCTOR1(abs, return DC_ISA::abs(x);)
DC_FUNCTOR1(sign, {
  const V one = constant<V>(1), zero = V::zero();
  return select(gt(x, zero), one, select(lt(x, zero), -one, x));  // 0 and NaN stay
})
DC_FUNCTOR1(exp, return DC_ISA::exp(x);)
DC_FUNCTOR1(expm1, return DC_ISA::expm1(x);)
DC_FUNCTOR1(log, return DC_ISA::log(x);)
DC_FUNCTOR1(log1p, return DC_ISA::log1p(x);)
DC_FUNCTOR1(sqrt, return DC_ISA::sqrt(x);)
DC_FUNCTOR1(rsqrt, return constant<V>(1) / DC_ISA::sqrt(x);)
DC_FUNCTOR1(reciprocal, return constant<V>(1) / x;)
DC_FUNCTOR1(square, return x * x;)
DC_FUNCTOR1(sin, return DC_ISA::sin(x);)
DC_FUNCTOR1(cos, return DC_ISA::cos(x);)
DC_FUNCTOR1(erf, return DC_ISA::erf(x);)
DC_FUNCTOR1(tanh, return DC_ISA::tanh(x);)
DC_FUNCTOR1(sigmoid, return DC_ISA::sigmoid(x);)
DC_FUNCTOR1(softplus, return DC_ISA::softplus(x);)
DC_FUNCTOR1(relu, return select(lt(x, V::zero()), V::zero(), x);)  // NaN stays NaN
DC_FUNCTOR1(leaky_relu, return select(lt(x, V::zero()), p0* x, x);)
DC_FUNCTOR1(elu, return select(lt(x, V::zero()), p0* DC_ISA::expm1(x), x);)
DC_FUNCTOR1(gelu, return constant<V>(0.5) * x * (constant<V>(1) + DC_ISA::erf(x * constant<V>(0.70710678118654752)));)
DC_FUNCTOR1(silu, return x * DC_ISA::sigmoid(x);)
// clip(p0 x + p1, 0, 1)
DC_FUNCTOR1(hard_sigmoid, {
  const V y = fma(p0, x, p1), one = constant<V>(1);
  return select(lt(y, V::zero()), V::zero(), select(gt(y, one), one, y));
})
DC_FUNCTOR1(clamp, return select(lt(x, p0), p0, select(gt(x, p1), p1, x));)
DC_FUNCTOR1(round, return DC_ISA::round(x);)
DC_FUNCTOR1(floor, return DC_ISA::floor(x);)
DC_FUNCTOR1(ceil, return -DC_ISA::floor(-x);)
DC_FUNCTOR1(step, return select(gt(x, V::zero()), constant<V>(1), V::zero());)
DC_FUNCTOR1(softsign, return x / (constant<V>(1) + DC_ISA::abs(x));)

DC_FUNCTOR2(add, return a + b;)
DC_FUNCTOR2(subtract, return a - b;)
DC_FUNCTOR2(multiply, return a * b;)
DC_FUNCTOR2(divide, return a / b;)
DC_FUNCTOR2(power, return DC_ISA::pow(a, b);)
DC_FUNCTOR2(maximum, return select(isnan(a), a, select(gt(a, b), a, b));)
DC_FUNCTOR2(minimum, return select(isnan(a), a, select(lt(a, b), a, b));)
// Gradients of the piecewise and smooth activations: a is the cotangent g, b the input x
// (for sigmoid_grad and tanh_grad the output y).
DC_FUNCTOR2(relu_grad, return select(gt(b, V::zero()), a, V::zero());)
DC_FUNCTOR2(abs_grad, return select(gt(b, V::zero()), a, select(lt(b, V::zero()), -a, V::zero()));)
DC_FUNCTOR2(leaky_relu_grad, return select(gt(b, V::zero()), a, p0* a);)
DC_FUNCTOR2(elu_grad, return select(gt(b, V::zero()), a, a * p0 * DC_ISA::exp(b));)
DC_FUNCTOR2(gelu_grad, {
  const V cdf = constant<V>(0.5) * (constant<V>(1) + DC_ISA::erf(b * constant<V>(0.70710678118654752)));
  const V pdf = constant<V>(0.39894228040143268) * DC_ISA::exp(constant<V>(-0.5) * b * b);
  return a * fma(b, pdf, cdf);
})
DC_FUNCTOR2(silu_grad, {
  const V s = DC_ISA::sigmoid(b);
  return a * s * fma(b, constant<V>(1) - s, constant<V>(1));
})
DC_FUNCTOR2(hard_sigmoid_grad, {
  const V y = fma(p0, b, p1);
  return select(gt(y, V::zero()), select(lt(y, constant<V>(1)), a * p0, V::zero()), V::zero());
})
DC_FUNCTOR2(clamp_grad, return select(ge(b, p0), select(le(b, p1), a, V::zero()), V::zero());)
DC_FUNCTOR2(sigmoid_grad, return a * b * (constant<V>(1) - b);)
DC_FUNCTOR2(tanh_grad, return a * fnma(b, b, constant<V>(1));)
DC_FUNCTOR2(softsign_grad, {
  const V r = constant<V>(1) / (constant<V>(1) + DC_ISA::abs(b));
  return a * r * r;
})

#undef DC_FUNCTOR1
#undef DC_FUNCTOR2

}  // namespace dc::DC_ISA::functors
