// Strided copy, cast, fill.
// Split: threads step over the elements by the grid. Where x runs along another axis than y, 32 x 32 tiles go through
// shared memory, so that both sides use whole sectors. Plain copies and fills move 16 bytes an access.
// Bound: memory, two itemsizes an element (fill: one).
#include <cstring>

#include "families/families.h"
#include "families/lane.cuh"
#include "families/walk.cuh"
#include "kernels/by_type.h"
#include "kernels/convert.h"
#include "kernels/movement.h"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256, kTile = 32, kTileRows = 8;

DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) copy_flat(const uint4* DC_RESTRICT x, uint4* DC_RESTRICT y, long long n) {
  for (long long i = first_index(kThreads); i < n; i += grid_step(kThreads)) store(y + i, load<uint4>(x + i));
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) copy_strided(Nd nd, const T* x, T* y) {
  for (long long i = first_index(kThreads); i < nd.size; i += grid_step(kThreads)) {
    const Offsets o = offsets_of<2>(nd, i);
    y[o.of[1]] = x[o.of[0]];
  }
}

// The last two axes (rows, columns): x has stride 1 along rows, y along columns. Blocks step over tiles of all planes.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) copy_transposed(Nd nd, const T* x, T* y, long long tiles) {
  DC_SHARED(T[kTile][kTile + 1], tile);
  const int r = nd.ndim - 2, c = nd.ndim - 1;
  const long long rows = nd.shape[r], columns = nd.shape[c];
  const long long row_tiles = (rows + kTile - 1) / kTile, column_tiles = (columns + kTile - 1) / kTile;
  const int tx = static_cast<int>(thread_index().x), ty = static_cast<int>(thread_index().y);
  for (long long t = block_index().x; t < tiles; t += grid_size().x) {
    const long long plane = t / (row_tiles * column_tiles);
    const long long row0 = t / column_tiles % row_tiles * kTile, column0 = t % column_tiles * kTile;
    const Offsets o = offsets_of<2>(nd, plane * rows * columns);
    for (int k = ty; k < kTile; k += kTileRows) {
      const long long i = row0 + tx, j = column0 + k;
      if (i < rows && j < columns) tile[k][tx] = x[o.of[0] + i + j * nd.stride[0][c]];
    }
    sync_block();
    for (int k = ty; k < kTile; k += kTileRows) {
      const long long i = row0 + k, j = column0 + tx;
      if (i < rows && j < columns) y[o.of[1] + i * nd.stride[1][r] + j] = tile[tx][k];
    }
    sync_block();
  }
}

template <class From, class To, bool kToBool>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) cast_kernel(Nd nd, const From* x, To* y) {
  for (long long i = first_index(kThreads); i < nd.size; i += grid_step(kThreads)) {
    const From v = x[offsets_of<1>(nd, i).of[0]];
    if constexpr (kToBool)
      y[i] = v != From(0);
    else
      y[i] = convert<From, To>(v);
  }
}

// The head of `head` elements brings y to a multiple of 16 bytes; `pattern` is the value repeated.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) fill_kernel(T value, uint4 pattern, T* y, long long n, long long head) {
  constexpr int kWidth = 16 / sizeof(T);
  const long long groups = (n - head) / kWidth, tail = head + groups * kWidth;
  for (long long g = first_index(kThreads); g < groups; g += grid_step(kThreads)) store(y + head + g * kWidth, pattern);
  const long long i = first_index(kThreads);
  if (i < head) y[i] = value;
  if (i < n - tail) y[tail + i] = value;
}

template <class T>
void copy_typed(const Nd& nd, const void* xv, void* yv, Context& context) {
  const T* x = static_cast<const T*>(xv);
  T* y = static_cast<T*>(yv);
  const int last = nd.ndim - 1;
  const int64_t bytes = nd.size * static_cast<int64_t>(sizeof(T));
  if (nd.ndim == 1 && nd.stride[0][0] == 1 && nd.stride[1][0] == 1 && aligned(x) && aligned(y) && bytes % 16 == 0)
    return run("copy", context, copy_flat, dim3(blocks_for(bytes / 16, kThreads)), dim3(kThreads), 0,
               reinterpret_cast<const uint4*>(x), reinterpret_cast<uint4*>(y), bytes / 16);
  if (nd.ndim >= 2 && nd.stride[0][last - 1] == 1 && nd.stride[1][last] == 1 && nd.stride[0][last] != 1 &&
      nd.shape[last] > 1 && nd.shape[last - 1] > 1) {
    const int64_t plane = nd.shape[last] * nd.shape[last - 1];
    const int64_t tiles =
        nd.size / plane * ((nd.shape[last] + kTile - 1) / kTile) * ((nd.shape[last - 1] + kTile - 1) / kTile);
    return run("copy", context, copy_transposed<T>, dim3(blocks_for(tiles, 1)), dim3(kTile, kTileRows), 0, nd, x, y,
               tiles);
  }
  run("copy", context, copy_strided<T>, dim3(blocks_for(nd.size, kThreads)), dim3(kThreads), 0, nd, x, y);
}

void copy(int itemsize, const Nd& nd, const void* x, void* y, Context& context) {
  by_itemsize(itemsize, [&]<class T>(T) { copy_typed<T>(nd, x, y, context); });
}

template <class From, class To, bool kToBool>
void cast_typed(const Nd& nd, const void* x, void* y, Context& context) {
  run("cast", context, cast_kernel<From, To, kToBool>, dim3(blocks_for(nd.size, kThreads)), dim3(kThreads), 0, nd,
      static_cast<const From*>(x), static_cast<To*>(y));
}

void cast(ElementTag from, ElementTag to, const Nd& nd, const void* x, void* y, Context& context) {
  by_element(from, [&]<class From>(From) {
    if (to == ElementTag::boolean) return cast_typed<From, uint8_t, true>(nd, x, y, context);
    by_element(to, [&]<class To>(To) { cast_typed<From, To, false>(nd, x, y, context); });
  });
}

template <class T>
void fill_typed(int64_t n, const void* value, void* yv, Context& context) {
  T v, repeated[16 / sizeof(T)];
  std::memcpy(&v, value, sizeof(T));
  for (T& element : repeated) element = v;
  uint4 pattern;
  std::memcpy(&pattern, repeated, sizeof pattern);
  T* y = static_cast<T*>(yv);
  const int64_t to_boundary = static_cast<int64_t>((16 - reinterpret_cast<uintptr_t>(y) % 16) % 16 / sizeof(T));
  run("fill", context, fill_kernel<T>, dim3(blocks_for(n, kThreads, 16 / sizeof(T))), dim3(kThreads), 0, v, pattern, y,
      n, to_boundary < n ? to_boundary : n);
}

void fill(int itemsize, int64_t n, const void* value, void* y, Context& context) {
  by_itemsize(itemsize, [&]<class T>(T) { fill_typed<T>(n, value, y, context); });
}

}  // namespace

const MovementKernels movement = {copy, cast, fill};

}  // namespace dc::cuda
