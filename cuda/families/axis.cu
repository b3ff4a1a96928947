// Places of extremes, and running sums, along the middle axis of (outer, n, inner).
// Extremes: inner = 1, a warp per row, or a block where rows are long; else a thread per (o, i), neighbours along
// inner. Where those are few, the axis is cut into parts of a fixed size, and the parts' extremes go through the same
// kernel: the place of an extreme depends on no order. Bound: memory, one read of x.
// Running sums: a thread per line where lines are many or short; a block per 32 lines where neighbours allow; else a
// block per part of a line, whose warps add up 128 elements each and carry the sum so far on. Few long lines are cut
// into parts: the sums of the parts come first, their running sums are the parts' beginnings. Bound: memory, one read
// (two where lines are cut) and one write. The order of additions depends on the shape only.
#include "device/block.cuh"
#include "families/axis.h"
#include "families/families.h"
#include "families/pack.cuh"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256, kTogether = 4;

template <class T>
DC_DEVICE T lowest() {
  return -static_cast<T>(HUGE_VALF);
}

// ---- extremes ----

// Extremes of parts: their values (minima with the sign changed) and places; either output may be null.
template <class T>
struct Extremes {
  const T* x;
  const int* from;  // places of the values in x; null: x is the axis itself
  bool smallest;
  T* values;
  int* places;
  int64_t* index;

  DC_DEVICE Indexed<T> at(long long k, long long row_step, long long base) const {
    const T v = x[base + k * row_step];
    return {smallest ? -v : v, static_cast<int>(k)};
  }
  DC_DEVICE void put(long long i, const Indexed<T>& best) const {
    if (index)
      index[i] = best.index;
    else
      values[i] = best.value, places[i] = best.index;
  }
};

// x: (rows, n). Task: part of a row. lanes: threads per task, 32 or all.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    extreme_of_rows(Extremes<T> s, int lanes, long long n, long long part, Divisor by_parts, long long tasks) {
  const int t = static_cast<int>(thread_index().x), together = kThreads / lanes, mine = t / lanes;
  for (long long first = static_cast<long long>(block_index().x) * together; first < tasks;
       first += static_cast<long long>(grid_size().x) * together) {
    long long row = first + mine;
    const bool exists = row < tasks;
    const long long begin = by_parts.peel(row) * part;
    const long long end = !exists ? begin : begin + part < n ? begin + part : n;
    Indexed<T> best = {lowest<T>(), 0x7FFFFFFF};
    for (long long k = begin + t % lanes; k < end; k += lanes * kTogether) {
      Indexed<T> v[kTogether];
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u)
        if (k + u * lanes < end) v[u] = s.at(k + u * lanes, 1, row * n);
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u)
        if (k + u * lanes < end) best = larger(best, v[u]);
    }
    best = lanes == 32 ? warp_max_index(best) : block_max_index(best, lowest<T>());
    if (exists && t % lanes == 0) s.put(first + mine, best);
  }
}

// x: (outer, n, inner). A thread's place: (o, part, i).
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    extreme_of_columns(Extremes<T> s, long long n, long long part, Divisor by_inner, Divisor by_parts, long long all) {
  const long long inner = by_inner.size;
  for (long long place = first_index(kThreads); place < all; place += grid_step(kThreads)) {
    long long o = place;
    const long long i = by_inner.peel(o), begin = by_parts.peel(o) * part, base = o * n * inner + i;
    const long long end = begin + part < n ? begin + part : n;
    Indexed<T> best = s.at(begin, inner, base);
    for (long long k = begin + 1; k < end; k += kTogether) {
      Indexed<T> v[kTogether];
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u)
        if (k + u < end) v[u] = s.at(k + u, inner, base);
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u)
        if (k + u < end && best.value == best.value && !(v[u].value <= best.value)) best = v[u];
    }
    if (s.from) best.index = s.from[base + best.index * inner];
    s.put(place, best);
  }
}

constexpr int64_t kShortRow = 1024;  // a warp's
constexpr int64_t kRowPart = 32768, kColumnPart = 256;
constexpr int64_t kFewRows = 1024, kFewColumns = 65536;  // more of them fill the device

template <class T>
void extreme(const char* op, bool smallest, const AxisShape& s, const T* x, int64_t* index, Context& context) {
  const int64_t lines = s.outer * s.inner;
  const bool rows = s.inner == 1;
  const int64_t part = rows ? kRowPart : kColumnPart, parts = (s.n + part - 1) / part;
  const bool cut = parts > 1 && lines < (rows ? kFewRows : kFewColumns);
  const Scratch memory(op, context, cut ? static_cast<size_t>(lines * parts) * (sizeof(T) + sizeof(int)) : 1);
  Extremes<T> first{x, nullptr, smallest, nullptr, nullptr, index};
  if (cut) first.values = memory.as<T>(), first.places = reinterpret_cast<int*>(first.values + lines * parts);
  if (cut) first.index = nullptr;
  const long long tasks = cut ? lines * parts : lines, length = cut ? part : s.n;
  const Divisor by_parts(cut ? parts : 1);
  if (rows) {
    const int lanes = length <= kShortRow ? 32 : kThreads;
    run(op, context, extreme_of_rows<T>, dim3(blocks_for(tasks, kThreads / lanes)), dim3(kThreads), 0, first, lanes,
        s.n, length, by_parts, tasks);
  } else {
    run(op, context, extreme_of_columns<T>, dim3(blocks_for(tasks, kThreads)), dim3(kThreads), 0, first, s.n, length,
        Divisor(s.inner), by_parts, tasks);
  }
  if (!cut) return;
  const Extremes<T> second{first.values, first.places, false, nullptr, nullptr, index};
  run(op, context, extreme_of_columns<T>, dim3(blocks_for(lines, kThreads)), dim3(kThreads), 0, second, parts, parts,
      Divisor(s.inner), Divisor(1), lines);
}

// ---- running sums ----

// Element k of line (o, i), counted from the start or (reverse) from the end.
template <class T>
struct Line {
  const T* x;
  T* y;
  long long step;

  DC_DEVICE Line(const T* all_x, T* all_y, long long line, const Divisor& by_inner, long long n, bool reverse) {
    const long long inner = by_inner.size, i = by_inner.peel(line);
    const long long begin = line * n * inner + i + (reverse ? (n - 1) * inner : 0);
    x = all_x + begin, y = all_y + begin, step = reverse ? -inner : inner;
  }
  // f(element k, k) of [first, end), in order, with several loads under way.
  template <class F>
  DC_DEVICE void each(long long first, long long end, const F& f) const {
    for (long long k = first; k < end; k += kTogether) {
      T v[kTogether];
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u)
        if (k + u < end) v[u] = x[(k + u) * step];
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u)
        if (k + u < end) f(v[u], k + u);
    }
  }
  DC_DEVICE void running_sums(T sum, long long first, long long end) const {
    each(first, end, [&](T v, long long k) { y[k * step] = sum += v; });
  }
};

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    sum_lines(const T* x, T* y, bool reverse, long long n, Divisor by_inner, long long lines) {
  for (long long i = first_index(kThreads); i < lines; i += grid_step(kThreads)) {
    Line<T>(x, y, i, by_inner, n, reverse).running_sums(T(0), 0, n);
  }
}

// inner >= 32: a block takes 32 neighbouring lines, its rows of threads a segment of them each, which they add up
// first.
constexpr int kSegments = 16;
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(512, 2)
    sum_columns(const T* x, T* y, bool reverse, long long n, Divisor by_inner, Divisor by_groups, long long tasks) {
  DC_SHARED(T[kSegments][32], of_segments);
  const int tx = static_cast<int>(thread_index().x), segment = static_cast<int>(thread_index().y);
  const long long length = (n + kSegments - 1) / kSegments, first = segment * length;
  const long long end = first + length < n ? first + length : n;
  for (long long task = block_index().x; task < tasks; task += grid_size().x) {
    long long o = task;
    const long long i = by_groups.peel(o) * 32 + tx;
    const bool exists = i < by_inner.size;
    const Line<T> line(x, y, o * by_inner.size + (exists ? i : 0), by_inner, n, reverse);
    T sum = T(0);
    if (exists) line.each(first, end, [&](T v, long long) { sum += v; });
    of_segments[segment][tx] = sum;
    sync_block();
    sum = T(0);
    for (int earlier = 0; earlier < segment; ++earlier) sum += of_segments[earlier][tx];
    if (exists) line.running_sums(sum, first, end);
    sync_block();
  }
}

// Part p of a line: its sum into sums[line, p] (y is not written), or its running sums on top of before[line, p - 1].
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) sum_parts(const T* x, T* y, T* sums, const T* before, bool reverse, long long n,
                                                  long long part, Divisor by_inner, Divisor by_parts, long long tasks) {
  DC_SHARED(T[32], of_warps);
  const int threads = static_cast<int>(block_size().x), t = static_cast<int>(thread_index().x);
  const int warps = static_cast<int>(warps_of_block()), own = static_cast<int>(warp());
  for (long long task = block_index().x; task < tasks; task += grid_size().x) {
    long long i = task;
    const long long p = by_parts.peel(i), begin = p * part, end = begin + part < n ? begin + part : n;
    const Line<T> line(x, y, i, by_inner, n, reverse);
    T carry = before && p > 0 ? before[task - 1] : T(0);
    for (long long k0 = begin; k0 < end; k0 += threads * kTogether) {
      // A warp takes neighbouring rows of 32, adds each up and carries the sum so far from row to row.
      const long long k = k0 + own * 32 * kTogether + lane();
      T v[kTogether];
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u) v[u] = k + u * 32 < end ? line.x[(k + u * 32) * line.step] : T(0);
      T rows = T(0);
      DC_UNROLL
      for (int u = 0; u < kTogether; ++u) {
        v[u] = warp_running_sum(v[u]);
        const T row = shuffle(kFullMask, v[u], 31);
        v[u] += rows;
        rows += row;
      }
      if (lane() == 0) of_warps[own] = rows;
      sync_block();
      T whole = T(0), of_earlier = T(0);
      for (int w = 0; w < warps; ++w) {
        if (w == own) of_earlier = whole;
        whole += of_warps[w];
      }
      const T offset = carry + of_earlier;
      if (!sums) {
        DC_UNROLL
        for (int u = 0; u < kTogether; ++u)
          if (k + u * 32 < end) line.y[(k + u * 32) * line.step] = offset + v[u];
      }
      carry += whole;
      sync_block();
    }
    if (sums && t == 0) sums[task] = carry;
  }
}

constexpr int64_t kManyLines = 16384, kShortLine = 32;
constexpr int64_t kPart = 8192, kLongLine = 4 * kPart, kFewLines = 512;

}  // namespace

template <class T>
void argmax(const AxisShape& s, const T* x, int64_t* index, Context& context) {
  extreme("argmax", false, s, x, index, context);
}
template <class T>
void argmin(const AxisShape& s, const T* x, int64_t* index, Context& context) {
  extreme("argmin", true, s, x, index, context);
}

template <class T>
void cumsum(const AxisShape& s, bool reverse, const T* x, T* y, Context& context) {
  const char* op = "cumsum";
  const int64_t lines = s.outer * s.inner;
  if (s.n < kShortLine || (s.inner >= 32 && lines >= kManyLines))
    return run(op, context, sum_lines<T>, dim3(blocks_for(lines, kThreads)), dim3(kThreads), 0, x, y, reverse, s.n,
               Divisor(s.inner), lines);
  if (s.inner >= 32 && s.n < kLongLine) {
    const int64_t groups = (s.inner + 31) / 32, tasks = s.outer * groups;
    return run(op, context, sum_columns<T>, dim3(blocks_for(tasks, 1)), dim3(32, kSegments), 0, x, y, reverse, s.n,
               Divisor(s.inner), Divisor(groups), tasks);
  }
  const int64_t parts = s.n >= kLongLine && lines < kFewLines ? (s.n + kPart - 1) / kPart : 1;
  const int64_t part = parts > 1 ? kPart : s.n, tasks = lines * parts;
  const Scratch memory(op, context, static_cast<size_t>(parts > 1 ? 2 * tasks : 1) * sizeof(T));
  T *sums = memory.as<T>(), *before = sums + tasks;
  const auto threads_for = [](int64_t n) {
    const int64_t threads = (n + 32 * kTogether - 1) / (32 * kTogether) * 32;
    return static_cast<unsigned>(threads < kThreads ? threads : kThreads);
  };
  const unsigned threads = threads_for(part);
  const dim3 grid(blocks_for(tasks, 1, 1, 2112 * (kThreads / threads)));
  if (parts > 1) {
    run(op, context, sum_parts<T>, grid, dim3(threads), 0, x, nullptr, sums, nullptr, reverse, s.n, part,
        Divisor(s.inner), Divisor(parts), tasks);
    run(op, context, sum_parts<T>, dim3(blocks_for(lines, 1)), dim3(threads_for(parts)), 0, sums, before, nullptr,
        nullptr, false, parts, parts, Divisor(1), Divisor(1), lines);
  }
  run(op, context, sum_parts<T>, grid, dim3(threads), 0, x, y, nullptr, parts > 1 ? before : nullptr, reverse, s.n,
      part, Divisor(s.inner), Divisor(parts), tasks);
}

template void argmax<float>(const AxisShape&, const float*, int64_t*, Context&);
template void argmax<double>(const AxisShape&, const double*, int64_t*, Context&);
template void argmin<float>(const AxisShape&, const float*, int64_t*, Context&);
template void argmin<double>(const AxisShape&, const double*, int64_t*, Context&);
template void cumsum<float>(const AxisShape&, bool, const float*, float*, Context&);
template void cumsum<double>(const AxisShape&, bool, const double*, double*, Context&);

}  // namespace dc::cuda
