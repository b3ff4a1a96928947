// Backward steps of a recurrent layer; see rnn.cpp.
#pragma once
#include "cpu/norm_rows.h"
#include "cpu/rnn_steps.h"

namespace dc::DC_ISA {
namespace {

constexpr int64_t kTilesAtOnce = 8;  // tiles of rows that meet a piece of a panel in turn

template <RnnCell kCell, class T>
struct BackwardSteps {
  static constexpr int kGates = rnn_gates(kCell);
  static constexpr bool kTwo = rnn_two_products(kCell);
  const RnnShape<T>& s;
  const RnnBackward<T>& b;
  const T *panels, *projection_panels;  // of the transposes of u and the projection
  const Layer<T> layer;
  const RnnCellOptions<T> options;

  BackwardSteps(const RnnShape<T>& shape, const RnnBackward<T>& backward, const T* of_u, const T* of_projection)
      : s(shape),
        b(backward),
        panels(of_u),
        projection_panels(of_projection),
        layer(shape),
        options(layer.options(true, s.hidden, kSumsStep)) {}

  void run(Context& context) const {
    Stages stages{0, {}};
    if (s.projection || s.norm) stages.over[stages.count++] = Over::state;
    if (s.projection || !s.norm) stages.over[stages.count++] = Over::hidden;
    if (s.norm) stages.over[stages.count++] = Over::rows;
    if (kTwo) stages.over[stages.count++] = Over::hidden;
    layer.run(context, false, stages, [&](int64_t step, int k, int64_t r0, int64_t r1, int64_t u0, int64_t u1) {
      const At at = of(step);
      if (stages.over[k] == Over::rows) return normal_rows(at, r0, r1);
      if (stages.over[k] == Over::state) return states(at, r0, r1, u0, u1);
      if (s.projection) return outputs(at, r0, r1, u0, u1);
      gates(at, k == 1, r0, r1, u0, u1);
    });
    if (b.to_start && s.steps > 0) start(context);
  }

 private:
  // The arrays of one step, all rows; null where there are none.
  struct At {
    int64_t step;
    const T *gates, *before, *h, *c_before, *c, *extra, *fed, *g, *zoneout_h, *zoneout_c;
    T *dz, *dextra, *dfresh;
  };
  At of(int64_t step) const {
    const int64_t t = layer.time(step), from = layer.slot(step), to = layer.slot(step + 1), hidden = layer.c_step;
    const T* gates = b.from.gates + t * s.batch * layer.width;
    // The functions of cells without gates are differentiated by their values.
    const bool from_gates = kGates == 1 && s.zoned_h();
    return {step,
            gates,
            b.from.h + from * layer.h_step,
            from_gates ? gates : b.from.h + to * layer.h_step,
            moved(b.from.c, from * hidden),
            b.from.fresh ? b.from.fresh + t * hidden : moved(b.from.c, to * hidden),
            moved(b.from.extra, t * hidden),
            moved(b.from.fed, from * layer.h_step),
            moved(b.g, t * layer.h_step),
            moved(s.zoneout_h, t * layer.h_step),
            moved(s.zoneout_c, t * hidden),
            b.dz + t * s.batch * layer.width,
            moved(b.dextra, t * hidden),
            moved(b.dfresh, t * layer.h_step)};
  }
  RnnGradAt<T> cell(const At& p, int64_t r, int64_t unit) const {
    const int64_t o = r * s.hidden + unit, i = r * s.size + unit, w = r * layer.width + unit;
    return {p.gates + w,
            p.before + i,
            p.h + i,
            moved(p.c_before, o),
            moved(p.c, o),
            moved(p.extra, o),
            s.projection ? nullptr : b.dh + i,
            moved(b.dc, o),
            p.dz + w,
            moved(p.dextra, o),
            unit,
            moved(p.fed, i),
            moved(s.h_mask, i),
            moved(p.zoneout_h, i),
            moved(p.zoneout_c, o)};
  }

  // What the dz of a step give to the state before it, for one block of h: the parts of the product.
  int given_by(int64_t step, int64_t u, Part<T> (&parts)[2]) const {
    const int64_t t = layer.time(step), H = s.hidden, width = layer.width;
    const T* dz = (s.norm ? b.dinner : b.dz) + t * s.batch * width;
    const T* own = panels + u * width * kTileColumns;
    if (kCell == RnnCell::gru && !s.norm) {
      parts[0] = {dz, width, 2 * H, own};
      parts[1] = {b.dextra + t * layer.c_step, H, H, own + 2 * H * kTileColumns};
      return 2;
    }
    parts[0] = {dz, width, kTwo ? width - H : width, own};
    return 1;
  }
  int given_by_next(const At& p, int64_t u, Part<T> (&parts)[2]) const {
    if (p.step + 1 < s.steps) return given_by(p.step + 1, u, parts);
    parts[0] = {};
    return 1;
  }
  Tiles tiles_of(int64_t r0, int64_t r1, int64_t row) const {
    return Tiles(r0, r1, row * static_cast<int64_t>(sizeof(T)));
  }
  // f(row, sums of it) for all rows of the tiles, a few tiles at a time.
  template <class F>
  static void for_rows(const Tiles& tiles, const Part<T>* parts, int count, int64_t n, const F& f) {
    alignas(64) T sums[kTilesAtOnce * kSumsStep];
    for (int64_t i0 = 0; i0 < tiles.count; i0 += kTilesAtOnce) {
      const int64_t i1 = min64(tiles.count, i0 + kTilesAtOnce);
      for (int64_t i = i0; i < i1; ++i)
        multiply(parts, count, tiles.row(i), tiles.rows(i), n, sums + (i - i0) * kSumsStep);
      for (int64_t i = i0; i < i1; ++i)
        for (int64_t r = 0; r < tiles.rows(i); ++r) f(tiles.row(i) + r, sums + (i - i0) * kSumsStep + r * kTileColumns);
    }
  }

  // Of a sequence that has ended: n units of what comes for its state only go by.
  void pass(int64_t r, int64_t unit, int64_t n, const T* sums) const {
    const int64_t o = r * s.size + unit;
    for (int64_t j = 0; j < n; ++j) b.dh[o + j] += s.h_mask ? sums[j] * s.h_mask[o + j] : sums[j];
  }
  void clear(const At& p, int64_t r, int64_t unit, int64_t n) const {
    for (int64_t j = unit; j < unit + n; ++j) {
      for (int g = 0; g < kGates; ++g) p.dz[r * layer.width + g * s.hidden + j] = T(0);
      if (p.dextra) p.dextra[r * s.hidden + j] = T(0);
    }
  }

  // Whole steps, where neither projection nor norm stands between h and the cell.
  void gates(const At& p, bool second, int64_t r0, int64_t r1, int64_t u0, int64_t u1) const {
    const int64_t H = s.hidden, width = layer.width;
    const Tiles tiles = tiles_of(r0, r1, width);
    for (int64_t turn = u0; turn < u1; ++turn) {
      const int64_t u = layer.block_at(turn, p.step, u0, u1), unit = u * kTileColumns, n = layer.units(u);
      Part<T> parts[2] = {};
      int count = 1;
      if (second)
        parts[0] = {p.dz + width - H, width, H, panels + (u * width + width - H) * kTileColumns};
      else
        count = given_by_next(p, u, parts);
      for_rows(tiles, parts, count, n, [&](int64_t r, const T* sums) {
        if (!layer.takes_part(r, p.step)) {
          if (second) return;
          pass(r, unit, n, sums);
          return clear(p, r, unit, n);
        }
        for_lanes<T>(n, [&]<class V>(const auto& lanes, V, int64_t j) {
          const RnnGradAt<T> at = cell(p, r, unit + j);
          const V sum = lanes.load(sums + j);
          if constexpr (kTwo)
            if (second) return rnn_backward_second<kCell, V>(lanes, options, at, sum);
          V g = rnn_grad_of_h(lanes, at, moved(p.g, r * H + unit + j), sum), old = V::zero();
          if (options.zoned_h) g = rnn_split(lanes, at.zoneout_h, options.mix_h, g, &old);
          rnn_backward<kCell, V>(lanes, options, at, g, old, RnnShown<V>{});
        });
      });
    }
  }

  // Otherwise: the cotangent of h before zoneout.
  void states(const At& p, int64_t r0, int64_t r1, int64_t u0, int64_t u1) const {
    const Tiles tiles = tiles_of(r0, r1, layer.width);
    for (int64_t turn = u0; turn < u1; ++turn) {
      const int64_t u = layer.block_at(turn, p.step, u0, u1), unit = u * kTileColumns, n = layer.h_units(u);
      Part<T> parts[2] = {};
      const int count = given_by_next(p, u, parts);
      for_rows(tiles, parts, count, n, [&](int64_t r, const T* sums) {
        const int64_t o = r * s.size + unit;
        if (!layer.takes_part(r, p.step)) {
          pass(r, unit, n, sums);
          for (int64_t j = o; j < o + n; ++j) p.dfresh[j] = T(0);
          return;
        }
        for_lanes<T>(n, [&]<class V>(const auto& lanes, V, int64_t j) {
          RnnGradAt<T> at{};
          at.dh = b.dh + o + j;
          at.mask = moved(s.h_mask, o + j);
          V g = rnn_grad_of_h(lanes, at, moved(p.g, o + j), lanes.load(sums + j)), old = V::zero();
          if (options.zoned_h) g = rnn_split(lanes, moved(p.zoneout_h, o + j), options.mix_h, g, &old);
          lanes.store(p.dfresh + o + j, g);
          lanes.store(at.dh, old);
        });
      });
    }
  }
  // Then through the projection, to the cell or, with norm, to `dout`.
  void outputs(const At& p, int64_t r0, int64_t r1, int64_t u0, int64_t u1) const {
    const int64_t H = s.hidden, K = s.size;
    const Tiles tiles = tiles_of(r0, r1, K);
    for (int64_t turn = u0; turn < u1; ++turn) {
      const int64_t u = layer.block_at(turn, p.step, u0, u1), unit = u * kTileColumns, n = layer.units(u);
      const Part<T> part{p.dfresh, K, K, projection_panels + u * K * kTileColumns};
      for_rows(tiles, &part, 1, n, [&](int64_t r, const T* sums) {
        if (!layer.takes_part(r, p.step)) {
          if (!s.norm) clear(p, r, unit, n);
          return;
        }
        for_lanes<T>(n, [&]<class V>(const auto& lanes, V, int64_t j) {
          const V g = lanes.load(sums + j);
          if (s.norm) return lanes.store(b.dout + r * H + unit + j, g);
          rnn_backward<kCell, V>(lanes, options, cell(p, r, unit + j), g, V::zero(), RnnShown<V>{});
        });
      });
    }
  }
  // With norm: the cells of whole rows, and from their dz that of U h'.
  void normal_rows(const At& p, int64_t r0, int64_t r1) const {
    const RnnNorm<T>& norm = *s.norm;
    const int64_t H = s.hidden, width = layer.width, t = layer.time(p.step), all = s.steps * s.batch;
    T* squashed = static_cast<T*>(thread_scratch(5, (2 * H + width) * sizeof(T)));
    T *dc_shown = squashed + H, *of_gates = dc_shown + H;
    for (int64_t r = r0; r < r1; ++r) {
      T* dinner = b.dinner + (t * s.batch + r) * width;
      T* dshown = moved(b.dshown, t * layer.c_step + r * H);
      if (!layer.takes_part(r, p.step)) {
        clear(p, r, 0, H);
        for (int64_t j = 0; j < width; ++j) dinner[j] = T(0);
        for (int64_t j = 0; j < H && dshown; ++j) dshown[j] = T(0);
        continue;
      }
      const T* stats = b.from.stats + t * s.batch + r;
      const RowMoments<T> of_inner{stats[0], stats[all]}, of_c{stats[2 * all], stats[3 * all]};
      const T* given = s.projection ? b.dout + r * H : p.dfresh + r * H;
      if constexpr (rnn_has_c(kCell)) {
        const T* c = p.c + r * H;
        row_apply(H, c, of_c, norm.gain_c, norm.shift_c, squashed);
        for_lanes<T>(H, [&]<class V>(const auto& lanes, V, int64_t j) {
          V value;
          lanes.store(dshown + j, rnn_backward_shown(lanes, options, p.gates + r * width + j, lanes.load(squashed + j),
                                                     lanes.load(given + j), &value));
          lanes.store(squashed + j, value);
        });
        row_pull(H, c, static_cast<const T*>(dshown), of_c, norm.gain_c, dc_shown);
      }
      for_lanes<T>(H, [&]<class V>(const auto& lanes, V, int64_t j) {
        const RnnGradAt<T> at = cell(p, r, j);
        RnnShown<V> shown{};
        if constexpr (rnn_has_c(kCell)) shown = {lanes.load(squashed + j), lanes.load(dc_shown + j)};
        const V old = options.zoned_h && at.dh ? lanes.load(at.dh) : V::zero();
        rnn_backward<kCell, V>(lanes, options, at, lanes.load(given + j), old, shown);
      });
      const T* dz = p.dz + r * width;
      if (p.dextra) {  // what reaches U_n h' differs from what reaches (W x)_n
        ::memcpy(of_gates, dz, static_cast<size_t>(width - H) * sizeof(T));
        ::memcpy(of_gates + width - H, p.dextra + r * H, static_cast<size_t>(H) * sizeof(T));
        dz = of_gates;
      }
      row_pull(width, b.from.inner + (t * s.batch + r) * width, dz, of_inner, norm.gain_h, dinner);
    }
  }

  // To the state before the first step.
  void start(Context& context) const {
    const Tiles tiles = tiles_of(0, s.batch, layer.width);
    parallel_for(context, layer.h_blocks, ceil_div(layer.h_blocks, thread_count()), [&](int64_t u0, int64_t u1) {
      for (int64_t u = u0; u < u1; ++u) {
        Part<T> parts[2];
        const int count = given_by(0, u, parts);
        const int64_t n = layer.h_units(u);
        for_rows(tiles, parts, count, n, [&](int64_t r, const T* sums) { pass(r, u * kTileColumns, n, sums); });
      }
    });
  }
};

}  // namespace
}  // namespace dc::DC_ISA
