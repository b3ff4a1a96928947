// Integer arithmetic, comparisons and selection over a strided space, y contiguous. Integer overflow wraps.
// Split: threads step over the result by the grid. Bound: memory.
#include "device/warp.cuh"
#include "families/families.h"
#include "families/walk.cuh"
#include "kernels/by_type.h"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) integer_kernel(BinaryOp op, Nd nd, const T* a, const T* b, T* y) {
  using U = typename Wrapping<T>::Type;
  for (long long i = first_index(kThreads); i < nd.size; i += grid_step(kThreads)) {
    const Offsets o = offsets_of<2>(nd, i);
    const T p = a[o.of[0]], q = b[o.of[1]];
    T result = p < q ? p : q;  // minimum
    if (op == BinaryOp::add) result = static_cast<T>(U(p) + U(q));
    if (op == BinaryOp::subtract) result = static_cast<T>(U(p) - U(q));
    if (op == BinaryOp::multiply) result = static_cast<T>(U(p) * U(q));
    if (op == BinaryOp::maximum) result = p > q ? p : q;
    y[i] = result;
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) compare_kernel(CompareOp op, Nd nd, const T* a, const T* b, uint8_t* y) {
  for (long long i = first_index(kThreads); i < nd.size; i += grid_step(kThreads)) {
    const Offsets o = offsets_of<2>(nd, i);
    const T p = a[o.of[0]], q = b[o.of[1]];
    bool result = p >= q;
    if (op == CompareOp::equal) result = p == q;
    if (op == CompareOp::not_equal) result = p != q;
    if (op == CompareOp::less) result = p < q;
    if (op == CompareOp::less_equal) result = p <= q;
    if (op == CompareOp::greater) result = p > q;
    y[i] = result;
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) where_kernel(Nd nd, const uint8_t* c, const T* a, const T* b, T* y) {
  for (long long i = first_index(kThreads); i < nd.size; i += grid_step(kThreads)) {
    const Offsets o = offsets_of<3>(nd, i);
    y[i] = c[o.of[0]] ? a[o.of[1]] : b[o.of[2]];
  }
}

// A warp per result: lanes run along the axis, which is contiguous or strided.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    integer_reduce_kernel(ReduceOp op, const T* x, void* y, long long results, long long r, long long inner) {
  const long long step = static_cast<long long>(grid_size().x) * kWarps;
  for (long long i = static_cast<long long>(block_index().x) * kWarps + warp(); i < results; i += step) {
    const T* from = x + i / inner * r * inner + i % inner;
    if (op == ReduceOp::sum) {
      unsigned long long sum = 0;
      for (long long p = lane(); p < r; p += 32) sum += static_cast<unsigned long long>(from[p * inner]);
      sum = warp_sum(sum);
      if (lane() == 0) static_cast<int64_t*>(y)[i] = static_cast<int64_t>(sum);
    } else {
      T best = from[0];
      for (long long p = lane(); p < r; p += 32) {
        const T v = from[p * inner];
        if (op == ReduceOp::max ? v > best : v < best) best = v;
      }
      // Shuffles take numbers of 4 and 8 bytes.
      const long long extreme =
          op == ReduceOp::max ? warp_max(static_cast<long long>(best)) : warp_min(static_cast<long long>(best));
      if (lane() == 0) static_cast<T*>(y)[i] = static_cast<T>(extreme);
    }
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    integer_arg_kernel(bool largest, const T* x, int64_t* index, long long results, long long r, long long inner) {
  const long long step = static_cast<long long>(grid_size().x) * kWarps;
  for (long long i = static_cast<long long>(block_index().x) * kWarps + warp(); i < results; i += step) {
    const T* from = x + i / inner * r * inner + i % inner;
    T best = from[0];
    long long place = 0;
    for (long long p = lane(); p < r; p += 32) {
      const T v = from[p * inner];
      if (largest ? v > best : v < best) {
        best = v;
        place = p;
      }
    }
    const long long mine = static_cast<long long>(best);
    const long long top = largest ? warp_max(mine) : warp_min(mine);
    place = warp_min(mine == top ? place : r);
    if (lane() == 0) index[i] = place;
  }
}

dim3 grid_of(const Nd& nd) { return dim3(blocks_for(nd.size, kThreads)); }

template <class T>
void integer_typed(BinaryOp op, const Nd& nd, const void* a, const void* b, void* y, Context& context) {
  run("integer arithmetic", context, integer_kernel<T>, grid_of(nd), dim3(kThreads), 0, op, nd,
      static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y));
}

void integer_binary(BinaryOp op, ElementTag tag, const Nd& nd, const void* a, const void* b, void* y,
                    Context& context) {
  by_integer(tag, [&]<class T>(T) { integer_typed<T>(op, nd, a, b, y, context); });
}

template <class T>
void compare_typed(CompareOp op, const Nd& nd, const void* a, const void* b, uint8_t* y, Context& context) {
  run("compare", context, compare_kernel<T>, grid_of(nd), dim3(kThreads), 0, op, nd, static_cast<const T*>(a),
      static_cast<const T*>(b), y);
}

void compare(CompareOp op, ElementTag tag, const Nd& nd, const void* a, const void* b, uint8_t* y, Context& context) {
  by_element(tag, [&]<class T>(T) { compare_typed<T>(op, nd, a, b, y, context); });
}

template <class T>
void where_typed(const Nd& nd, const uint8_t* c, const void* a, const void* b, void* y, Context& context) {
  run("where", context, where_kernel<T>, grid_of(nd), dim3(kThreads), 0, nd, c, static_cast<const T*>(a),
      static_cast<const T*>(b), static_cast<T*>(y));
}

void where(int itemsize, const Nd& nd, const uint8_t* c, const void* a, const void* b, void* y, Context& context) {
  by_itemsize(itemsize, [&]<class T>(T) { where_typed<T>(nd, c, a, b, y, context); });
}

template <class T>
void integer_reduce_typed(ReduceOp op, const ReduceShape& s, const void* x, void* y, Context& context) {
  const int64_t results = s.outer * s.inner;
  run("integer reduction", context, integer_reduce_kernel<T>, dim3(blocks_for(results, kWarps)), dim3(kThreads), 0, op,
      static_cast<const T*>(x), y, results, s.r, s.inner);
}

void integer_reduce(ReduceOp op, ElementTag tag, const ReduceShape& s, const void* x, void* y, Context& context) {
  by_integer(tag, [&]<class T>(T) { integer_reduce_typed<T>(op, s, x, y, context); });
}

template <class T>
void integer_arg_typed(bool largest, const ReduceShape& s, const void* x, int64_t* index, Context& context) {
  const int64_t results = s.outer * s.inner;
  run(largest ? "argmax" : "argmin", context, integer_arg_kernel<T>, dim3(blocks_for(results, kWarps)), dim3(kThreads),
      0, largest, static_cast<const T*>(x), index, results, s.r, s.inner);
}

void integer_arg_extreme(bool largest, ElementTag tag, const ReduceShape& s, const void* x, int64_t* index,
                         Context& context) {
  by_integer(tag, [&]<class T>(T) { integer_arg_typed<T>(largest, s, x, index, context); });
}

}  // namespace

const PlainKernels plain = {integer_binary, compare, where, integer_reduce, integer_arg_extreme};

}  // namespace dc::cuda
