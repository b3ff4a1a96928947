// The product of one step of a recurrent layer: sums over k of a block's rows and units, for the cell that follows in
// the same kernel.
// A block owns 4 kLaneRows rows and eight to 32 units of all its gates, so that a row of sums is 24 to 32 wide. Terms
// travel in chunks of 32 through a ring of four stages (cp.async); of each chunk every warp multiplies eight for the
// whole tile, a lane kLaneRows rows and three or four columns, and the sums of the four warps are added in their order.
// So a row's sums have the same bits for any number of rows and any tile. Bound: multiply-add issue where rows fill the
// tiles; with few rows reading u out of the second cache.
#pragma once
#include "families/gemm.cuh"

namespace dc::cuda {

constexpr int kRnnThreads = 128, kRnnWarps = kRnnThreads / 32, kRnnStages = 4;
constexpr int kRnnChunk = 32;             // terms
constexpr int kRnnPitch = kRnnChunk + 4;  // of a row of terms: eight rows lie in different banks
constexpr int kRnnSumsPitch = 32 + 8;     // of a row of sums: four rows, eight units each, lie in different banks

// Term p of row i: up to `split` in one matrix, then in another.
template <class T>
struct RowTerms {
  const T* first;
  long long first_row, split;
  const T* second;
  long long second_row;
  DC_DEVICE const T* at(long long row, long long p) const {
    return p < split ? first + row * first_row + p : second + row * second_row + (p - split);
  }
};

template <class T>
struct StepProduct {
  RowTerms<T> a;
  const T* u;
  long long u_row, rows, units, k;
  int wide;  // groups of 16 bytes of a and u are aligned
};

// Group `at` of kRnnChunk / kCount numbers, in shared memory; zeros where not valid.
template <class T>
DC_DEVICE void copy_terms(bool wide, T* to, const T* from, bool valid) {
  if (wide) {
    cp_async16(to, from, valid);
  } else {
    DC_UNROLL
    for (int word = 0; word < static_cast<int>(sizeof(T) / 4); ++word)
      cp_async4(reinterpret_cast<uint32_t*>(to) + word, reinterpret_cast<const uint32_t*>(from) + word, valid);
  }
}

// Copies of kOuter runs of 32 neighbours: f(run, place, width) for the groups of this thread.
template <class T, int kOuter, class F>
DC_DEVICE void for_groups(bool wide, const F& f) {
  constexpr int kWide = 16 / static_cast<int>(sizeof(T));
  const int width = wide ? kWide : 1, per_run = wide ? kRnnChunk / kWide : kRnnChunk;
  for (int e = static_cast<int>(thread_index().x); e < kOuter * per_run; e += kRnnThreads)
    f(e / per_run, e % per_run * width);
}

// Forward: kGates gates of a few units, sum over `from` of U[gate][unit][from]. Terms lie along p. A projection is one
// gate.
template <class T, int kGates>
struct GateWeights {
  static constexpr int kUnits = 8 * (4 / kGates), kColumns = kGates * kUnits, kLaneColumns = kColumns / 8;
  static constexpr int kSize = kColumns * kRnnPitch;

  static DC_DEVICE void issue(const StepProduct<T>& s, long long unit0, long long p0, T* tile) {
    for_groups<T, kColumns>(s.wide, [&](int column, int place) {
      const long long unit = unit0 + column % kUnits, p = p0 + place;
      const bool valid = unit < s.units && p < s.k;
      const T* from = s.u + (column / kUnits * s.units + unit) * s.u_row + p;
      copy_terms(s.wide, tile + column * kRnnPitch + place, valid ? from : s.u, valid);
    });
  }
  // Four terms of this lane's columns: b[column][term].
  static DC_DEVICE void read(const T* tile, int p, T (&b)[kLaneColumns][4]) {
    DC_UNROLL
    for (int c = 0; c < kLaneColumns; ++c) load4(tile + column(c) * kRnnPitch + p, b[c]);
  }
  static DC_DEVICE int column(int c) { return c * 8 + static_cast<int>(lane()) % 8; }
  static DC_DEVICE void keep(T* row, const T (&sums)[kLaneColumns]) {
    DC_UNROLL
    for (int c = 0; c < kLaneColumns; ++c) row[column(c)] = sums[c];
  }
};

// Backward: sum over p = (gate, to) of U[p][unit]. Units lie along.
template <class T>
struct StateWeights {
  static constexpr int kUnits = 32, kLaneColumns = 4, kSize = kRnnChunk * kUnits;

  static DC_DEVICE void issue(const StepProduct<T>& s, long long unit0, long long p0, T* tile) {
    for_groups<T, kRnnChunk>(s.wide, [&](int term, int place) {
      const long long unit = unit0 + place, p = p0 + term;
      const bool valid = unit < s.units && p < s.k;
      copy_terms(s.wide, tile + term * kUnits + place, valid ? s.u + p * s.u_row + unit : s.u, valid);
    });
  }
  static DC_DEVICE void read(const T* tile, int p, T (&b)[kLaneColumns][4]) {
    DC_UNROLL
    for (int term = 0; term < 4; ++term) {
      T v[4];
      load4(tile + (p + term) * kUnits + 4 * (lane() % 8), v);
      DC_UNROLL
      for (int c = 0; c < 4; ++c) b[c][term] = v[c];
    }
  }
  static DC_DEVICE void keep(T* row, const T (&sums)[kLaneColumns]) { store4(row + 4 * (lane() % 8), sums); }
};

template <class T, class Weights, int kLaneRows>
struct StepTile {
  static constexpr int kRows = 4 * kLaneRows, kUnits = Weights::kUnits, kColumns = Weights::kLaneColumns;
  struct Stage {
    T a[kRows][kRnnPitch], b[Weights::kSize];
  };
  union Shared {
    alignas(16) Stage ring[kRnnStages];
    alignas(16) T sums[kRnnWarps][kRows][kRnnSumsPitch];
  };

  static DC_DEVICE void issue(const StepProduct<T>& s, long long row0, long long unit0, long long p0, Stage& stage) {
    for_groups<T, kRows>(s.wide, [&](int i, int place) {
      const long long row = row0 + i, p = p0 + place;
      const bool valid = row < s.rows && p < s.k;
      copy_terms(s.wide, &stage.a[i][place], valid ? s.a.at(row, p) : s.u, valid);
    });
    Weights::issue(s, unit0, p0, stage.b);
  }

  // Leaves the warps' sums in shared memory.
  static DC_DEVICE void multiply(const StepProduct<T>& s, long long row0, long long unit0,
                                 Shared& shared DC_PLACE_PARAMETER) {
    constexpr int kAhead = kRnnStages - 1, kOfWarp = kRnnChunk / kRnnWarps;
    const int first = static_cast<int>(warp()) * kOfWarp, group = static_cast<int>(lane()) / 8;
    const int chunks = static_cast<int>((s.k + kRnnChunk - 1) / kRnnChunk);
    T sums[kLaneRows][kColumns] = {};
    for (int chunk = -kAhead; chunk < chunks; ++chunk) {
      if (chunk >= 0) {
        cp_async_wait<kAhead - 1>();
        sync_block(DC_PLACE_ONLY);
      }
      const int next = chunk + kAhead;
      if (next < chunks)  // over the stage of the chunk before: all warps have passed its end
        issue(s, row0, unit0, static_cast<long long>(next) * kRnnChunk, shared.ring[next % kRnnStages]);
      cp_async_commit();
      if (chunk < 0) continue;
      const Stage& stage = shared.ring[chunk % kRnnStages];
      DC_UNROLL
      for (int p = 0; p < kOfWarp; p += 4) {
        T b[kColumns][4];
        Weights::read(stage.b, first + p, b);
        DC_UNROLL
        for (int i = 0; i < kLaneRows; ++i) {
          T a[4];
          load4(&stage.a[4 * i + group][first + p], a);
          DC_UNROLL
          for (int term = 0; term < 4; ++term) DC_UNROLL
          for (int c = 0; c < kColumns; ++c) sums[i][c] += a[term] * b[c][term];
        }
      }
    }
    cp_async_wait<0>();
    sync_block(DC_PLACE_ONLY);
    DC_UNROLL
    for (int i = 0; i < kLaneRows; ++i) Weights::keep(shared.sums[warp()][4 * i + group], sums[i]);
    sync_block(DC_PLACE_ONLY);
  }

  static DC_DEVICE T sum(const Shared& shared, int row, int column) {
    T total = shared.sums[0][row][column];
    DC_UNROLL
    for (int w = 1; w < kRnnWarps; ++w) total += shared.sums[w][row][column];
    return total;
  }

  // f(row, unit, row of the tile, unit of the tile) for those of this block that there are. Eight units of a row are
  // neighbours: sectors of 32 bytes.
  template <class F>
  static DC_DEVICE void for_units(const StepProduct<T>& s, long long row0, long long unit0, const F& f) {
    for (int e = static_cast<int>(thread_index().x); e < kRows * kUnits; e += kRnnThreads) {
      const int i = e / 8 % kRows, j = e / (8 * kRows) * 8 + e % 8;
      if (row0 + i < s.rows && unit0 + j < s.units) f(row0 + i, unit0 + j, i, j);
    }
  }
};

struct StepPlace {
  long long row0, unit0;
};
// Neighbouring blocks share rows.
template <class Tile, class T>
DC_DEVICE StepPlace step_place(const StepProduct<T>& s) {
  long long row, unit;
  divide(block_index().x, (s.units + Tile::kUnits - 1) / Tile::kUnits, &row, &unit);
  return {row * Tile::kRows, unit * Tile::kUnits};
}

// with(tile) of the largest tile that leaves no multiprocessor idle.
template <class T, class Weights, class With>
void with_step_tile(long long rows, long long units, const With& with) {
  const auto blocks = [&]<class Tile>(Tile) { return ceil_div(rows, Tile::kRows) * ceil_div(units, Tile::kUnits); };
  const auto launch_one = [&]<class Tile>(Tile tile) { with(tile, static_cast<unsigned>(blocks(tile))); };
  using Small = StepTile<T, Weights, 2>;
  if constexpr (sizeof(T) == sizeof(float)) {
    using Large = StepTile<T, Weights, 8>;
    using Medium = StepTile<T, Weights, 4>;
    if (blocks(Large{}) >= 132) return launch_one(Large{});
    if (blocks(Medium{}) >= 132) return launch_one(Medium{});
  }
  launch_one(Small{});
}

}  // namespace dc::cuda
