// Softmax by rows, and what the losses share with it: a row's maximum and sum of exponentials.
// A group of threads takes a row (rows.cuh). What its registers hold is read once; of a longer row the rest is read
// twice, with an online maximum and sum the first time. Bound: memory, 8 bytes an element (gradient: 12).
#pragma once
#include "families/lane.cuh"
#include "families/rows.cuh"

namespace dc::cuda {

namespace {

template <class T>
struct RowSum {
  T top, sum;  // the maximum, and the sum of exp(x - top)
};

// Leaves the row's first quads in `held`: as they are, or as exp(x - top).
template <class T, class Group, int kQuads>
DC_DEVICE RowSum<T> sum_exponentials(const Group& group, const RowPart& part, const T* x, Quad<T> (&held)[kQuads],
                                     bool keep_exponentials DC_PLACE_PARAMETER) {
  const T low = -static_cast<T>(HUGE_VALF);
  const Larger larger;
  const auto largest = [&](const Quad<T>& v) { return larger(larger(v.of[0], v.of[1]), larger(v.of[2], v.of[3])); };
  T top = low, beyond_top = low, beyond = 0;
  for_quads<Group::kRest>(
      part, held,
      [&](int q, Quad<T>& v) {
        v = load_quad(x, part, q, low);
        top = larger(top, largest(v));
      },
      [&](long long q) {
        const Quad<T> v = load_quad(x, part, q, low);
        const T high = largest(v);
        if (high > beyond_top) {
          beyond *= exp_of(beyond_top - high);
          beyond_top = high;
        }
        const T shift = beyond_top == low ? T(0) : beyond_top;  // -inf minus itself is NaN
        for (int i = 0; i < 4; ++i) beyond += exp_of(v.of[i] - shift);
      });
  top = group.reduce(larger(top, beyond_top), low, larger DC_PLACE_ARGUMENT);
  T sum = beyond == T(0) ? T(0) : beyond * exp_of(beyond_top - top);
  for_quads<false>(
      part, held,
      [&](int, Quad<T>& v) {
        DC_UNROLL
        for (int i = 0; i < 4; ++i) {
          const T e = exp_of(v.of[i] - top);
          sum += e;
          if (keep_exponentials) v.of[i] = e;
        }
      },
      [](long long) {});
  return {top, group.reduce(sum, T(0), Sum() DC_PLACE_ARGUMENT)};
}

// y = exp(x - top) / sum, or (x - top) - log(sum): both differences are exact or nearly so where it matters.
template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, Group::kBlocks)
    softmax_rows(long long rows, long long c, int size, bool vector, bool logarithm, const T* DC_RESTRICT x,
                 T* DC_RESTRICT y) {
  const Group group{size};
  for (long long base = group.first(); base < rows; base += group.step()) {
    const RowPart part = group.part(base, rows, c, vector);
    const T* from = x + part.row * c;
    T* to = y + part.row * c;
    Quad<T> held[kHeld<T, Group>];
    const RowSum<T> s = sum_exponentials(group, part, from, held, !logarithm);
    const T scale = T(1) / s.sum, rest = logarithm ? log_of(s.sum) : T(0);
    for_quads<Group::kRest>(
        part, held,
        [&](int q, Quad<T>& v) {
          DC_UNROLL
          for (int i = 0; i < 4; ++i) v.of[i] = logarithm ? (v.of[i] - s.top) - rest : v.of[i] * scale;
          store_quad(to, part, q, v);
        },
        [&](long long q) {
          Quad<T> v = load_quad(from, part, q, T(0));
          for (int i = 0; i < 4; ++i) {
            const T d = v.of[i] - s.top;
            v.of[i] = logarithm ? d - rest : exp_of(d) * scale;
          }
          store_quad(to, part, q, v);
        });
  }
}

// gx = y (g - sum g y), or g - exp(y) sum g.
template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, Group::kBlocks)
    softmax_grad_rows(long long rows, long long c, int size, bool vector, bool logarithm, const T* DC_RESTRICT y,
                      const T* DC_RESTRICT g, T* DC_RESTRICT gx) {
  struct Both {
    Quad<T> y, g;
  };
  const Group group{size};
  for (long long base = group.first(); base < rows; base += group.step()) {
    const RowPart part = group.part(base, rows, c, vector);
    const T *ys = y + part.row * c, *gs = g + part.row * c;
    T* to = gx + part.row * c;
    Both held[kHeld<T, Group>];
    T sum = 0;
    const auto take = [&](Both& v, auto q) {
      v = {load_quad(ys, part, q, T(0)), load_quad(gs, part, q, T(0))};
      DC_UNROLL
      for (int i = 0; i < 4; ++i) sum = logarithm ? sum + v.g.of[i] : fma_of(v.y.of[i], v.g.of[i], sum);
    };
    const auto give = [&](const Both& v, auto q) {
      Quad<T> r;
      DC_UNROLL
      for (int i = 0; i < 4; ++i)
        r.of[i] = logarithm ? fma_of(-exp_of(v.y.of[i]), sum, v.g.of[i]) : v.y.of[i] * (v.g.of[i] - sum);
      store_quad(to, part, q, r);
    };
    for_quads<Group::kRest>(
        part, held, [&](int q, Both& v) { take(v, q); },
        [&](long long q) {
          Both v;
          take(v, q);
        });
    sum = group.reduce(sum, T(0), Sum());
    for_quads<Group::kRest>(
        part, held, [&](int q, const Both& v) { give(v, q); },
        [&](long long q) { give({load_quad(ys, part, q, T(0)), load_quad(gs, part, q, T(0))}, q); });
  }
}

}  // namespace

}  // namespace dc::cuda
