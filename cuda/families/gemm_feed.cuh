// How tiles of plain matrices come into shared memory for the tensor cores: cp.async, so that a thread waits for
// nothing and needs no registers. Two layouts of a tile, by the direction in which the matrix is contiguous; threads
// copy and read both without bank conflicts:
//   along p       [outer][kStep], 16-byte groups of a row at group ^ (row / 2 % 4); read by ldmatrix
//   along outer   [kStep][outer + 8]
// Groups of four numbers where addresses and sizes allow (`wide`), else single numbers.
#pragma once
#include "families/gemm.cuh"

namespace dc::cuda {

constexpr int kStep = 16, kStages = 4;  // p of a stage; stages of the ring

template <bool kAlongP, int kOuter>
struct TileLayout;

// The reader of a warp whose part begins at `outer` (a multiple of 8): lane (g, t) gets p = t, t + 4, t + 8, t + 12 of
// row outer + 8 i + g.
template <int kOuter>
struct TileLayout<true, kOuter> {
  static constexpr int kSize = kOuter * kStep;
  static DC_DEVICE int index(int outer, int p) { return outer * kStep + ((p >> 2 ^ (outer >> 1 & 3)) << 2 | (p & 3)); }
  int at;
  DC_DEVICE explicit TileLayout(int outer) {
    const int l = static_cast<int>(lane());
    at = index(outer + l % 8, l / 8 * 4);
  }
  DC_DEVICE void read(const float* tile, int i, float (&v)[4] DC_PLACE_PARAMETER) const {
    uint32_t r[4];
    ldmatrix_x4(r, tile + at + i * (8 * kStep) DC_PLACE_ARGUMENT);
    DC_UNROLL
    for (int j = 0; j < 4; ++j) v[j] = bits_float(r[j]);
  }
  // By single loads: ldmatrix wants four neighbouring registers, which a kernel that fills all of them lacks.
  struct Singly {
    int at;
    DC_DEVICE explicit Singly(int outer) {
      const int l = static_cast<int>(lane());
      at = index(outer + l / 4, l % 4);
    }
    DC_DEVICE void read(const float* tile, int i, float (&v)[4]) const {
      DC_UNROLL
      for (int j = 0; j < 4; ++j) v[j] = tile[(at ^ 4 * j) + i * (8 * kStep)];
    }
  };
};
template <int kOuter>
struct TileLayout<false, kOuter> {
  using Singly = TileLayout;
  static constexpr int kPitch = kOuter + 8, kSize = kStep * kPitch;
  static DC_DEVICE int index(int outer, int p) { return p * kPitch + outer; }
  int at;
  DC_DEVICE explicit TileLayout(int outer) {
    const int l = static_cast<int>(lane());
    at = index(outer + l / 4, l % 4);
  }
  DC_DEVICE void read(const float* tile, int i, float (&v)[4]) const {
    DC_UNROLL
    for (int j = 0; j < 4; ++j) v[j] = tile[at + j * (4 * kPitch) + 8 * i];
  }
};

// An operand in tiles: `wide`, and single elements by row() and get() for results that are computed again.
template <bool kAlongP>
struct MatrixTiles {
  MatrixOperand<float> matrix;
  const float* anywhere;  // that of the first batch, for copies of nothing: no register, unlike matrix.data
  bool wide;
  DC_DEVICE void select(long long batch) { matrix.select(batch); }
  DC_DEVICE const float* row(long long i) const { return matrix.data + i * matrix.outer_step; }
  DC_DEVICE float get(const float* row, long long p) const { return row[p * matrix.p_step]; }
};

template <bool kAlongP>
MatrixTiles<kAlongP> matrix_tiles(const MatrixOperand<float>& m, long long k) {
  const bool wide = aligned(m.data) && multiple_of_4(m.batch_step) &&
                    multiple_of_4(kAlongP ? m.outer_step : m.p_step) && multiple_of_4(kAlongP ? k : m.outer);
  return {m, m.data, wide};
}

// A thread's share of the copies of one operand: start() once, issue() of every step in order. What issue() of a step
// reads in shared memory was noted by start() for the first kStages steps and by prepare() for the others; a barrier of
// the block stands between the two.
template <class Tiles, int kOuter, int kThreads>
struct Feed;

struct NoNotes {};

// How many terms the last step has.
DC_DEVICE int tail_of(long long p_begin, long long p_end) {
  return static_cast<int>((p_end - p_begin + kStep - 1) % kStep) + 1;
}

// What is left of a size from `from` on, at most `most`.
DC_DEVICE int left_of(long long size, long long from, int most) {
  const long long left = size - from;
  return static_cast<int>(left < 0 ? 0 : left < most ? left : most);
}

// Two counts in one register: how many of its groups a thread copies in the last stage and in all others. They come out
// by a shift that differs from step to step: of two constants the compiler would make two registers for the whole loop.
struct Counts {
  unsigned both = 0;
  DC_DEVICE void set(int usual, int last) { both = static_cast<unsigned>(last) << 16 | static_cast<unsigned>(usual); }
  DC_DEVICE int get(bool last) const { return static_cast<int>(both >> (last ? 16 : 0) & 0xFFFFu); }
};

template <int kOuter, int kThreads>
struct Feed<MatrixTiles<true>, kOuter, kThreads> {
  using Layout = TileLayout<true, kOuter>;
  using Notes = NoNotes;
  const float* at;
  Counts rows;

  DC_DEVICE void start(const MatrixTiles<true>& tiles, Notes&, long long first, long long p_begin, long long p_end) {
    const int tid = static_cast<int>(thread_index().x), per_row = tiles.wide ? kStep / 4 : kStep;
    const int row = tid / per_row, p = tid % per_row * (kStep / per_row);
    const MatrixOperand<float>& m = tiles.matrix;
    at = m.data + (first + row) * m.outer_step + p_begin + p;
    const int inside = left_of(m.outer, first + row, kOuter);
    rows.set(inside, p < tail_of(p_begin, p_end) ? inside : 0);
  }
  DC_DEVICE void prepare(const MatrixTiles<true>&, Notes&, int) {}
  DC_DEVICE void issue(const MatrixTiles<true>& tiles, const Notes&, int, bool last, float* tile) {
    const int tid = static_cast<int>(thread_index().x), most = rows.get(last);
    const float* from = at;
    if (tiles.wide) {
      constexpr int kRows = kThreads / (kStep / 4);
      float* const to = tile + Layout::index(tid / 4, tid % 4 * 4);
      const long long step = kRows * tiles.matrix.outer_step;
      DC_UNROLL
      for (int e = 0; e < kOuter / kRows; ++e, from += step) {
        const bool valid = e * kRows < most;
        cp_async16(to + e * kRows * kStep, valid ? from : tiles.anywhere, valid);
      }
    } else {
      constexpr int kRows = kThreads / kStep;
      float* const to = tile + Layout::index(tid / kStep, tid % kStep);
      const long long step = kRows * tiles.matrix.outer_step;
      DC_UNROLL
      for (int e = 0; e < kOuter / kRows; ++e, from += step) {
        const bool valid = e * kRows < most;
        cp_async4(to + e * kRows * kStep, valid ? from : tiles.anywhere, valid);
      }
    }
    at += kStep;
  }
};

template <int kOuter, int kThreads>
struct Feed<MatrixTiles<false>, kOuter, kThreads> {
  using Layout = TileLayout<false, kOuter>;
  static_assert(kThreads % kOuter == 0);
  using Notes = NoNotes;
  const float* at;
  Counts rows;

  DC_DEVICE void start(const MatrixTiles<false>& tiles, Notes&, long long first, long long p_begin, long long p_end) {
    const int tid = static_cast<int>(thread_index().x), per_row = tiles.wide ? kOuter / 4 : kOuter;
    const int outer = tid % per_row * (kOuter / per_row), p = tid / per_row;
    const MatrixOperand<float>& m = tiles.matrix;
    at = m.data + first + outer + (p_begin + p) * m.p_step;
    const bool inside = first + outer < m.outer;
    const int tail = tail_of(p_begin, p_end);
    rows.set(inside ? kStep : 0, inside && p < tail ? tail - p : 0);
  }
  DC_DEVICE void prepare(const MatrixTiles<false>&, Notes&, int) {}
  DC_DEVICE void issue(const MatrixTiles<false>& tiles, const Notes&, int, bool last, float* tile) {
    const int tid = static_cast<int>(thread_index().x), most = rows.get(last);
    const float* from = at;
    if (tiles.wide) {
      constexpr int kGroups = kOuter / 4, kRows = kThreads / kGroups;
      const long long step = kRows * tiles.matrix.p_step;
      DC_UNROLL
      for (int e = 0; e < kStep / kRows; ++e, from += step) {
        const bool valid = e * kRows < most;
        cp_async16(tile + Layout::index(tid % kGroups * 4, tid / kGroups + e * kRows), valid ? from : tiles.anywhere,
                   valid);
      }
    } else {
      constexpr int kRows = kThreads / kOuter;
      const long long step = kRows * tiles.matrix.p_step;
      DC_UNROLL
      for (int e = 0; e < kStep / kRows; ++e, from += step) {
        const bool valid = e * kRows < most;
        cp_async4(tile + Layout::index(tid % kOuter, tid / kOuter + e * kRows), valid ? from : tiles.anywhere, valid);
      }
    }
    at += kStep * tiles.matrix.p_step;
  }
};

}  // namespace dc::cuda
