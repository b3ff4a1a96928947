// The product C[i, j] (+)= sum_p A[i, p] B[p, j] on the register tile of gemm_micro.h, panels as in gemm_pack.h.
// One operand is `shared`, mostly the one with the shorter outer dimension: it is packed once per slab of k, in
// parallel, into memory that all tasks read, or by each of a few threads. The other is `private`: each task owns a
// block of it, packs that block per kDepth of k into its own memory (L2) and runs it against the whole shared operand.
// Rows of A and a small B are read in place. A small C with a long k is cut along k.
// The order of sums over k and the tasks depend on the sizes alone. Bound by FMA issue; GEMV by memory.
//
// What happens to complete blocks of C: gemm_finish.h.
#pragma once
#include "core/parallel.h"
#include "cpu/gemm_pack.h"
#include "cpu/gemm_thin.h"
#include "cpu/sparse_product.h"

namespace dc::DC_ISA {

static constexpr int64_t kDepth = 512;  // k per tile: deeper than L1 holds, because every pass over C costs more
static constexpr int64_t kSharedElements = 1 << 18;  // shared slab: 1 MB of float
static constexpr int64_t kPartDepth = 1024;          // least k of a part where k is cut
static constexpr int64_t kMostParts = 8;
// Few threads pack the shared operand each for itself: reading lines that another core has just written costs more.
static constexpr int64_t kPerCopy = 128;  // columns or rows of C for each thread that pay for a copy

// Which slab of which product the calling thread has packed.
static thread_local uint64_t copied_slab = 0;
static inline uint64_t next_slab_id() {
  static uint64_t last = 0;
  return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

// The calling thread's copy of a slab, made by pack(memory) where it is the thread's first task of this slab.
template <class T, class Pack>
static inline T* own_copy(uint64_t slab_id, size_t bytes, const Pack& pack) {
  T* copy = static_cast<T*>(thread_scratch(0, bytes));
  if (copied_slab != slab_id) pack(copy);
  copied_slab = slab_id;
  return copy;
}

// k slabs of equal depth <= kDepth, so that no slab is a sliver.
static DC_INLINE int64_t even_depth(int64_t k, int64_t most) { return k ? ceil_div(k, ceil_div(k, most)) : 1; }

template <class T, class Finish = NoFinish>
struct Product {
  const MatmulShape& s;
  const T* a;
  const T* b;
  const T* packed_b;
  const T* bias;
  T* c;
  Finish finish;
  bool a_in_place;
  RowTiles tiles;
  int64_t panels, depth;
  bool b_in_place;
  static constexpr bool kTakes = kTaken<Finish>;

  Product(const MatmulShape& shape, const T* a_, const T* b_, const T* packed, const T* bias_, T* c_,
          const Finish& finish_ = Finish())
      : s(shape),
        a(a_),
        b(b_),
        packed_b(packed),
        bias(bias_),
        c(c_),
        finish(finish_),
        a_in_place(reads_a_in_place(shape)),
        tiles(shape.m, shape.a_col == 1 ? tile_rows_at(shape.a_row * sizeof(T)) : kTileRows),
        panels(ceil_div(shape.n, kTileColumns)),
        depth(even_depth(shape.k, kDepth)) {
    b_in_place = s.b_col == 1 && s.m <= (rows_conflict(s.b_row) ? 2 : 10) * kTileRows;
  }

  static bool reads_a_in_place(const MatmulShape& s) {
    return s.a_col == 1 || s.m <= kTileRows * 2 || s.n <= kTileColumns * 4 ||
           (s.m * s.k <= 1 << 17 && !rows_conflict(s.a_col));
  }
  // Rows of B read in place, or columns of A, drive each other out of L2.
  static bool rows_conflict(int64_t stride) { return lines_conflict(stride * static_cast<int64_t>(sizeof(T)), 2048); }

  // Columns of A may be copied by the first panel that reads them, whose sums hide the time; columns a multiple of
  // 4 KiB apart drive each other out of L1 and L2 before the next tile reads the rest of their lines.
  bool fills_while_reading() const { return s.a_col != 1 && s.a_col * sizeof(T) % 4096 != 0; }

  // Lets row tile i bring its share of panel j of B, as it lies in memory, into L2, where enough tiles share it and its
  // lines do not drive each other out.
  void fetch_panel(TileInput<T>& in, int64_t i, int64_t j, int64_t p0) const {
    constexpr int64_t kFetched = 128 / sizeof(T);
    const int64_t steps = in.length / kFetchEvery, column = j * kTileColumns;
    if (j >= panels || tiles.count < kFetchEvery) return;
    if (!packed_b && s.b_col == 1) {
      if (rows_conflict(s.b_row) || (i + 1) * steps > in.length) return;
      in.fetched = b + (p0 + i * steps) * s.b_row + column;
      in.fetch_step = s.b_row;
    } else {
      const int64_t length = packed_b ? s.k : s.b_col, first = (p0 / depth * tiles.count + i) * steps * kFetched;
      if (first + steps * kFetched > kTileColumns * length) return;
      in.fetched = (packed_b ? packed_b : b) + column * length + first;
      in.fetch_step = kFetched;
    }
  }

  // Runs tiles [i0, i1) x panels [j0, j1) over k in [p0, p0 + depth). packed_a, packed_panels: null or the
  // packed operands, whose first element belongs to (row tile a_first, p0) and (panel b_first, p0). ahead: how many
  // panels farther to look, or 0. fill: packed_a is not filled yet and is to be, by the first panel.
  void run(int64_t i0, int64_t i1, int64_t j0, int64_t j1, int64_t p0, T* packed_a, int64_t a_first,
           int64_t a_panel_depth, const T* panel, int64_t b_first, int64_t panel_depth, bool rows_outer, T* tail,
           int64_t ahead = 0, bool fill = false) const {
    const int64_t k = min64(depth, s.k - p0);
    const int64_t outer0 = rows_outer ? i0 : j0, outer1 = rows_outer ? i1 : j1;
    const int64_t inner0 = rows_outer ? j0 : i0, inner1 = rows_outer ? j1 : i1;
    alignas(64) T values[kTakes ? kTileRows * kTileColumns : 1];
    for (int64_t x = outer0; x < outer1; ++x)
      for (int64_t y = inner0; y < inner1; ++y) {
        const int64_t i = rows_outer ? x : y, j = rows_outer ? y : x;
        const int64_t row = tiles.begin(i), rows = tiles.rows(i), column = j * kTileColumns;
        const int64_t n = min64(kTileColumns, s.n - column);
        TileInput<T> in;
        in.length = k;
        if (ahead) fetch_panel(in, i, j + ahead, p0);
        if (panel) {
          in.b = panel + (j - b_first) * panel_depth * kTileColumns;
          in.b_stride = kTileColumns;
        } else if (n == kTileColumns) {
          in.b = b + p0 * s.b_row + column;
          in.b_stride = s.b_row;
        } else {
          in.b = tail;
          in.b_stride = kTileColumns;
        }
        const bool last = p0 + k == s.k;
        TileOutput<T> out{c + row * s.c_row + column,
                          s.c_row,
                          static_cast<int>(n),
                          s.accumulate || p0 > 0,
                          last && bias ? bias + column : nullptr,
                          last ? s.activation : Activation::none};
        if constexpr (kTakes) {
          finish.foretell(finish.owner, row, rows, column, n);
          out.c = values;
          out.c_row = kTileColumns;
        }
        T* own_a = packed_a ? packed_a + (row - tiles.begin(a_first)) * a_panel_depth : nullptr;
        if (own_a && !(fill && j == j0)) {
          in.a = own_a;
          in.a_stride = rows;
          run_tile_columns(rows, in, out);
        } else if (s.a_col == 1) {
          in.a = a + row * s.a_row + p0;
          in.a_stride = s.a_row;
          run_tile_rows(rows, in, out);
        } else {
          in.a = a + row + p0 * s.a_col;
          in.a_stride = s.a_col;
          in.copy = own_a;
          run_tile_columns(rows, in, out);
        }
        if constexpr (kTakes)
          finish.give(finish.owner, row, rows, column, n, values, kTileColumns);
        else if (last)
          finish(row, rows, column, n);
      }
  }

  static constexpr int64_t kColumnsAtOnce = 16;
  void pack_a_tiles(int64_t i0, int64_t i1, int64_t p0, int64_t k, T* dst) const {
    const int64_t first = tiles.begin(i0);
    // Columns of A lie pages apart: some at a time, along all tiles.
    const int64_t step = s.a_col == 1 ? k : kColumnsAtOnce;
    for (int64_t p = 0; p < k; p += step)
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t row = tiles.begin(i), rows = tiles.rows(i);
        pack_a_panel(a + row * s.a_row + (p0 + p) * s.a_col, s.a_row, s.a_col, rows, min64(step, k - p),
                     dst + (row - first) * k + p * rows);
      }
  }

  void pack_b_panels(int64_t j0, int64_t j1, int64_t p0, int64_t k, T* dst) const {
    for (int64_t j = j0; j < j1; ++j) {
      const int64_t column = j * kTileColumns;
      pack_b_panel(b + p0 * s.b_row + column * s.b_col, s.b_row, s.b_col, k, min64(kTileColumns, s.n - column),
                   dst + (j - j0) * k * kTileColumns);
    }
  }

  // Each task: a group of panels of B, against all of A.
  void columns_private(Context& context) const {
    const int64_t work = s.m * s.k * kTileColumns;
    const bool pack_private = !packed_b && !b_in_place;
    int64_t group = ceil_div(kTaskWork, max64(work, 1));
    // A that L2 doesn't hold is read once per group.
    group = max64(group, max64(panels / 32, s.m * depth > 1 << 18 ? min64(8, panels / 4) : 1));
    group = min64(group, max64(1, (1 << 17) / (kTileColumns * depth)));
    const int64_t slab = a_in_place ? s.k : min64(s.k, max64(1, kSharedElements / s.m / depth) * depth);
    const size_t bytes = s.m * slab * sizeof(T);
    const bool copies = !a_in_place && s.n >= kPerCopy * thread_count();
    T* shared = a_in_place || copies ? nullptr : static_cast<T*>(thread_scratch(0, bytes));
    for (int64_t q0 = 0; q0 < s.k; q0 += slab) {
      const int64_t q1 = min64(s.k, q0 + slab);
      const auto pack_slab = [&](int64_t i0, int64_t i1, T* to) {
        for (int64_t p0 = q0; p0 < q1; p0 += depth) {
          const int64_t k = min64(depth, q1 - p0);
          pack_a_tiles(i0, i1, p0, k, to + (p0 - q0) * s.m + tiles.begin(i0) * k);
        }
      };
      if (shared)
        parallel_for(context, tiles.count, ceil_div(1 << 14, kTileRows * slab),
                     [&](int64_t i0, int64_t i1) { pack_slab(i0, i1, shared); });
      const uint64_t slab_id = copies ? next_slab_id() : 0;
      parallel_for(context, panels, group, [&](int64_t j0, int64_t j1) {
        bool fill = false;
        T* packed = shared;
        if (copies)
          packed = own_copy<T>(slab_id, bytes, [&](T* to) {
            fill = fills_while_reading();
            if (!fill) pack_slab(0, tiles.count, to);
          });
        T* own = nullptr;
        if (!packed_b)
          own = static_cast<T*>(thread_scratch(1, (pack_private ? j1 - j0 : 1) * kTileColumns * depth * sizeof(T)));
        for (int64_t p0 = q0; p0 < q1; p0 += depth) {
          const int64_t k = min64(depth, q1 - p0);
          const T* panel = packed_b ? packed_b + p0 * kTileColumns : nullptr;
          if (pack_private) {
            pack_b_panels(j0, j1, p0, k, own);
            panel = own;
          } else if (!packed_b && j1 == panels && s.n % kTileColumns) {
            pack_b_panels(panels - 1, panels, p0, k, own);
          }
          run(0, tiles.count, j0, j1, p0, packed ? packed + (p0 - q0) * s.m : nullptr, 0, k, panel, packed_b ? 0 : j0,
              packed_b ? s.k : k, true, own, j1 - j0, fill);
        }
      });
    }
  }

  // Each task: a group of row tiles of A, against all of B.
  void rows_private(Context& context) const {
    const int64_t work = s.n * s.k * kTileRows;
    int64_t group = ceil_div(kTaskWork, max64(work, 1));
    // Columns of A are read in whole lines where several tiles are packed together.
    group = max64(group, max64(tiles.count / 32, s.a_row == 1 && !a_in_place ? min64(4, tiles.count / 8) : 1));
    group = min64(group, max64(1, (1 << 17) / (kTileRows * depth)));
    const int64_t columns = panels * kTileColumns;
    // A slab of B: `wide` panels by `slab` of k.
    const int64_t wide = packed_b ? panels : min64(panels, max64(1, kSharedElements / (kTileColumns * depth)));
    const int64_t slab =
        packed_b ? s.k : min64(s.k, max64(1, kSharedElements / (min64(columns, wide * kTileColumns) * depth)) * depth);
    const size_t bytes = wide * kTileColumns * slab * sizeof(T);
    const bool copies = !packed_b && s.m >= kPerCopy * thread_count();
    T* shared = packed_b || copies ? nullptr : static_cast<T*>(thread_scratch(0, bytes));
    for (int64_t c0 = 0; c0 < panels; c0 += wide)
      for (int64_t q0 = 0; q0 < s.k; q0 += slab) {
        const int64_t c1 = min64(panels, c0 + wide), q1 = min64(s.k, q0 + slab);
        if (shared)
          parallel_for(context, c1 - c0, ceil_div(1 << 14, kTileColumns * slab), [&](int64_t begin, int64_t end) {
            pack_b_panels(c0 + begin, c0 + end, q0, q1 - q0, shared + begin * kTileColumns * (q1 - q0));
          });
        const uint64_t slab_id = copies ? next_slab_id() : 0;
        parallel_for(context, tiles.count, group, [&](int64_t i0, int64_t i1) {
          const T* packed =
              copies ? own_copy<T>(slab_id, bytes, [&](T* to) { pack_b_panels(c0, c1, q0, q1 - q0, to); }) : shared;
          T* own = nullptr;
          if (!a_in_place)
            own = static_cast<T*>(thread_scratch(1, (tiles.begin(i1) - tiles.begin(i0)) * depth * sizeof(T)));
          for (int64_t p0 = q0; p0 < q1; p0 += depth) {
            const int64_t k = min64(depth, q1 - p0);
            if (own) pack_a_tiles(i0, i1, p0, k, own);
            const T* panel = packed_b ? packed_b + p0 * kTileColumns : packed + (p0 - q0) * kTileColumns;
            run(i0, i1, c0, c1, p0, own, i0, k, panel, packed_b ? 0 : c0, packed_b ? s.k : q1 - q0, false, nullptr);
          }
        });
      }
  }

  // All of C by the calling thread, both operands packed per kDepth of k.
  void alone() const {
    T* packed = static_cast<T*>(thread_scratch(1, (s.m + panels * kTileColumns) * depth * sizeof(T)));
    T* panel = packed + s.m * depth;
    for (int64_t p0 = 0; p0 < s.k; p0 += depth) {
      const int64_t k = min64(depth, s.k - p0);
      pack_a_tiles(0, tiles.count, p0, k, packed);
      pack_b_panels(0, panels, p0, k, panel);
      run(0, tiles.count, 0, panels, p0, packed, 0, k, panel, 0, k, true, nullptr);
    }
  }

  bool cut_along_k() const {
    return !packed_b && s.m <= 512 && s.n <= 512 && s.m * s.n >= 1 << 15 && s.k >= 4 * kPartDepth;
  }

  // Each task: a part of k, with a sum of its own; the sums are added in order.
  void parts_of_k(Context& context) const {
    const int64_t parts = min64(kMostParts, s.k / kPartDepth), part = ceil_div(s.k, parts);
    T* sums = static_cast<T*>(thread_scratch(0, (parts - 1) * s.m * s.n * sizeof(T)));
    parallel_for(context, parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        MatmulShape own = s;
        own.k = min64(part, s.k - i * part);
        own.activation = Activation::none;
        own.accumulate = i == 0 && s.accumulate;
        if (i > 0) own.c_row = s.n;
        Product<T>(own, a + i * part * s.a_col, b + i * part * s.b_row, nullptr, nullptr,
                   i == 0 ? c : sums + (i - 1) * s.m * s.n)
            .alone();
      }
    });
    parallel_for(context, s.m, ceil_div(1 << 14, s.n * parts), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t i = 0; i + 1 < parts; ++i) {
          const T* from = sums + (i * s.m + row) * s.n;
          for (int64_t j = 0; j < s.n; ++j) c[row * s.c_row + j] += from[j];
        }
        if (bias)
          for (int64_t j = 0; j < s.n; ++j) c[row * s.c_row + j] += bias[j];
      }
      activate_rows(c + begin * s.c_row, end - begin, s.c_row, s.n, s.activation);
      finish(begin, end - begin, 0, s.n);
    });
  }

  bool by_columns() const {
    if (s.m <= 10 * kTileRows && 2 * panels >= tiles.count) return true;
    const bool small_b = s.m >= kManyRows && s.n * depth <= kSharedElements / 2;
    return s.m <= s.n && !small_b;
  }
  // Tasks that write whole rows of C, not strips, repay a shared B that is a little longer than A.
  static constexpr int64_t kManyRows = 256;

  // False, and nothing is written, where neither operand has zeros enough.
  bool leave_out_zeros(Context& context) const {
    SparseProduct<T> product{s, a, b, packed_b, bias, c};
    bool found = product.worth_a_look() && product.list(context);
    if constexpr (!kFinishes<Finish>)
      if (!found && !packed_b && !bias && !s.accumulate) {
        MatmulShape t = s;
        t.m = s.n, t.n = s.m;
        t.a_row = s.b_col, t.a_col = s.b_row, t.b_row = s.a_col, t.b_col = s.a_row;
        product = {t, b, a, nullptr, nullptr, c, true};
        found = product.worth_a_look() && product.list(context);
      }
    if (found) product.compute(finish, context);
    return found;
  }

  // Whether every path that this shape can go by gives complete blocks: one pass over k, no vectors.
  bool can_be_taken() const { return s.batch == 1 && s.m > 1 && s.n > 1 && s.k > 0 && s.k <= kDepth && !in_few_rows(); }
  bool in_few_rows() const { return !packed_b && ThinProduct<T, Finish>::in_few_rows(s); }

  void tiles_of(Context& context) const {
    if (by_columns())
      columns_private(context);
    else
      rows_private(context);
  }

  void compute(Context& context) const
    requires(kTakes)
  {
    if (!leave_out_zeros(context)) tiles_of(context);
  }

  void compute(Context& context) const
    requires(!kTakes)
  {
    if (s.k == 0) {
      for (int64_t i = 0; i < s.m; ++i)
        for (int64_t j = 0; j < s.n; ++j) {
          T* at = c + i * s.c_row + j;
          *at = (s.accumulate ? *at : T(0)) + (bias ? bias[j] : T(0));
        }
      activate_rows(c, s.m, s.c_row, s.n, s.activation);
      finish(0, s.m, 0, s.n);
    } else if (s.in_order) {
      tiles_of(context);
    } else if ((s.n == 1 || s.m == 1) && !packed_b) {
      ThinProduct<T, Finish>{s, a, b, bias, c, finish}.vector(context);
    } else if (in_few_rows()) {
      ThinProduct<T, Finish>{s, a, b, bias, c, finish}.few_rows(context);
    } else if (leave_out_zeros(context)) {
      return;
    } else if (cut_along_k()) {
      parts_of_k(context);
    } else {
      tiles_of(context);
    }
  }
};

}  // namespace dc::DC_ISA
