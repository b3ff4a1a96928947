// Forward steps of a recurrent layer; see rnn.cpp.
#pragma once
#include "cpu/norm_rows.h"
#include "cpu/rnn_steps.h"

namespace dc::DC_ISA {
namespace {

// Weights as panels: of u and the projection, as pack wrote them, and of w.
template <class T>
struct ForwardPanels {
  const T *u, *projection, *w;
};

template <RnnCell kCell, class T>
struct ForwardSteps {
  static constexpr int kGates = rnn_gates(kCell), kFirst = rnn_two_products(kCell) ? kGates - 1 : kGates;
  const RnnShape<T>& s;
  const RnnForward<T>& f;
  const ForwardPanels<T> panels;
  const Layer<T> layer;
  const bool apart;  // W x + b lies beside the sums, and nowhere else
  const RnnCellOptions<T> options;

  ForwardSteps(const RnnShape<T>& shape, const RnnForward<T>& forward, const ForwardPanels<T>& p)
      : s(shape),
        f(forward),
        panels(p),
        layer(shape),
        apart(f.inputs && !f.keep),
        options(layer.options(f.keep, apart ? kSumsStep : s.hidden, s.norm ? s.hidden : kSumsStep)) {}

  void run(Context& context) const {
    Stages stages{1, {Over::hidden}};
    if (rnn_two_products(kCell)) stages.over[stages.count++] = Over::hidden;
    if (s.norm) stages.over[stages.count++] = Over::rows;
    if (s.projection) stages.over[stages.count++] = Over::state;
    layer.run(context, true, stages, [&](int64_t step, int k, int64_t r0, int64_t r1, int64_t u0, int64_t u1) {
      const At at = of(step);
      if (stages.over[k] == Over::rows) return normal_rows(at, r0, r1);
      if (stages.over[k] == Over::state) return project(at, r0, r1, u0, u1);
      if (s.norm) return inner_products(at, r0, r1, u0, u1);
      gates(at, k == 1, r0, r1, u0, u1);
    });
  }

 private:
  // The arrays of one step, all rows; null where there are none.
  struct At {
    int64_t step, t;
    const T *before, *fed;
    T *h, *h_fed;
    T* gates;
    const T* c_before;
    T *c, *extra, *fresh, *out, *inner;
    const T *zoneout_h, *zoneout_c;
  };
  At of(int64_t step) const {
    const int64_t t = layer.time(step), from = layer.slot(step), to = layer.slot(step + 1);
    const int64_t kept = f.keep ? t * layer.c_step : 0, hidden = layer.c_step;
    const T* before = f.to.h + from * layer.h_step;
    return {step,
            t,
            before,
            f.to.fed ? f.to.fed + from * layer.h_step : before,
            f.to.h + to * layer.h_step,
            moved(f.to.fed, to * layer.h_step),
            apart ? nullptr : f.to.gates + t * s.batch * layer.width,
            moved(f.to.c, f.keep ? from * hidden : 0),
            moved(f.to.c, f.keep ? to * hidden : 0),
            moved(f.to.extra, kept),
            moved(f.to.fresh, kept),
            moved(f.to.out, kept),
            moved(f.to.inner, kept * kGates),
            moved(s.zoneout_h, t * layer.h_step),
            moved(s.zoneout_c, t * hidden)};
  }
  // Row r from a unit on; `h_unit` at what has the size of h.
  RnnAt<T> cell(const At& p, int64_t r, int64_t unit, T* gates_at, const T* sums) const {
    const int64_t o = r * s.hidden + unit, i = r * s.size + unit;
    return {gates_at,
            sums,
            p.before + i,
            p.h + i,
            moved(p.c_before, o),
            moved(p.c, o),
            moved(p.extra, o),
            unit,
            p.fed + i,
            moved(p.h_fed, i),
            moved(s.h_mask, i),
            moved(p.zoneout_h, i),
            moved(p.zoneout_c, o),
            moved(p.fresh, o),
            moved(p.out, o)};
  }

  // n units of a sequence that has ended: its state stays, and what the backward pass multiplies by 0 is finite.
  void stay(const At& p, int64_t r, int64_t unit, int64_t n) const {
    const int64_t o = r * s.hidden + unit;
    if (!s.projection) stay_h(p, r, unit, n);
    T* const unused[] = {p.extra, p.fresh, p.out};
    for (int64_t j = o; j < o + n; ++j) {
      if (p.c) p.c[j] = p.c_before[j];
      for (T* a : unused)
        if (a) a[j] = T(0);
    }
  }
  void stay_h(const At& p, int64_t r, int64_t unit, int64_t n) const {
    const int64_t o = r * s.size + unit;
    for (int64_t j = o; j < o + n; ++j) {
      p.h[j] = p.before[j];
      if (p.h_fed) p.h_fed[j] = p.fed[j];
    }
  }

  const T* panel(int64_t gate, int64_t block) const {
    return panels.u + (gate * layer.blocks + block) * s.size * kTileColumns;
  }
  int64_t depth(const At& p) const { return f.at_rest && p.step == 0 ? 0 : s.size; }

  // W x + b of the block, where the steps make it.
  void input_products(const At& p, int64_t row, int64_t rows, int64_t u, int64_t n, T* beside) const {
    const RnnInputs<T>& in = *f.inputs;
    const int64_t unit = u * kTileColumns;
    for (int g = 0; g < kGates; ++g) {
      const Part<T> part{in.x + p.t * s.batch * in.size, in.size, in.size,
                         panels.w + (g * layer.blocks + u) * in.size * kTileColumns};
      multiply(&part, 1, row, rows, n,
               apart ? beside + g * kSumsStep : p.gates + row * layer.width + g * s.hidden + unit,
               apart ? kTileColumns : layer.width, in.bias ? in.bias + g * s.hidden + unit : nullptr);
    }
  }

  void gates(const At& p, bool second, int64_t r0, int64_t r1, int64_t u0, int64_t u1) const {
    alignas(64) T sums[kGates * kSumsStep], beside[kGates * kSumsStep];
    const int64_t H = s.hidden, K = s.size, k = depth(p);
    const T* a = second ? p.extra : p.fed;
    const int first_gate = second ? kFirst : 0, gate_end = second ? kGates : kFirst;
    const Tiles tiles(r0, r1, K * static_cast<int64_t>(sizeof(T)));
    for (int64_t turn = u0; turn < u1; ++turn) {
      const int64_t u = layer.block_at(turn, p.step, u0, u1), unit = u * kTileColumns, n = layer.units(u);
      for (int64_t i = 0; i < tiles.count; ++i) {
        const int64_t row = tiles.row(i), rows = tiles.rows(i);
        if (f.inputs) input_products(p, row, rows, u, n, beside);
        if (rows == 1 && !second)
          multiply_row<T, kFirst>(a + row * K, k, panel(0, u), layer.blocks * K * kTileColumns, sums);
        for (int g = first_gate; g < gate_end && (rows > 1 || second); ++g) {
          // What the cell reads lies in short runs that the machine does not look ahead for; the panels of
          // earlier gates would drive it out of L1 again.
          for (int64_t r = row; r < row + rows && g + 1 == gate_end; ++r) {
            for (int other = first_gate; other < kGates && !f.inputs; ++other)
              fetch(p.gates + r * layer.width + other * H + unit, n);
            if (p.c_before) fetch(p.c_before + r * H + unit, n);
            if (p.c) fetch(p.c + r * H + unit, n);
            if (!s.projection) fetch(p.h + r * H + unit, n);
          }
          const Part<T> part{a, K, k, panel(g, u)};
          multiply(&part, 1, row, rows, n, sums + (g - first_gate) * kSumsStep);
        }
        for (int64_t r = row; r < row + rows; ++r) {
          if (!layer.takes_part(r, p.step)) {
            if (!second) stay(p, r, unit, n);
            continue;
          }
          T* gates_at = apart ? beside + (r - row) * kTileColumns : p.gates + r * layer.width + unit;
          for_lanes<T>(n, [&]<class V>(const auto& lanes, V, int64_t j) {
            const RnnAt<T> at = cell(p, r, unit + j, gates_at + j, sums + (r - row) * kTileColumns + j);
            if constexpr (rnn_two_products(kCell))
              if (second) return rnn_forward_second<kCell, V>(lanes, options, at);
            rnn_forward<kCell, V>(lanes, options, at);
          });
        }
      }
    }
  }

  // With norm: U h' as it is.
  void inner_products(const At& p, int64_t r0, int64_t r1, int64_t u0, int64_t u1) const {
    const int64_t K = s.size;
    const Tiles tiles(r0, r1, K * static_cast<int64_t>(sizeof(T)));
    for (int64_t turn = u0; turn < u1; ++turn) {
      const int64_t u = layer.block_at(turn, p.step, u0, u1);
      for (int64_t i = 0; i < tiles.count; ++i)
        for (int g = 0; g < kGates; ++g) {
          const Part<T> part{p.fed, K, depth(p), panel(g, u)};
          T* to = p.inner + tiles.row(i) * layer.width + g * s.hidden + u * kTileColumns;
          multiply(&part, 1, tiles.row(i), tiles.rows(i), layer.units(u), to, layer.width);
        }
    }
  }
  // The cells of whole rows, after it.
  void normal_rows(const At& p, int64_t r0, int64_t r1) const {
    const RnnNorm<T>& norm = *s.norm;
    const int64_t H = s.hidden;
    T* normal = static_cast<T*>(thread_scratch(5, (layer.width + H) * sizeof(T)));
    T* shown = normal + layer.width;
    for (int64_t r = r0; r < r1; ++r) {
      RowMoments<T> of_inner{T(0), T(0)}, of_c{T(0), T(0)};
      if (layer.takes_part(r, p.step)) {
        const T* inner = p.inner + r * layer.width;
        of_inner = row_moments(layer.width, norm.epsilon, inner);
        row_apply(layer.width, inner, of_inner, norm.gain_h, norm.shift_h, normal);
        const auto at = [&](int64_t j) { return cell(p, r, j, p.gates + r * layer.width + j, normal + j); };
        for_lanes<T>(H,
                     [&]<class V>(const auto& lanes, V, int64_t j) { rnn_forward<kCell, V>(lanes, options, at(j)); });
        if constexpr (rnn_has_c(kCell)) {
          const T* c = (p.fresh ? p.fresh : p.c) + r * H;
          of_c = row_moments(H, norm.epsilon, c);
          row_apply(H, c, of_c, norm.gain_c, norm.shift_c, shown);
          for_lanes<T>(H, [&]<class V>(const auto& lanes, V, int64_t j) {
            rnn_forward_shown(lanes, options, at(j), lanes.load(shown + j));
          });
        }
      } else {
        stay(p, r, 0, H);
      }
      if (!f.to.stats) continue;
      T* stats = f.to.stats + p.t * s.batch + r;
      const T values[] = {of_inner.mean, of_inner.rstd, of_c.mean, of_c.rstd};
      for (int i = 0; i < 4; ++i) stats[i * s.steps * s.batch] = values[i];
    }
  }

  void project(const At& p, int64_t r0, int64_t r1, int64_t u0, int64_t u1) const {
    alignas(64) T sums[kSumsStep];
    const int64_t H = s.hidden;
    const Tiles tiles(r0, r1, H * static_cast<int64_t>(sizeof(T)));
    At given = p;
    given.out = nullptr;
    for (int64_t turn = u0; turn < u1; ++turn) {
      const int64_t u = layer.block_at(turn, p.step, u0, u1), unit = u * kTileColumns, n = layer.h_units(u);
      for (int64_t i = 0; i < tiles.count; ++i) {
        const Part<T> part{p.out, H, H, panels.projection + u * H * kTileColumns};
        const int64_t row = tiles.row(i), rows = tiles.rows(i);
        multiply(&part, 1, row, rows, n, sums);
        for (int64_t r = row; r < row + rows; ++r) {
          if (!layer.takes_part(r, p.step)) {
            stay_h(p, r, unit, n);
            continue;
          }
          for_lanes<T>(n, [&]<class V>(const auto& lanes, V, int64_t j) {
            const RnnAt<T> at = cell(given, r, unit + j, nullptr, nullptr);
            rnn_put(lanes, options, at, lanes.load(sums + (r - row) * kTileColumns + j));
          });
        }
      }
    }
  }
};

}  // namespace
}  // namespace dc::DC_ISA
