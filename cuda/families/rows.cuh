// Rows of a contiguous matrix (rows, c) spread over groups of threads, for kernels that need a whole row at once.
// A group is 1 to 32 neighbouring lanes of a warp (short rows: several rows a warp) or a block. Its threads take the
// row in quads: four neighbouring elements in one 16-byte access where rows are so aligned, else four elements a
// group's size apart, so that neighbouring threads always read neighbouring memory. The first quads of a row are held
// in registers (kHeld a thread); what lies beyond is read again where it is needed. Which group serves depends on c
// alone: a row's result does not depend on how many rows there are.
#pragma once
#include <cmath>

#include "device/block.cuh"
#include "families/lane.cuh"
#include "runtime/run.h"

namespace dc::cuda {

template <class T>
struct Quad {
  T of[4];
};

// The part of a row that a thread sees. c = 0: there is no row, but the thread takes part in the group's reductions.
// Quads in registers are counted in int, which suffices for their columns and saves registers, others in long long.
struct RowPart {
  long long row, c;
  int near, size, rank;  // near: c, or enough for the quads in registers
  bool vector;

  DC_DEVICE RowPart(long long row_, long long c_, int size_, int rank_, bool vector_)
      : row(row_),
        c(c_),
        near(c_ < 0x40000000 ? static_cast<int>(c_) : 0x40000000),
        size(size_),
        rank(rank_),
        vector(vector_) {}
  // Element i of quad q is element first(q) + i * step() of the row.
  template <class Index>
  DC_DEVICE Index first(Index q) const {
    return vector ? (q * size + rank) * 4 : q * 4 * size + rank;
  }
  DC_DEVICE int step() const { return vector ? 1 : size; }
  DC_DEVICE long long quads() const { return (c + 4ll * size - 1) / (4ll * size); }
  DC_DEVICE bool inside(int k) const { return k < near; }
  DC_DEVICE bool inside(long long k) const { return k < c; }
};

// Elements past the end of the row are `absent`.
template <class T, class Index>
DC_DEVICE Quad<T> load_quad(const T* row, const RowPart& part, Index q, T absent) {
  const Index at = part.first(q);
  Quad<T> v;
  if constexpr (sizeof(T) == sizeof(float)) {
    if (part.vector) {
      const float4 four = part.inside(at) ? load<float4>(row + at) : float4{absent, absent, absent, absent};
      v.of[0] = four.x, v.of[1] = four.y, v.of[2] = four.z, v.of[3] = four.w;
      return v;
    }
  }
  DC_UNROLL
  for (int i = 0; i < 4; ++i) {
    const Index k = at + static_cast<Index>(i) * part.size;
    v.of[i] = part.inside(k) ? row[k] : absent;
  }
  return v;
}

template <class T, class Index>
DC_DEVICE void store_quad(T* row, const RowPart& part, Index q, const Quad<T>& v) {
  const Index at = part.first(q);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (part.vector) {
      if (part.inside(at)) store(row + at, float4{v.of[0], v.of[1], v.of[2], v.of[3]});
      return;
    }
  }
  DC_UNROLL
  for (int i = 0; i < 4; ++i) {
    const Index k = at + static_cast<Index>(i) * part.size;
    if (part.inside(k)) row[k] = v.of[i];
  }
}

// f(q, held) for the quads in registers, whose number is known to the compiler, then rest(q) for those beyond.
template <bool kRest, class Held, int kHeld, class F, class R>
DC_DEVICE void for_quads(const RowPart& part, Held (&held)[kHeld], const F& f, const R& rest) {
  DC_UNROLL
  for (int q = 0; q < kHeld; ++q)
    if (q * 4 * part.size < part.near) f(q, held[q]);
  if constexpr (kRest) {
    DC_NO_UNROLL  // registers are taken
        for (long long q = kHeld; q < part.quads(); ++q) rest(q);
  }
}

// Not NaN where one of two is a number: a NaN shows in the sum that follows every maximum here.
struct Larger {
  DC_DEVICE float operator()(float a, float b) const { return ::fmaxf(a, b); }
  DC_DEVICE double operator()(double a, double b) const { return ::fmax(a, b); }
};

// Lanes of a warp that share a row; `size` is a power of two. Rows fit into the registers: nothing lies beyond.
struct WarpRows {
  static constexpr int kThreads = 128, kBlocks = 4;
  static constexpr bool kRest = false;
  int size;

  DC_DEVICE long long first() const {
    return (static_cast<long long>(block_index().x) * (block_size().x / 32) + warp()) * (32 / size);
  }
  DC_DEVICE long long step() const {
    return static_cast<long long>(grid_size().x) * (block_size().x / 32) * (32 / size);
  }
  DC_DEVICE RowPart part(long long base, long long rows, long long c, bool vector) const {
    const int l = static_cast<int>(lane());
    const long long row = base + l / size;
    return {row, row < rows ? c : 0, size, l % size, vector};
  }
  template <class T, class Combine>
  DC_DEVICE T reduce(T v, T, const Combine& combine DC_PLACE_PARAMETER) const {
    for (int distance = size / 2; distance > 0; distance /= 2)
      v = combine(v, shuffle_xor(kFullMask, v, distance DC_PLACE_ARGUMENT));
    return v;
  }
};

// A block a row; `size` is that of the block.
struct BlockRows {
  static constexpr int kThreads = 512, kBlocks = 1;
  static constexpr bool kRest = true;
  int size;

  DC_DEVICE long long first() const { return block_index().x; }
  DC_DEVICE long long step() const { return grid_size().x; }
  DC_DEVICE RowPart part(long long base, long long rows, long long c, bool vector) const {
    return {base, base < rows ? c : 0, size, opaque(static_cast<int>(thread_index().x)), vector};
  }
  template <class T, class Combine>
  DC_DEVICE T reduce(T v, T neutral, const Combine& combine DC_PLACE_PARAMETER) const {
    return block_reduce(v, neutral, combine DC_PLACE_ARGUMENT);
  }
};

// Quads that a thread holds in registers.
template <class T, class Group>
inline constexpr int kHeld = (Group::kRest ? 16 : 32) / static_cast<int>(sizeof(T));

// What a launch over rows needs. `short_row`: the most elements that 32 lanes hold in registers.
struct RowPlan {
  bool by_warp;
  int size;  // of a group
  unsigned blocks, threads;
};

inline int power_of_two_from(long long n, int most) {
  int p = 1;
  while (p < n && p < most) p *= 2;
  return p;
}

// double always takes the kernel of blocks, with blocks of one warp for short rows.
template <class T>
RowPlan plan_rows(long long rows, long long c, long long short_row, unsigned most = 2112) {
  if (sizeof(T) == sizeof(float) && c <= short_row) {
    const int size = power_of_two_from((c + 3) / 4, 32);
    const long long threads = rows > 0 ? (rows * size + 31) / 32 * 32 : 32;
    const unsigned block = threads < WarpRows::kThreads ? static_cast<unsigned>(threads) : WarpRows::kThreads;
    return {true, size, blocks_for(rows, static_cast<int>(block) / size, 1, most), block};
  }
  int size = power_of_two_from((c + 3) / 4, 256);
  if (size < 32) size = 32;
  if (c > 4096) size = BlockRows::kThreads;
  return {false, size, blocks_for(rows, 1, 1, most), static_cast<unsigned>(size)};
}

// Whether the rows of these matrices (of vectors of c: null allowed) can be read in 16-byte accesses; double never is.
template <class T>
bool quads_aligned(std::initializer_list<const void*> pointers, long long c) {
  bool all = sizeof(T) == sizeof(float) && c % 4 == 0;
  for (const void* p : pointers) all = all && aligned(p);
  return all;
}

}  // namespace dc::cuda
