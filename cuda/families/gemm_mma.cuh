// Tiled products of float32 on tensor cores (mma.sync), for operands that gemm_feed.cuh or conv_windows.cuh bring into
// shared memory as float32. A ring of kStages stages, one barrier a stage. Each warp owns kFragmentsM x kFragmentsN
// results of 16 x 8 and turns its operands into planes in registers, so that nothing is stored in a second format:
//   accurate   x = h + m + l in bfloat16, exactly; of the nine products the six above 2^-24, small ones first
//   high       x ~ h + m; three products
//   tf32       x rounded to nearest
// Tensor cores truncate what they add up. Sums of bfloat16 products therefore start from zero every 16 terms and are
// added in float32, rounded to nearest: a tenth more instructions, in the shadow of the tensor cores.
// Terms t, t + 4, t + 8, t + 12 of a step take the places 2t, 2t + 1, 2t + 8, 2t + 9 of the instruction's 16, in both
// operands alike: so four numbers of float32 come by one ldmatrix. Results that are not finite are computed again in
// float32 (repair_results). Bound: tensor cores.
#pragma once
#include <algorithm>
#include <type_traits>

#include "families/gemm_feed.cuh"
#include "families/precision.h"

namespace dc::cuda {

constexpr long long kLeastDepth = 128;  // of a part of a sum

template <int kM_, int kN_, int kWarpsM_, int kWarpsN_, int kMinBlocks_>
struct MmaTile {
  static constexpr int kM = kM_, kN = kN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kMinBlocks = kMinBlocks_;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN;
  static constexpr int kFragmentsM = kWarpM / 16, kFragmentsN = kWarpN / 8;
  static constexpr int kTogether =
      kFragmentsM < 4 ? 4 / kFragmentsM : 1;  // fragments of columns at a time: four chains hide the latency
};
using NarrowMma = MmaTile<64, 64, 2, 2, 3>;
using WideMma = MmaTile<128, 128, 2, 2, 2>;
using TallMma = MmaTile<128, 64, 2, 2, 2>;
// Two planes in the widest tile do not fit into the registers as the compiler orders them.
template <Precision kPrecision>
constexpr bool kWideFits = kPrecision != Precision::high;
// Three planes in the widest tile take every register.
template <Precision kPrecision, class Tile>
constexpr bool kFull = kPrecision == Precision::accurate && Tile::kM * Tile::kN == 128 * 128;

// Code for 12.0 takes a few registers more than there are: such a tile is done in two halves.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
constexpr bool kHalveFull = true;
#else
constexpr bool kHalveFull = false;
#endif

constexpr int planes_of(Precision p) { return p == Precision::accurate ? 3 : p == Precision::high ? 2 : 1; }

// Two numbers as bfloat16 pairs. Truncating the first plane keeps the largest numbers finite and costs nothing: the
// rest of 16 bits is rounded to 8, and what is left has 8.
template <int kPlanes>
DC_DEVICE void split_pair(float x, float y, uint32_t (&planes)[kPlanes]) {
  constexpr uint32_t kUpper = 0xFFFF0000u;
  float a, b;
  if constexpr (kPlanes == 3) {
    planes[0] = float_bits(x) >> 16 | (float_bits(y) & kUpper);
    a = x - bits_float(float_bits(x) & kUpper), b = y - bits_float(float_bits(y) & kUpper);
  } else {
    planes[0] = round_bf16x2(x, y);
    a = x - bits_float(planes[0] << 16), b = y - bits_float(planes[0] & kUpper);
  }
  planes[1] = round_bf16x2(a, b);
  if constexpr (kPlanes == 3) {
    a -= bits_float(planes[1] << 16), b -= bits_float(planes[1] & kUpper);
    planes[2] = float_bits(a) >> 16 | (float_bits(b) & kUpper);
  }
}

// Fragments of 16 terms: [plane][register]. Those of tf32 are two of 8 terms: [half][register].
template <Precision kPrecision>
struct Fragments {
  static constexpr bool kTf32 = kPrecision == Precision::tf32;
  static constexpr int kPlanes = kTf32 ? 2 : planes_of(kPrecision);
  struct A {
    uint32_t r[kPlanes][4];
  };
  struct B {
    uint32_t r[kPlanes][2];
  };
  // to_tf32 rounds in place, and its result would be copied at every use.
  static DC_DEVICE uint32_t rounded(float x) {
    const uint32_t half = ::fabsf(x) < INFINITY ? 0x1000u : 0u;
    return float_bits(x) + half;
  }
  // x: row g, y: row g + 8.
  static DC_DEVICE void make(const float (&x)[4], const float (&y)[4], A& a) {
    if constexpr (kTf32) {
      DC_UNROLL
      for (int h = 0; h < 2; ++h) {
        a.r[h][0] = rounded(x[2 * h]), a.r[h][1] = rounded(y[2 * h]);
        a.r[h][2] = rounded(x[2 * h + 1]), a.r[h][3] = rounded(y[2 * h + 1]);
      }
    } else {
      DC_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float (&v)[4] = i % 2 == 0 ? x : y;
        uint32_t planes[kPlanes];
        split_pair(v[i / 2 * 2], v[i / 2 * 2 + 1], planes);
        DC_UNROLL
        for (int p = 0; p < kPlanes; ++p) a.r[p][i] = planes[p];
      }
    }
  }
  static DC_DEVICE void make(const float (&z)[4], B& b) {
    if constexpr (kTf32) {
      DC_UNROLL
      for (int h = 0; h < 2; ++h) b.r[h][0] = rounded(z[2 * h]), b.r[h][1] = rounded(z[2 * h + 1]);
    } else {
      DC_UNROLL
      for (int i = 0; i < 2; ++i) {
        uint32_t planes[kPlanes];
        split_pair(z[2 * i], z[2 * i + 1], planes);
        DC_UNROLL
        for (int p = 0; p < kPlanes; ++p) b.r[p][i] = planes[p];
      }
    }
  }
};

// The sums of kColumns x kRows fragments += A B over 16 terms. kShortLeft: A is its first plane.
template <Precision kPrecision, bool kShortLeft, int kRows, int kColumns>
DC_DEVICE void multiply(const typename Fragments<kPrecision>::A (&a)[kRows],
                        const typename Fragments<kPrecision>::B (&b)[kColumns], float (*sums)[kRows][4]) {
  if constexpr (kPrecision == Precision::tf32) {
    DC_UNROLL
    for (int half = 0; half < 2; ++half) DC_UNROLL
    for (int j = 0; j < kColumns; ++j) DC_UNROLL
    for (int i = 0; i < kRows; ++i) mma_tf32(sums[j][i], a[i].r[half], b[j].r[half]);
  } else {
    constexpr int kPlanes = planes_of(kPrecision);
    float chunk[kColumns][kRows][4] = {};
    DC_UNROLL
    for (int order = kPlanes - 1; order >= 0; --order)  // planes whose products are about 2^(-8 order)
      DC_UNROLL
    for (int plane = 0; plane <= (kShortLeft ? 0 : order); ++plane) DC_UNROLL
    for (int j = 0; j < kColumns; ++j) DC_UNROLL
    for (int i = 0; i < kRows; ++i) mma_bf16(chunk[j][i], a[i].r[plane], b[j].r[order - plane]);
    DC_UNROLL
    for (int j = 0; j < kColumns; ++j) DC_UNROLL
    for (int i = 0; i < kRows; ++i) DC_UNROLL
    for (int h = 0; h < 4; ++h) sums[j][i][h] += chunk[j][i][h];
  }
}

template <class Tile, class FeedA, class FeedB>
struct MmaShared {
  struct Ring {
    float a[kStages][FeedA::Layout::kSize];
    float b[kStages][FeedB::Layout::kSize];
  };
  union {
    Ring ring;
    float results[Tile::kM][Tile::kN];  // groups of 8 columns of row i at group ^ (i % 4): no bank conflicts
  };
  typename FeedA::Notes notes_a;
  typename FeedB::Notes notes_b;
  TilePlace place;  // for the end: the main loop needs the registers
};

// Results from shared memory to C, four neighbours at a time where they are aligned, else one by one along the
// direction in which C is contiguous: few instructions, and whole sectors.
template <class Tile>
DC_DEVICE void write_results(const float (&results)[Tile::kM][Tile::kN], const Output<float>& out, long long m,
                             long long n, long long m0, long long n0) {
  const int tid = static_cast<int>(thread_index().x);
  const int rows = left_of(m, m0, Tile::kM), columns = left_of(n, n0, Tile::kN);
  if (out.quads) {
    constexpr int kAcross = Tile::kN / 4, kRows = Tile::kThreads / kAcross;
    const int c = tid % kAcross * 4;
    for (int row = tid / kAcross; row < rows && c < columns; row += kRows) {
      float v[4];
      load4(&results[row][c ^ (row & 3) << 3], v);
      float* at = out.row(m0 + row) + n0 + c;
      if (out.accumulate) {
        float before[4];
        load4(at, before);
        DC_UNROLL
        for (int u = 0; u < 4; ++u) v[u] += before[u];
      }
      if (out.bias) {
        DC_UNROLL
        for (int u = 0; u < 4; ++u) v[u] += out.bias[n0 + c + u];
      }
      DC_UNROLL
      for (int u = 0; u < 4; ++u) v[u] = activate(v[u], out.activation);
      store4(at, v);
    }
  } else {
    const bool down = out.columns == 0 && out.row_step == 1;
    const int length = down ? rows : columns;
    for (int e = tid; e < rows * columns; e += Tile::kThreads) {
      const int major = e / length, minor = e - major * length;
      const int row = down ? minor : major, c = down ? major : minor;
      float* at = out.row(m0 + row) + (n0 + c) * out.column_step;
      float v = results[row][c ^ (row & 3) << 3];
      if (out.accumulate) v += *at;
      if (out.bias) v += out.bias[n0 + c];
      *at = activate(v, out.activation);
    }
  }
}

// Computes results that are infinite or NaN again in float32: the planes of a number that is infinite, or rounds to
// infinity, meet with both signs. A sum ends at NaN, so that operands full of them cost little.
template <class Tile, class A, class B>
DC_DEVICE void repair_results(float (&results)[Tile::kM][Tile::kN], const A& a, const B& b,
                              const Product<float>& product, const TilePlace& place) {
  const int rows = left_of(product.m, place.m0, Tile::kM), columns = left_of(product.n, place.n0, Tile::kN);
  const PartRange range = part_range(product, place.split);
  for (int e = static_cast<int>(thread_index().x); e < rows * columns; e += Tile::kThreads) {
    const int row = e / columns, c = e - row * columns;
    float* const at = &results[row][c ^ (row & 3) << 3];
    if (::fabsf(*at) < INFINITY) continue;
    const auto line_a = a.row(place.m0 + row);
    const auto line_b = b.row(place.n0 + c);
    float sum = 0;
    DC_NO_UNROLL
    for (long long p = range.begin; p < range.end && sum == sum; ++p) sum += a.get(line_a, p) * b.get(line_b, p);
    *at = sum;
  }
}

// The tile of results that begins at `start`.
template <Precision kPrecision, class Tile, class A, class B, class Finish>
DC_DEVICE void mma_tile(unsigned char* memory, A& a, B& b, Output<float>& out, const Product<float>& product,
                        const Finish& finish, const TilePlace& start) {
  using FeedA = Feed<A, Tile::kM, Tile::kThreads>;
  using FeedB = Feed<B, Tile::kN, Tile::kThreads>;
  using Shared = MmaShared<Tile, FeedA, FeedB>;
  using Fragment = Fragments<kPrecision>;
  using LayoutB = typename FeedB::Layout;
  using ReaderB = std::conditional_t<kFull<kPrecision, Tile>, typename LayoutB::Singly, LayoutB>;
  constexpr int kRows = Tile::kFragmentsM, kTogether = Tile::kTogether, kAhead = kStages - 1;
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  if (thread_index().x == 0) shared.place = start;
  A chosen_a = a;  // copies: the end selects again, so that the loop keeps no pointers for it
  B chosen_b = b;
  chosen_a.select(start.batch);
  chosen_b.select(start.batch);
  const auto [p_begin, p_end] = part_range(product, start.split);
  const int steps = static_cast<int>((p_end - p_begin + kStep - 1) / kStep);
  FeedA feed_a;
  FeedB feed_b;
  feed_a.start(chosen_a, shared.notes_a, start.m0, p_begin, p_end);
  feed_b.start(chosen_b, shared.notes_b, start.n0, p_begin, p_end);
  sync_block();

  const typename FeedA::Layout reader_a(static_cast<int>(warp()) / Tile::kWarpsN * Tile::kWarpM);
  const ReaderB reader_b(static_cast<int>(warp()) % Tile::kWarpsN * Tile::kWarpN);
  float sums[Tile::kFragmentsN][kRows][4] = {};
  for (int step = -kAhead; step < steps; ++step) {
    if (step >= 0) {
      cp_async_wait<kAhead - 1>();
      sync_block();
      const float* tile_a = shared.ring.a[step % kStages];
      const float* tile_b = shared.ring.b[step % kStages];
      typename Fragment::A fa[kRows];
      DC_UNROLL
      for (int i = 0; i < kRows; ++i) {
        float x[4], y[4];
        reader_a.read(tile_a, 2 * i, x);
        reader_a.read(tile_a, 2 * i + 1, y);
        Fragment::make(x, y, fa[i]);
      }
      DC_UNROLL
      for (int j = 0; j < Tile::kFragmentsN; j += kTogether) {
        typename Fragment::B fb[kTogether];
        DC_UNROLL
        for (int u = 0; u < kTogether; ++u) {
          float z[4];
          reader_b.read(tile_b, j + u, z);
          Fragment::make(z, fb[u]);
        }
        multiply<kPrecision, Finish::kShortLeft>(fa, fb, sums + j);
      }
      feed_a.prepare(chosen_a, shared.notes_a, step + kStages);
      feed_b.prepare(chosen_b, shared.notes_b, step + kStages);
    }
    const int next = step + kAhead, stage = next % kStages;
    if (next < steps) {  // over the stage of the step before: all warps have passed its end
      feed_a.issue(chosen_a, shared.notes_a, next, next + 1 == steps, shared.ring.a[stage]);
      feed_b.issue(chosen_b, shared.notes_b, next, next + 1 == steps, shared.ring.b[stage]);
    }
    cp_async_commit();
  }
  cp_async_wait<0>();
  sync_block();

  const int g = static_cast<int>(lane()) / 4, t = static_cast<int>(lane()) % 4;
  const int row0 = static_cast<int>(warp()) / Tile::kWarpsN * Tile::kWarpM + g;
  const int column0 = static_cast<int>(warp()) % Tile::kWarpsN * Tile::kWarpN + 2 * t;
  float probe[2] = {};  // stays 0 where all results are finite
  DC_UNROLL
  for (int i = 0; i < kRows; ++i) DC_UNROLL
  for (int half = 0; half < 2; ++half) DC_UNROLL
  for (int j = 0; j < Tile::kFragmentsN; ++j) {
    const int row = row0 + i * 16 + half * 8, column = column0 + 8 * j;
    const float2 pair = {sums[j][i][2 * half], sums[j][i][2 * half + 1]};
    probe[0] += 0 * pair.x, probe[1] += 0 * pair.y;
    store(&shared.results[row][column ^ (row & 3) << 3], pair);
  }
  const bool repair = sync_block_or(probe[0] + probe[1] != 0);
  const TilePlace place = shared.place;
  if (repair) {
    a.select(place.batch);
    b.select(place.batch);
    repair_results<Tile>(shared.results, a, b, product, place);
    sync_block();
  }
  if constexpr (Finish::kPresent) {
    if (product.splits == 1) {
      const int rows = left_of(product.m, place.m0, Tile::kM), columns = left_of(product.n, place.n0, Tile::kN);
      finish.template results<Tile::kThreads>(shared.results, place.m0, place.n0, rows, columns);
    } else {
      write_results<Tile>(shared.results, part_output(product, place), product.m, product.n, place.m0, place.n0);
    }
  } else {
    (void)finish;
    if (product.splits > 1)
      out = part_output(product, place);
    else
      out.select(place.batch);
    write_results<Tile>(shared.results, out, product.m, product.n, place.m0, place.n0);
  }
}

template <Precision kPrecision, class Tile, class A, class B, class Finish>
DC_KERNEL void DC_LAUNCH_BOUNDS(Tile::kThreads, Tile::kMinBlocks)
    mma_product(A a, B b, Output<float> out, Product<float> product, Finish finish) {
  DC_DYNAMIC_SHARED(memory);
  TilePlace start = tile_place(product, Tile::kM, Tile::kN);
  if constexpr (kFull<kPrecision, Tile> && kHalveFull) {
    static_assert(TallMma::kM == Tile::kM && 2 * TallMma::kN == Tile::kN && TallMma::kThreads == Tile::kThreads);
    DC_NO_UNROLL
    for (int half = 0; half < 2; ++half) {
      A half_a = a;
      B half_b = b;
      Output<float> half_out = out;
      if (half) sync_block();
      mma_tile<kPrecision, TallMma>(memory, half_a, half_b, half_out, product, finish, start);
      start.n0 += TallMma::kN;
    }
  } else {
    mma_tile<kPrecision, Tile>(memory, a, b, out, product, finish, start);
  }
}

// An estimate of the time with one tile, in multiply-adds of a multiprocessor.
template <class Tile>
double mma_time(double efficiency, long long m, long long n, long long k, long long batches, long long least_depth) {
  const long long tiles = ceil_div(m, Tile::kM) * ceil_div(n, Tile::kN) * batches;
  const int parts = parts_of(tiles, k, least_depth);
  const double depth = static_cast<double>(ceil_div(k, parts)) + 64;  // and what a block costs besides
  return static_cast<double>(ceil_div(tiles * parts, 132)) * Tile::kM * Tile::kN * depth / efficiency;
}

// with(tile) of the tile that is done first; smaller ones split operands more often for each product.
template <Precision kPrecision, class With>
void with_mma_tile(long long m, long long n, long long k, long long batches, long long least_depth, const With& with) {
  const double narrow = mma_time<NarrowMma>(0.7, m, n, k, batches, least_depth);
  const double tall = mma_time<TallMma>(0.85, m, n, k, batches, least_depth);
  if constexpr (kWideFits<kPrecision>)
    if (mma_time<WideMma>(1.0, m, n, k, batches, least_depth) <= std::min(narrow, tall)) return with(WideMma{});
  if (tall <= narrow) return with(TallMma{});
  with(NarrowMma{});
}

template <class Tile, class A, class B>
constexpr size_t kMmaBytes =
    sizeof(MmaShared<Tile, Feed<A, Tile::kM, Tile::kThreads>, Feed<B, Tile::kN, Tile::kThreads>>);

template <Precision kPrecision, class A, class B>
void mma_at(const char* op, Context& context, const A& a, const B& b, const Output<float>& out, long long m,
            long long n, long long k, long long batches, long long least_depth) {
  with_mma_tile<kPrecision>(m, n, k, batches, least_depth, [&]<class Tile>(Tile) {
    run_tiles<float>(op, context, mma_product<kPrecision, Tile, A, B, NoFinish>, Tile::kThreads, kMmaBytes<Tile, A, B>,
                     Tile::kM, Tile::kN, kStep, least_depth, a, b, out, m, n, k, batches);
  });
}

// Whether the tensor cores are worth their larger tiles, and allowed.
inline bool mma_pays(Precision precision, long long m, long long n, long long k, long long batches) {
  return precision != Precision::strict && m >= 4 && n >= 4 && k >= 8 && m * n * k * batches >= 1 << 18;
}

template <class A, class B>
void mma(const char* op, Context& context, Precision precision, const A& a, const B& b, const Output<float>& out,
         long long m, long long n, long long k, long long batches, long long least_depth = kLeastDepth) {
  if (precision == Precision::tf32)
    mma_at<Precision::tf32>(op, context, a, b, out, m, n, k, batches, least_depth);
  else if (precision == Precision::high)
    mma_at<Precision::high>(op, context, a, b, out, m, n, k, batches, least_depth);
  else
    mma_at<Precision::accurate>(op, context, a, b, out, m, n, k, batches, least_depth);
}

}  // namespace dc::cuda
