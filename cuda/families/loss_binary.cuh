// Binary cross-entropy of logits by elements: loss = (1 - t) x + q softplus(-x), q = 1 + (v - 1) t.
// Split: threads over elements, four neighbours at a time where c and the pointers allow. Bound: memory, 12 bytes an
// element (gradient: 20).
#pragma once
#include "families/lane.cuh"
#include "families/rows.cuh"
#include "families/walk.cuh"

namespace dc::cuda {

namespace {

inline constexpr int kElementThreads = 256;

// body(i, width) for groups of four neighbours where `vector`, else and at the end for single elements.
template <class Body>
DC_DEVICE void for_elements(long long n, bool vector, const Body& body) {
  const long long groups = vector ? n / 4 : 0;
  for (long long u = first_index(kElementThreads); u < groups; u += grid_step(kElementThreads)) body(u * 4, 4);
  for (long long i = groups * 4 + first_index(kElementThreads); i < n; i += grid_step(kElementThreads)) body(i, 1);
}

template <class T>
DC_DEVICE Quad<T> load_some(const T* p, int width) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (width == 4) {
      const float4 v = load<float4>(p);
      return {v.x, v.y, v.z, v.w};
    }
  }
  return {p[0], T(0), T(0), T(0)};
}
template <class T>
DC_DEVICE void store_some(T* p, int width, const Quad<T>& v) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (width == 4) {
      store(p, float4{v.of[0], v.of[1], v.of[2], v.of[3]});
      return;
    }
  }
  p[0] = v.of[0];
}

DC_DEVICE long long column_of(long long i, long long c, long long n) {
  return n <= 0x7FFFFFFF ? static_cast<unsigned>(i) % static_cast<unsigned>(c) : i % c;
}

// v - 1 for an element and its neighbours. Groups of four lie in one row: their kernels ask for c % 4 = 0.
template <class T>
DC_DEVICE Quad<T> extra_of(const T* pos_weight, long long i, int width, long long c, long long n) {
  Quad<T> e{};
  if (pos_weight) {
    const T* w = pos_weight + column_of(i, c, n);
    DC_UNROLL
    for (int j = 0; j < 4; ++j)
      if (j < width) e.of[j] = w[j] - T(1);
  }
  return e;
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    bce_kernel(long long n, long long c, bool vector, const T* DC_RESTRICT x, const T* DC_RESTRICT t,
               const T* DC_RESTRICT pos_weight, T* DC_RESTRICT loss) {
  for_elements(n, vector, [&](long long i, int width) {
    const Quad<T> xs = load_some(x + i, width), ts = load_some(t + i, width);
    const Quad<T> extra = extra_of(pos_weight, i, width, c, n);
    Quad<T> r{};
    DC_UNROLL
    for (int j = 0; j < 4; ++j)
      if (j < width) {
        const T q = fma_of(extra.of[j], ts.of[j], T(1));
        r.of[j] = fma_of(T(1) - ts.of[j], xs.of[j], q * softplus(Lane<T>{-xs.of[j]}).value);
      }
    store_some(loss + i, width, r);
  });
}

// gx = g ((1 - t) - q s(-x)), gt = g ((v - 1) softplus(-x) - x).
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    bce_grad_kernel(long long n, long long c, bool vector, const T* DC_RESTRICT x, const T* DC_RESTRICT t,
                    const T* DC_RESTRICT pos_weight, const T* DC_RESTRICT g, bool each, T* DC_RESTRICT gx,
                    T* DC_RESTRICT gt) {
  for_elements(n, vector, [&](long long i, int width) {
    const Quad<T> xs = load_some(x + i, width), ts = load_some(t + i, width);
    const Quad<T> gs = each ? load_some(g + i, width) : Quad<T>{{*g, *g, *g, *g}};
    const Quad<T> extra = extra_of(pos_weight, i, width, c, n);
    Quad<T> a{}, b{};
    DC_UNROLL
    for (int j = 0; j < 4; ++j)
      if (j < width) {
        const T q = fma_of(extra.of[j], ts.of[j], T(1)), v = xs.of[j];
        a.of[j] = gs.of[j] * fma_of(-q, sigmoid(Lane<T>{-v}).value, T(1) - ts.of[j]);
        b.of[j] = gs.of[j] * (pos_weight ? fma_of(extra.of[j], softplus(Lane<T>{-v}).value, -v) : -v);
      }
    if (gx) store_some(gx + i, width, a);
    if (gt) store_some(gt + i, width, b);
  });
}

}  // namespace

}  // namespace dc::cuda
