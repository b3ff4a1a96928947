// What all tiled products C[i, j] = sum_p A[i, p] B[p, j] share: operands, tile order, splits over p, the epilogue.
#pragma once
#include "device/primitives.cuh"
#include "families/lane.cuh"
#include "kernels/matmul.h"
#include "runtime/run.h"

namespace dc::cuda {

// Quotient and rest; 32-bit division where it suffices, as that of 64 bits costs several times as much.
DC_DEVICE void divide(long long a, long long b, long long* quotient, long long* rest) {
  if (((a | b) >> 31) == 0) {
    const unsigned q = static_cast<unsigned>(a) / static_cast<unsigned>(b);
    *quotient = q;
    *rest = static_cast<long long>(static_cast<unsigned>(a) - q * static_cast<unsigned>(b));
  } else {
    *quotient = a / b;
    *rest = a - *quotient * b;
  }
}

DC_DEVICE void load4(const float* p, float (&v)[4]) {
  const float4 f = load<float4>(p);
  v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
}
DC_DEVICE void load4(const double* p, double (&v)[4]) {
  const double2 f = load<double2>(p), g = load<double2>(p + 2);
  v[0] = f.x, v[1] = f.y, v[2] = g.x, v[3] = g.y;
}
DC_DEVICE void store4(float* p, const float (&v)[4]) { store(p, float4{v[0], v[1], v[2], v[3]}); }
DC_DEVICE void store4(double* p, const double (&v)[4]) {
  store(p, double2{v[0], v[1]});
  store(p + 2, double2{v[2], v[3]});
}

template <class T>
DC_DEVICE T activate(T x, Activation activation) {
  if (activation == Activation::relu) return x < 0 ? T(0) : x;
  if (activation == Activation::sigmoid) return sigmoid(Lane<T>{x}).value;
  if (activation == Activation::tanh) return tanh(Lane<T>{x}).value;
  return x;
}

// A strided matrix: `outer` is its index in C, p the one summed over.
template <class T>
struct MatrixOperand {
  const T* data;
  long long outer, outer_step, p_step, batch_step;

  DC_DEVICE void select(long long batch) { data += batch * batch_step; }
  DC_DEVICE bool along_p() const { return p_step == 1; }
};

// Where C lies, and what happens to a sum on its way there.
// Rows are `row_step` apart, or, where `columns` is not 0, pixels (image, y, x) of a grid of rows x columns.
template <class T>
struct Output {
  T* c;
  long long row_step, column_step, batch_step;
  const T* bias;  // by column, or null
  long long bias_step;
  Activation activation;
  int accumulate;                               // flags as numbers: the compiler would pack and spill bytes
  long long rows, columns, image_step, y_step;  // row_step: that of x
  int quads;                                    // groups of four columns exist and are aligned

  DC_DEVICE void select(long long batch) {
    c += batch * batch_step;
    if (bias) bias += batch * bias_step;
  }
  DC_DEVICE T* row(long long i) const {
    if (columns == 0) return c + i * row_step;
    long long line, x, image, y;
    divide(i, columns, &line, &x);
    divide(line, rows, &image, &y);
    return c + image * image_step + y * y_step + x * row_step;
  }
  // All but a sigmoid or tanh, which would be inlined once for each sum of a thread: activate_tile comes after.
  DC_DEVICE void put(T* row, long long j, T sum) const {
    T* at = row + j * column_step;
    if (accumulate) sum += *at;
    if (bias) sum += bias[j];
    if (activation == Activation::relu) sum = sum < 0 ? T(0) : sum;
    *at = sum;
  }
  // Four columns at once, where `quads` says so.
  DC_DEVICE void put4(T* row, long long j, const T* sums) const {
    T v[4], before[4] = {};
    if (accumulate) load4(row + j, before);
    DC_UNROLL
    for (int u = 0; u < 4; ++u) {
      v[u] = sums[u] + before[u];
      if (bias) v[u] += bias[j + u];
      if (activation == Activation::relu) v[u] = v[u] < 0 ? T(0) : v[u];
    }
    store4(row + j, v);
  }
  // One element, all of it.
  DC_DEVICE void finish(long long i, long long j, T sum) const {
    T* at = row(i) + j * column_step;
    if (accumulate) sum += *at;
    if (bias) sum += bias[j];
    *at = activate(sum, activation);
  }
  DC_DEVICE bool unfinished() const { return activation == Activation::sigmoid || activation == Activation::tanh; }
};

// Applies what `put` left out to a tile that this block has written.
template <class T>
DC_DEVICE void activate_tile(const Output<T>& out, long long m0, long long n0, int rows, int columns,
                             int threads DC_PLACE_PARAMETER) {
  sync_block(DC_PLACE_ONLY);
  for (int e = static_cast<int>(thread_index().x); e < rows * columns; e += threads) {
    T* at = out.row(m0 + e / columns) + (n0 + e % columns) * out.column_step;
    *at = activate(*at, out.activation);
  }
}

// The sizes of a product and its split over k: part s sums [s depth, (s + 1) depth) into partial[batch][s][m][n].
template <class T>
struct Product {
  long long m, n, k, batches;
  long long depth;
  int splits;
  T* partial;
  long long first;  // of (batch, part) in this launch
};

// The terms of a part.
struct PartRange {
  long long begin, end;
};
template <class T>
DC_DEVICE PartRange part_range(const Product<T>& product, int split) {
  const long long begin = split * product.depth;
  return {begin, begin + product.depth < product.k ? begin + product.depth : product.k};
}

struct TilePlace {
  long long m0, n0, batch;
  int split;
};

// Blocks that run at the same time lie in bands of 8 tile rows, so that their operands stay in the second cache.
template <class T>
DC_DEVICE TilePlace tile_place(const Product<T>& product, int tile_m, int tile_n) {
  constexpr long long kBand = 8;
  const long long rows = (product.m + tile_m - 1) / tile_m, columns = (product.n + tile_n - 1) / tile_n;
  long long band, within, i, j;
  divide(block_index().x, kBand * columns, &band, &within);
  const long long band_rows = rows - band * kBand < kBand ? rows - band * kBand : kBand;
  divide(within, band_rows, &j, &i);
  long long batch, split;
  divide(product.first + block_index().z, product.splits, &batch, &split);
  return {(band * kBand + i) * tile_m, j * tile_n, batch, static_cast<int>(split)};
}

// What becomes of a block's sums besides: nothing. A kernel with another type hands it whole tiles (rbm_units.cuh).
struct NoFinish {
  static constexpr bool kPresent = false;
  static constexpr bool kApart = false;      // products are rounded before they are added
  static constexpr bool kShortLeft = false;  // numbers of A have 8 bits: their first plane is all
};

// Where a part of a sum goes.
template <class T>
DC_DEVICE Output<T> part_output(const Product<T>& product, const TilePlace& place) {
  T* part = product.partial + (place.batch * product.splits + place.split) * product.m * product.n;
  Output<T> out{};
  out.c = part, out.row_step = product.n, out.column_step = 1, out.quads = product.n % 4 == 0;
  return out;
}

constexpr int kSumThreads = 128;

// C from the parts, added in their order; `lanes` of 32: each lane adds every 32nd part, and the lanes are added.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kSumThreads, 4) sum_parts(Product<T> product, Output<T> out, int lanes) {
  const long long size = product.m * product.n, all = size * product.batches;
  const long long thread = static_cast<long long>(block_index().x) * kSumThreads + thread_index().x;
  const long long step = static_cast<long long>(grid_size().x) * kSumThreads / lanes;
  const int lane_of_sum = static_cast<int>(thread % lanes);
  for (long long e = thread / lanes; e < all; e += step) {
    long long batch, within, i, j;
    divide(e, size, &batch, &within);
    divide(within, product.n, &i, &j);
    const T* part = product.partial + batch * product.splits * size + within;
    T sum = part[lane_of_sum * size];
    for (int s = lane_of_sum + lanes; s < product.splits; s += lanes) sum += part[s * size];
    for (int distance = lanes / 2; distance > 0; distance /= 2) sum += shuffle_xor(kFullMask, sum, distance);
    Output<T> o = out;
    o.select(batch);
    if (lane_of_sum == 0) o.finish(i, j, sum);
  }
}

template <class T>
void run_sum(const char* op, Context& context, const Product<T>& product, const Output<T>& out) {
  const long long size = product.m * product.n * product.batches;
  const int lanes = product.splits >= 32 && size <= 1 << 14 ? 32 : 1;
  run(op, context, sum_parts<T>, dim3(blocks_for(size * lanes, kSumThreads)), dim3(kSumThreads), 0, product, out,
      lanes);
}

inline long long ceil_div(long long a, long long b) { return (a + b - 1) / b; }

// Parts that fill the device where the tiles alone do not. Depends on the sizes alone, so that results do too.
inline int parts_of(long long tiles, long long k, long long least_depth) {
  constexpr long long kBlocks = 264, kMost = 64;  // two per multiprocessor of the largest cards
  const long long wanted = tiles > 0 ? kBlocks / tiles : 1, possible = k / least_depth;
  const long long parts = wanted < possible ? wanted : possible;
  return static_cast<int>(parts < 1 ? 1 : parts > kMost ? kMost : parts);
}

inline bool multiple_of_4(long long x) { return x % 4 == 0; }

template <class T>
bool quads_of(const Output<T>& o, long long n) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(o.c);
  return o.column_step == 1 && address % (4 * sizeof(T)) == 0 && multiple_of_4(n) && multiple_of_4(o.row_step) &&
         multiple_of_4(o.batch_step) && multiple_of_4(o.image_step) && multiple_of_4(o.y_step);
}

// The parts of a sum over k for `tiles` in each batch: their depth is a multiple of `step` and at least `least_depth`.
template <class T>
Product<T> in_parts(long long tiles, long long least_depth, int step, long long m, long long n, long long k,
                    long long batches) {
  Product<T> product{m, n, k, batches, k, 1, nullptr, 0};
  product.splits = parts_of(tiles * batches, k, least_depth);
  product.depth = ceil_div(ceil_div(k, product.splits), step) * step;
  if (k > 0) product.splits = static_cast<int>(ceil_div(k, product.depth));
  return product;
}

// Calls launch_one(grid, product) with a block for each of `tiles` in each batch and part.
template <class T, class Launch>
void launch_parts(long long tiles, Product<T> product, const Launch& launch_one) {
  constexpr long long kMostZ = 65535;
  const long long all = product.batches * product.splits;
  for (long long z = 0; z < all; z += kMostZ) {
    product.first = z;
    const long long now = all - z < kMostZ ? all - z : kMostZ;
    launch_one(dim3(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(now)), product);
  }
}

// The same, and adds up the parts.
template <class T, class Launch>
void run_parts(const char* op, Context& context, long long tiles, long long least_depth, int step, const Output<T>& out,
               long long m, long long n, long long k, long long batches, const Launch& launch_one) {
  Product<T> product = in_parts<T>(tiles, least_depth, step, m, n, k, batches);
  if (product.splits == 1) return launch_parts(tiles, product, launch_one);
  const Scratch parts(op, context, static_cast<size_t>(batches * product.splits * m * n) * sizeof(T));
  product.partial = parts.template as<T>();
  launch_parts(tiles, product, launch_one);
  run_sum(op, context, product, out);
}

// Launches `kernel`, which computes tiles of tile_m x tile_n by steps of tile_k, over all of C.
template <class T, class A, class B>
void run_tiles(const char* op, Context& context, void (*kernel)(A, B, Output<T>, Product<T>, NoFinish), int threads,
               size_t shared_bytes, int tile_m, int tile_n, int tile_k, long long least_depth, const A& a, const B& b,
               Output<T> out, long long m, long long n, long long k, long long batches) {
  out.quads = quads_of(out, n);
  run_parts<T>(op, context, ceil_div(m, tile_m) * ceil_div(n, tile_n), least_depth, tile_k, out, m, n, k, batches,
               [&](dim3 grid, const Product<T>& product) {
                 run(op, context, kernel, grid, dim3(static_cast<unsigned>(threads)), shared_bytes, a, b, out, product,
                     NoFinish());
               });
}

}  // namespace dc::cuda
