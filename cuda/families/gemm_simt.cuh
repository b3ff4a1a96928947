// Tiled products with ordinary multiply-adds, for float and double and any operand.
// A block computes kM x kN of C by steps of kK: the next step's elements travel from global memory to registers while
// this one's are multiplied, and two buffers in shared memory need one barrier a step. A thread owns kTm x kTn sums, in
// groups of four neighbours read as vectors. Bound: multiply-add issue.
#pragma once
#include "families/gemm.cuh"

namespace dc::cuda {

template <int kM_, int kN_, int kK_, int kTm_, int kTn_>
struct SimtTile {
  static constexpr int kM = kM_, kN = kN_, kK = kK_, kTm = kTm_, kTn = kTn_;
  static constexpr int kThreads = kM / kTm * (kN / kTn), kMinBlocks = kM == 32 ? 4 : kM == 64 ? 2 : 1;
  static constexpr int kPitchM = kM + 4, kPitchN = kN + 4;  // rows a multiple of 16 bytes, in different banks
};
using SmallTile = SimtTile<32, 32, 16, 4, 4>;
using MediumTile = SimtTile<64, 64, 16, 4, 4>;
using LargeTile = SimtTile<128, 128, 8, 8, 8>;

// The part of one operand's tile that a thread carries: kCount elements, along p or along the outer index.
template <class T, class Operand, int kOuter, int kK, int kThreads>
struct Carried {
  static constexpr int kCount = kOuter * kK / kThreads;
  static_assert(kOuter * kK % kThreads == 0);
  typename Operand::Row rows[kCount];
  T values[kCount];

  static DC_DEVICE int flat(int e) { return static_cast<int>(thread_index().x) + e * kThreads; }
  static DC_DEVICE int outer_of(int e) { return Operand::kAlongP ? flat(e) / kK : flat(e) % kOuter; }
  static DC_DEVICE int p_of(int e) { return Operand::kAlongP ? flat(e) % kK : flat(e) / kOuter; }

  DC_DEVICE void start(const Operand& operand, long long first) {
    DC_UNROLL
    for (int e = 0; e < kCount; ++e) rows[e] = operand.row(first + outer_of(e));
  }
  DC_DEVICE void fetch(const Operand& operand, long long p0, long long p_end) {
    DC_UNROLL
    for (int e = 0; e < kCount; ++e) {
      const long long p = p0 + p_of(e);
      values[e] = p < p_end ? operand.get(rows[e], operand.column(p)) : T(0);
    }
  }
  template <int kPitch>
  DC_DEVICE void keep(T (&tile)[kK][kPitch]) const {
    DC_UNROLL
    for (int e = 0; e < kCount; ++e) tile[p_of(e)][outer_of(e)] = values[e];
  }
};

// The direction of a matrix is known at run time only; the elements of a thread are one step apart.
template <class T, int kOuter, int kK, int kThreads>
struct Carried<T, MatrixOperand<T>, kOuter, kK, kThreads> {
  static constexpr int kCount = kOuter * kK / kThreads;
  static_assert(kOuter * kK % kThreads == 0 && kThreads % kK == 0 && kThreads % kOuter == 0);
  const T* at;
  long long step, outer_left;
  int outer, p, outer_step, p_step;
  T values[kCount];

  DC_DEVICE void start(const MatrixOperand<T>& m, long long first) {
    const int tid = static_cast<int>(thread_index().x);
    const bool along = m.along_p();
    outer = along ? tid / kK : tid % kOuter;
    p = along ? tid % kK : tid / kOuter;
    outer_step = along ? kThreads / kK : 0;
    p_step = along ? 0 : kThreads / kOuter;
    step = outer_step * m.outer_step + p_step * m.p_step;
    at = m.data + (first + outer) * m.outer_step + p * m.p_step;
    outer_left = m.outer - first - outer;
  }
  DC_DEVICE void fetch(const MatrixOperand<T>& m, long long p0, long long p_end) {
    const T* from = at + p0 * m.p_step;
    const long long p_left = p_end - p0 - p;
    DC_UNROLL
    for (int e = 0; e < kCount; ++e)
      values[e] = e * outer_step < outer_left && e * p_step < p_left ? from[e * step] : T(0);
  }
  template <int kPitch>
  DC_DEVICE void keep(T (&tile)[kK][kPitch]) const {
    DC_UNROLL
    for (int e = 0; e < kCount; ++e) tile[p + e * p_step][outer + e * outer_step] = values[e];
  }
};

template <class T, class Tile>
struct SimtShared {
  T a[2][Tile::kK][Tile::kPitchM];
  T b[2][Tile::kK][Tile::kPitchN];
};

template <class T, class Tile, class A, class B, class Finish>
DC_KERNEL void DC_LAUNCH_BOUNDS(Tile::kThreads, sizeof(T) == sizeof(float) ? Tile::kMinBlocks : 1)
    simt_product(A a, B b, Output<T> out, Product<T> product, Finish finish) {
  constexpr int kGroupsM = Tile::kTm / 4, kGroupsN = Tile::kTn / 4;
  constexpr int kStepM = Tile::kM / kGroupsM, kStepN = Tile::kN / kGroupsN;
  using Shared = SimtShared<T, Tile>;
  alignas(16) DC_SHARED(Shared, shared);
  const TilePlace place = tile_place(product, Tile::kM, Tile::kN);
  a.select(place.batch);
  b.select(place.batch);
  const int tx = static_cast<int>(thread_index().x) % (Tile::kN / Tile::kTn);
  const int ty = static_cast<int>(thread_index().x) / (Tile::kN / Tile::kTn);
  const auto [p_begin, p_end] = part_range(product, place.split);

  Carried<T, A, Tile::kM, Tile::kK, Tile::kThreads> from_a;
  Carried<T, B, Tile::kN, Tile::kK, Tile::kThreads> from_b;
  from_a.start(a, place.m0);
  from_b.start(b, place.n0);
  T sums[Tile::kTm][Tile::kTn] = {};
  from_a.fetch(a, p_begin, p_end);
  from_b.fetch(b, p_begin, p_end);
  int buffer = 0;
  for (long long p0 = p_begin; p0 < p_end; p0 += Tile::kK) {
    from_a.keep(shared.a[buffer]);
    from_b.keep(shared.b[buffer]);
    sync_block();
    if (p0 + Tile::kK < p_end) {
      from_a.fetch(a, p0 + Tile::kK, p_end);
      from_b.fetch(b, p0 + Tile::kK, p_end);
    }
    DC_UNROLL
    for (int p = 0; p < Tile::kK; ++p) {
      T x[kGroupsM][4], y[kGroupsN][4];
      DC_UNROLL
      for (int g = 0; g < kGroupsM; ++g) load4(&shared.a[buffer][p][g * kStepM + ty * 4], x[g]);
      DC_UNROLL
      for (int g = 0; g < kGroupsN; ++g) load4(&shared.b[buffer][p][g * kStepN + tx * 4], y[g]);
      DC_UNROLL
      for (int i = 0; i < Tile::kTm; ++i) DC_UNROLL
      for (int j = 0; j < Tile::kTn; ++j) {
        if constexpr (Finish::kApart)
          sums[i][j] += multiply_rounded(x[i / 4][i % 4], y[j / 4][j % 4]);
        else
          sums[i][j] += x[i / 4][i % 4] * y[j / 4][j % 4];
      }
    }
    buffer ^= 1;
  }

  if (product.splits > 1)
    out = part_output(product, place);
  else
    out.select(place.batch);
  DC_UNROLL
  for (int i = 0; i < Tile::kTm; ++i) {
    const long long row = place.m0 + i / 4 * kStepM + ty * 4 + i % 4;
    if (row < product.m) {
      T* at = out.row(row);
      DC_UNROLL
      for (int g = 0; g < kGroupsN; ++g) {
        const long long column = place.n0 + g * kStepN + tx * 4;
        if (out.quads && column < product.n) {
          out.put4(at, column, &sums[i][4 * g]);
        } else {
          DC_UNROLL
          for (int j = 0; j < 4; ++j)
            if (column + j < product.n) out.put(at, column + j, sums[i][4 * g + j]);
        }
      }
    }
  }
  const int rows = static_cast<int>(product.m - place.m0 < Tile::kM ? product.m - place.m0 : Tile::kM);
  const int columns = static_cast<int>(product.n - place.n0 < Tile::kN ? product.n - place.n0 : Tile::kN);
  if constexpr (Finish::kPresent) {
    if (product.splits == 1) finish.tile(place.m0, place.n0, rows, columns, Tile::kThreads);
  } else {
    (void)finish;
    if (out.unfinished()) activate_tile(out, place.m0, place.n0, rows, columns, Tile::kThreads);
  }
}

constexpr long long kLeastSimtDepth = 256;  // of a part of a sum

// with(tile) of the largest tile that leaves no multiprocessor idle. Without `kLarge` there is one kernel less.
template <bool kLarge, class T, class With>
void with_simt_tile(long long m, long long n, long long batches, const With& with) {
  const auto tiles = [&](int side) { return ceil_div(m, side) * ceil_div(n, side) * batches; };
  if constexpr (kLarge && sizeof(T) == sizeof(float))
    if (tiles(128) >= 132) return with(LargeTile{});
  if (tiles(64) >= 132) return with(MediumTile{});
  with(SmallTile{});
}

// Sums are cut into parts of at least `least_depth` terms, or not at all.
template <bool kLarge, class T, class A, class B>
void simt(const char* op, Context& context, const A& a, const B& b, const Output<T>& out, long long m, long long n,
          long long k, long long batches, long long least_depth = kLeastSimtDepth) {
  with_simt_tile<kLarge, T>(m, n, batches, [&]<class Tile>(Tile) {
    run_tiles<T>(op, context, simt_product<T, Tile, A, B, NoFinish>, Tile::kThreads, 0, Tile::kM, Tile::kN, Tile::kK,
                 least_depth, a, b, out, m, n, k, batches);
  });
}

}  // namespace dc::cuda
