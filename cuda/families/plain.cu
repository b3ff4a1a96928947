// Integer arithmetic, comparisons and selection over a strided space, y contiguous. Integer overflow wraps.
// Split: threads step over the result by the grid. Bound: memory.
#include "families/families.h"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;

// Arithmetic in the unsigned type U: wrapping is defined there.
template <class T, class U>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) integer_kernel(BinaryOp op, Nd nd, const T* a, const T* b, T* y) {
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

dim3 grid_of(const Nd& nd) { return dim3(blocks_for(nd.size, kThreads)); }

template <class T, class U>
void integer_typed(BinaryOp op, const Nd& nd, const void* a, const void* b, void* y, Context& context) {
  run("integer arithmetic", context, integer_kernel<T, U>, grid_of(nd), dim3(kThreads), 0, op, nd,
      static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y));
}

void integer_binary(BinaryOp op, ElementTag tag, const Nd& nd, const void* a, const void* b, void* y,
                    Context& context) {
  switch (tag) {
    case ElementTag::int32:
      return integer_typed<int32_t, uint32_t>(op, nd, a, b, y, context);
    case ElementTag::int64:
      return integer_typed<int64_t, uint64_t>(op, nd, a, b, y, context);
    default:
      return integer_typed<uint8_t, uint32_t>(op, nd, a, b, y, context);
  }
}

template <class T>
void compare_typed(CompareOp op, const Nd& nd, const void* a, const void* b, uint8_t* y, Context& context) {
  run("compare", context, compare_kernel<T>, grid_of(nd), dim3(kThreads), 0, op, nd, static_cast<const T*>(a),
      static_cast<const T*>(b), y);
}

void compare(CompareOp op, ElementTag tag, const Nd& nd, const void* a, const void* b, uint8_t* y, Context& context) {
  switch (tag) {
    case ElementTag::float32:
      return compare_typed<float>(op, nd, a, b, y, context);
    case ElementTag::float64:
      return compare_typed<double>(op, nd, a, b, y, context);
    case ElementTag::int32:
      return compare_typed<int32_t>(op, nd, a, b, y, context);
    case ElementTag::int64:
      return compare_typed<int64_t>(op, nd, a, b, y, context);
    default:
      return compare_typed<uint8_t>(op, nd, a, b, y, context);
  }
}

template <class T>
void where_typed(const Nd& nd, const uint8_t* c, const void* a, const void* b, void* y, Context& context) {
  run("where", context, where_kernel<T>, grid_of(nd), dim3(kThreads), 0, nd, c, static_cast<const T*>(a),
      static_cast<const T*>(b), static_cast<T*>(y));
}

void where(int itemsize, const Nd& nd, const uint8_t* c, const void* a, const void* b, void* y, Context& context) {
  switch (itemsize) {
    case 1:
      return where_typed<uint8_t>(nd, c, a, b, y, context);
    case 4:
      return where_typed<uint32_t>(nd, c, a, b, y, context);
    default:
      return where_typed<uint64_t>(nd, c, a, b, y, context);
  }
}

}  // namespace

const PlainKernels plain = {integer_binary, compare, where};

}  // namespace dc::cuda
