// Reductions: y[o, i] = fold over p of x[o, p, i], x contiguous (outer, r, inner).
//   inner = 1       a warp per row, or a block where rows are long; lanes run along the row
//   inner <= 128    a block per (o, part of r); every thread stays in its column and reads with its neighbours
//   inner > 128     a block per 32 columns; 8 threads share a column
// Long reductions with few results are cut into parts of a fixed size and folded once more, so that neither the device
// nor the launch changes a bit. Bound: memory, one read of x.
#include "device/block.cuh"
#include "families/families.h"
#include "families/lane.cuh"
#include "families/walk.cuh"
#include "kernels/reduce.h"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int64_t kLongRow = 2048;      // of a warp; longer ones take a block
constexpr int64_t kPart = 32768;        // elements of a part of a row
constexpr int64_t kPartRows = 256;      // rows of a part of a column
constexpr int64_t kFewResults = 65536;  // more than these fill the device without parts
constexpr int kNarrow = 128;

template <class T>
struct SumFold {
  static DC_DEVICE T neutral() { return T(0); }
  static DC_DEVICE T first(T x) { return x; }
  DC_DEVICE T operator()(T a, T b) const { return a + b; }
};
template <class T>
struct SquaresFold : SumFold<T> {
  static DC_DEVICE T first(T x) { return x * x; }
};
template <class T>
struct AbsFold : SumFold<T> {
  static DC_DEVICE T first(T x) { return x < T(0) ? -x : x; }
};
template <class T>
struct ProductFold {
  static DC_DEVICE T neutral() { return T(1); }
  static DC_DEVICE T first(T x) { return x; }
  DC_DEVICE T operator()(T a, T b) const { return a * b; }
};
template <class T>
struct MaxFold : Maximum {
  static DC_DEVICE T neutral() { return -static_cast<T>(HUGE_VALF); }
  static DC_DEVICE T first(T x) { return x; }
};
template <class T>
struct MinFold : Minimum {
  static DC_DEVICE T neutral() { return static_cast<T>(HUGE_VALF); }
  static DC_DEVICE T first(T x) { return x; }
};

// body(fold) with the fold of the operation. `again`: x holds results of an earlier fold.
template <class T, class Body>
DC_DEVICE void with_fold(ReduceOp op, bool again, const Body& body) {
  if (op == ReduceOp::sum_squares && !again)
    body(SquaresFold<T>());
  else if (op == ReduceOp::sum_abs && !again)
    body(AbsFold<T>());
  else if (op == ReduceOp::max)
    body(MaxFold<T>());
  else if (op == ReduceOp::min)
    body(MinFold<T>());
  else if (op == ReduceOp::prod)
    body(ProductFold<T>());
  else
    body(SumFold<T>());
}

// Part j of row o is x[o r + j part ...]; y: (outer, parts).
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    rows_by_warp(ReduceOp op, bool again, const T* DC_RESTRICT x, T* DC_RESTRICT y, long long rows, long long r) {
  with_fold<T>(op, again, [&](auto fold) {
    const long long step = static_cast<long long>(grid_size().x) * kWarps;
    for (long long row = static_cast<long long>(block_index().x) * kWarps + warp(); row < rows; row += step) {
      const T* from = x + row * r;
      T value = fold.neutral();
      for (long long p = lane(); p < r; p += 32) value = fold(value, fold.first(from[p]));
      value = warp_reduce(value, fold);
      if (lane() == 0) y[row] = value;
    }
  });
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) rows_by_block(ReduceOp op, bool again, const T* DC_RESTRICT x, T* DC_RESTRICT y,
                                                      long long rows, long long r, long long parts, long long part) {
  with_fold<T>(op, again, [&](auto fold) {
    for (long long t = block_index().x; t < rows * parts; t += grid_size().x) {
      const long long first = t % parts * part, n = r - first < part ? r - first : part;
      const T* from = x + t / parts * r + first;
      T value = fold.neutral();
      for (long long p = thread_index().x; p < n; p += kThreads) value = fold(value, fold.first(from[p]));
      value = block_reduce(value, fold.neutral(), fold);
      if (thread_index().x == 0) y[t] = value;
    }
  });
}

// inner <= 128: 256 / inner rows at a time, thread t in column t % inner. y: (outer, parts, inner).
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    narrow_columns(ReduceOp op, bool again, const T* DC_RESTRICT x, T* DC_RESTRICT y, long long outer, long long r,
                   int inner, long long parts, long long part) {
  DC_SHARED(T[kThreads], values);
  const int t = static_cast<int>(thread_index().x), together = kThreads / inner, used = together * inner;
  with_fold<T>(op, again, [&](auto fold) {
    for (long long task = block_index().x; task < outer * parts; task += grid_size().x) {
      const long long first = task % parts * part, rows = r - first < part ? r - first : part;
      const T* from = x + (task / parts * r + first) * inner;
      T value = fold.neutral();
      if (t < used)
        for (long long p = t; p < rows * inner; p += used) value = fold(value, fold.first(from[p]));
      values[t] = value;
      sync_block();
      if (t < inner) {
        for (int k = 1; k < together; ++k) value = fold(value, values[t + k * inner]);
        y[task * inner + t] = value;
      }
      sync_block();
    }
  });
}

// Blocks of 32 x 8 threads over 32 columns. y: (outer, parts, inner).
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    wide_columns(ReduceOp op, bool again, const T* DC_RESTRICT x, T* DC_RESTRICT y, long long outer, long long r,
                 long long inner, long long parts, long long part) {
  DC_SHARED(T[kWarps][32], values);
  const int tx = static_cast<int>(thread_index().x), ty = static_cast<int>(thread_index().y);
  const long long tiles = (inner + 31) / 32;
  with_fold<T>(op, again, [&](auto fold) {
    for (long long task = block_index().x; task < outer * parts * tiles; task += grid_size().x) {
      const long long column = task % tiles * 32 + tx, strip = task / tiles;
      const long long first = strip % parts * part, rows = r - first < part ? r - first : part;
      const T* from = x + (strip / parts * r + first) * inner + column;
      T value = fold.neutral();
      if (column < inner)
        for (long long p = ty; p < rows; p += kWarps) value = fold(value, fold.first(from[p * inner]));
      values[ty][tx] = value;
      sync_block();
      if (ty == 0 && column < inner) {
        for (int k = 1; k < kWarps; ++k) value = fold(value, values[k][tx]);
        y[strip * inner + column] = value;
      }
      sync_block();
    }
  });
}

template <class T>
void one_pass(ReduceOp op, bool again, const ReduceShape& s, const T* x, T* y, int64_t parts, int64_t part,
              Context& context) {
  const char* name = "reduce";
  if (s.inner == 1 && parts == 1 && s.r <= kLongRow)
    run(name, context, rows_by_warp<T>, dim3(blocks_for(s.outer, kWarps)),
        dim3(s.outer < kWarps ? 32 * static_cast<unsigned>(s.outer) : kThreads), 0, op, again, x, y, s.outer, s.r);
  else if (s.inner == 1)
    run(name, context, rows_by_block<T>, dim3(blocks_for(s.outer * parts, 1)), dim3(kThreads), 0, op, again, x, y,
        s.outer, s.r, parts, part);
  else if (s.inner <= kNarrow)
    run(name, context, narrow_columns<T>, dim3(blocks_for(s.outer * parts, 1)), dim3(kThreads), 0, op, again, x, y,
        s.outer, s.r, static_cast<int>(s.inner), parts, part);
  else
    run(name, context, wide_columns<T>, dim3(blocks_for(s.outer * parts * ((s.inner + 31) / 32), 1)), dim3(32, kWarps),
        0, op, again, x, y, s.outer, s.r, s.inner, parts, part);
}

template <class T>
void reduce(ReduceOp op, const ReduceShape& s, const T* x, T* y, Context& context) {
  const int64_t part = s.inner == 1 ? kPart : kPartRows;
  const int64_t parts = s.outer * s.inner < kFewResults ? (s.r + part - 1) / part : 1;
  if (parts <= 1) return one_pass(op, false, s, x, y, 1, s.r, context);
  const Scratch partial("reduce", context, static_cast<size_t>(s.outer * parts * s.inner) * sizeof(T));
  one_pass(op, false, s, x, partial.as<T>(), parts, part, context);
  one_pass(op, true, ReduceShape{s.outer, parts, s.inner}, partial.as<T>(), y, 1, parts, context);
}

}  // namespace

const ReduceKernels<float> reduce_f32 = {reduce<float>};
const ReduceKernels<double> reduce_f64 = {reduce<double>};

}  // namespace dc::cuda
