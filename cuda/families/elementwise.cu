// Elementwise kernels: y[i] = f(x[i]) and y[i] = f(a[i], b[i]), y contiguous.
// Split: threads step over the result by the grid. Plain float32 operands (stride 1, or one number for all) go four
// elements at a time in 16-byte accesses, with the functor compiled in. Everything else finds its offsets by division
// and its functor by a switch that all threads take alike. Bound: memory, 8 or 12 bytes an element.
#include "families/families.h"
#include "families/lane.cuh"
#include "families/walk.cuh"
#include "kernels/elementwise.h"
#include "kernels/functors.h"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256, kWidth = 4;

template <class Op>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    unary_flat(const float* DC_RESTRICT x, float* DC_RESTRICT y, long long n, float p0, float p1) {
  const Lane<float> q0{p0}, q1{p1};
  const long long groups = n / kWidth;
  for (long long g = first_index(kThreads); g < groups; g += grid_step(kThreads)) {
    const float4 v = load<float4>(x + g * kWidth);
    const float4 result = {Op::apply(Lane<float>{v.x}, q0, q1).value, Op::apply(Lane<float>{v.y}, q0, q1).value,
                           Op::apply(Lane<float>{v.z}, q0, q1).value, Op::apply(Lane<float>{v.w}, q0, q1).value};
    store(y + g * kWidth, result);
  }
  const long long i = groups * kWidth + first_index(kThreads);
  if (i < n) y[i] = Op::apply(Lane<float>{x[i]}, q0, q1).value;
}

// b: n values, or one for all.
template <class Op>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    binary_flat(const float* DC_RESTRICT a, const float* DC_RESTRICT b, float* DC_RESTRICT y, long long n,
                bool a_single, bool b_single, float p0, float p1) {
  const Lane<float> q0{p0}, q1{p1};
  const float a0 = a_single ? a[0] : 0.0f, b0 = b_single ? b[0] : 0.0f;
  const long long groups = n / kWidth;
  for (long long g = first_index(kThreads); g < groups; g += grid_step(kThreads)) {
    const float4 u = a_single ? float4{a0, a0, a0, a0} : load<float4>(a + g * kWidth);
    const float4 v = b_single ? float4{b0, b0, b0, b0} : load<float4>(b + g * kWidth);
    const float4 result = {Op::apply(Lane<float>{u.x}, Lane<float>{v.x}, q0, q1).value,
                           Op::apply(Lane<float>{u.y}, Lane<float>{v.y}, q0, q1).value,
                           Op::apply(Lane<float>{u.z}, Lane<float>{v.z}, q0, q1).value,
                           Op::apply(Lane<float>{u.w}, Lane<float>{v.w}, q0, q1).value};
    store(y + g * kWidth, result);
  }
  const long long i = groups * kWidth + first_index(kThreads);
  if (i < n) y[i] = Op::apply(Lane<float>{a_single ? a0 : a[i]}, Lane<float>{b_single ? b0 : b[i]}, q0, q1).value;
}

template <class T>
DC_DEVICE Lane<T> apply_unary(UnaryOp op, Lane<T> x, Lane<T> p0, Lane<T> p1) {
  switch (op) {
#define DC_CASE(name) \
  case UnaryOp::name: \
    return functors::name::apply(x, p0, p1);
    DC_UNARY_OPS(DC_CASE)
#undef DC_CASE
  }
  return x;
}
template <class T>
DC_DEVICE Lane<T> apply_binary(BinaryOp op, Lane<T> a, Lane<T> b, Lane<T> p0, Lane<T> p1) {
  switch (op) {
#define DC_CASE(name)  \
  case BinaryOp::name: \
    return functors::name::apply(a, b, p0, p1);
    DC_BINARY_OPS(DC_CASE)
#undef DC_CASE
  }
  return a;
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 1) unary_strided(UnaryOp op, Nd nd, const T* x, T* y, T p0, T p1) {
  for (long long i = first_index(kThreads); i < nd.size; i += grid_step(kThreads))
    y[i] = apply_unary(op, Lane<T>{x[offsets_of<1>(nd, i).of[0]]}, Lane<T>{p0}, Lane<T>{p1}).value;
}
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 1) binary_strided(BinaryOp op, Nd nd, const T* a, const T* b, T* y, T p0, T p1) {
  for (long long i = first_index(kThreads); i < nd.size; i += grid_step(kThreads)) {
    const Offsets o = offsets_of<2>(nd, i);
    y[i] = apply_binary(op, Lane<T>{a[o.of[0]]}, Lane<T>{b[o.of[1]]}, Lane<T>{p0}, Lane<T>{p1}).value;
  }
}

// The operand can be read four at a time, or is one number.
bool plain(const Nd& nd, int operand, const void* p) {
  const int64_t stride = nd.stride[operand][0];
  return nd.ndim == 1 && (stride == 0 || (stride == 1 && aligned(p)));
}

template <class T>
void unary(UnaryOp op, const Nd& nd, const T* x, T* y, double p0, double p1, Context& context) {
  const T q0 = static_cast<T>(p0), q1 = static_cast<T>(p1);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (plain(nd, 0, x) && nd.stride[0][0] == 1 && aligned(y)) {
      const dim3 grid(blocks_for(nd.size, kThreads, kWidth));
      switch (op) {
#define DC_CASE(name) \
  case UnaryOp::name: \
    return run(#name, context, unary_flat<functors::name>, grid, dim3(kThreads), 0, x, y, nd.size, q0, q1);
        DC_UNARY_OPS(DC_CASE)
#undef DC_CASE
      }
    }
  }
  run("unary", context, unary_strided<T>, dim3(blocks_for(nd.size, kThreads)), dim3(kThreads), 0, op, nd, x, y, q0, q1);
}

template <class T>
void binary(BinaryOp op, const Nd& nd, const T* a, const T* b, T* y, double p0, double p1, Context& context) {
  const T q0 = static_cast<T>(p0), q1 = static_cast<T>(p1);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (plain(nd, 0, a) && plain(nd, 1, b) && aligned(y)) {
      const dim3 grid(blocks_for(nd.size, kThreads, kWidth));
      const bool a_single = nd.stride[0][0] == 0, b_single = nd.stride[1][0] == 0;
      switch (op) {
#define DC_CASE(name)                                                                                            \
  case BinaryOp::name:                                                                                           \
    return run(#name, context, binary_flat<functors::name>, grid, dim3(kThreads), 0, a, b, y, nd.size, a_single, \
               b_single, q0, q1);
        DC_BINARY_OPS(DC_CASE)
#undef DC_CASE
      }
    }
  }
  run("binary", context, binary_strided<T>, dim3(blocks_for(nd.size, kThreads)), dim3(kThreads), 0, op, nd, a, b, y, q0,
      q1);
}

}  // namespace

const ElementwiseKernels<float> elementwise_f32 = {unary<float>, binary<float>};
const ElementwiseKernels<double> elementwise_f64 = {unary<double>, binary<double>};

}  // namespace dc::cuda
