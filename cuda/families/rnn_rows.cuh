// Recurrent layers with layer norm: the cells of whole rows after the product of a step; see rnn.cu.
// A block takes a row, its threads the units in turn, all gates of a unit: what a thread reads again it wrote itself.
// Means come from two passes over the row, as in norm_rows.cuh. Bound: latency of a launch; with many rows memory.
#pragma once
#include "device/block.cuh"
#include "families/rnn_steps.cuh"

namespace dc::cuda {

namespace {

template <class T>
struct RowMoments {
  T mean, rstd;
  DC_DEVICE T hat(T v) const { return (v - mean) * rstd; }
};

template <class T>
DC_DEVICE RowMoments<T> moments_of_row(const T* row, long long n, T epsilon DC_PLACE_PARAMETER) {
  T sum = 0, square = 0;
  for (long long k = thread_index().x; k < n; k += kRnnThreads) sum += row[k];
  const T mean = block_sum(sum DC_PLACE_ARGUMENT) / static_cast<T>(n);
  for (long long k = thread_index().x; k < n; k += kRnnThreads) square = fma_of(row[k] - mean, row[k] - mean, square);
  return {mean, T(1) / sqrt_of(block_sum(square DC_PLACE_ARGUMENT) / static_cast<T>(n) + epsilon)};
}

// rstd (g gain - mean(g gain) - hat mean(g gain hat)), from the two sums of this thread.
template <class T>
struct RowPull {
  RowMoments<T> of;
  T mean_g, mean_hat;
  DC_DEVICE RowPull(const RowMoments<T>& moments, long long n, T sum, T sum_hat DC_PLACE_PARAMETER)
      : of(moments),
        mean_g(block_sum(sum DC_PLACE_ARGUMENT) / static_cast<T>(n)),
        mean_hat(block_sum(sum_hat DC_PLACE_ARGUMENT) / static_cast<T>(n)) {}
  DC_DEVICE T operator()(T weighted, T value) const { return of.rstd * (weighted - mean_g - of.hat(value) * mean_hat); }
};

// The cotangent of gate `gate` / hidden of U h' after its norm: of gru's n it differs from that of (W x)_n.
template <class T>
DC_DEVICE T of_gate(const BackwardStep<T>& step, long long row, long long gate, long long unit) {
  if (step.dextra && gate + step.of.hidden == step.of.width) return step.dextra[row * step.of.hidden + unit];
  return step.dz[row * step.of.width + gate + unit];
}

// stats: of this step, `all` numbers apart; null where nothing is kept.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRnnThreads, 4)
    rnn_forward_rows(ForwardStep<T> step, RnnNorm<T> norm, T* stats, long long all) {
  const long long H = step.of.hidden, width = step.of.width;
  const int gates = static_cast<int>(width / H);
  for (long long row = block_index().x; row < step.of.batch; row += grid_size().x) {
    RowMoments<T> of_inner{}, of_c{};
    if (step.of.takes_part(row)) {
      const T* inner = step.inner + row * width;
      of_inner = moments_of_row(inner, width, norm.epsilon);
      for (long long unit = thread_index().x; unit < H; unit += kRnnThreads) {
        T sums[4] = {};
        DC_UNROLL
        for (int g = 0; g < 4; ++g)
          if (g < gates) {
            const long long k = g * H + unit;
            sums[g] = fma_of(of_inner.hat(inner[k]), norm.gain_h[k], norm.shift_h[k]);
          }
        const RnnAt<T> at = step.at(row, unit, sums);
        if (gates == 1) forward_cell<1>(step, at);
        if (gates == 3) forward_cell<3>(step, at);
        if (gates == 4) forward_cell<4>(step, at);
      }
      if (step.of.options.shown) {
        const T* c = (step.fresh ? step.fresh : step.c) + row * H;
        of_c = moments_of_row(c, H, norm.epsilon);
        for (long long unit = thread_index().x; unit < H; unit += kRnnThreads) {
          const Lane<T> shown{fma_of(of_c.hat(c[unit]), norm.gain_c[unit], norm.shift_c[unit])};
          const RnnAt<T> at = step.at(row, unit, nullptr);
          rnn_forward_shown(Numbers<T>(), step.of.options, at, shown);
        }
      }
    } else {
      for (long long unit = thread_index().x; unit < H; unit += kRnnThreads) step.stay(row, unit);
    }
    if (stats && thread_index().x == 0) {
      stats[row] = of_inner.mean;
      stats[row + all] = of_inner.rstd;
      stats[row + 2 * all] = of_c.mean;
      stats[row + 3 * all] = of_c.rstd;
    }
  }
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRnnThreads, 4)
    rnn_backward_rows(BackwardStep<T> step, RnnNorm<T> norm, const T* stats, long long all) {
  const long long H = step.of.hidden, width = step.of.width;
  const Numbers<T> numbers;
  const auto& options = step.of.options;
  for (long long row = block_index().x; row < step.of.batch; row += grid_size().x) {
    T *dinner = step.dinner + row * width, *dshown = moved(step.dshown, row * H);
    if (!step.of.takes_part(row)) {
      for (long long unit = thread_index().x; unit < H; unit += kRnnThreads) {
        step.clear(row, unit);
        for (long long gate = 0; gate < width; gate += H) dinner[gate + unit] = T(0);
        if (dshown) dshown[unit] = T(0);
      }
      continue;
    }
    const RowMoments<T> of_inner{stats[row], stats[row + all]}, of_c{stats[row + 2 * all], stats[row + 3 * all]};
    const T *given = (step.dh_of_cell ? step.dfresh : step.dout) + row * H, *c = moved(step.c, row * H);
    T sum = 0, sum_hat = 0;
    // The cotangent of c after its norm; tanh of that c in `squashed`.
    const auto squash = [&](long long unit, Lane<T>& squashed) {
      const Lane<T> shown{fma_of(of_c.hat(c[unit]), norm.gain_c[unit], norm.shift_c[unit])}, g{given[unit]};
      const T* gates = step.gates + row * width + unit;
      return rnn_backward_shown(numbers, options, gates, shown, g, &squashed).value;
    };
    if (options.shown)
      for (long long unit = thread_index().x; unit < H; unit += kRnnThreads) {
        Lane<T> squashed;
        const T g = squash(unit, squashed), weighted = g * norm.gain_c[unit];
        dshown[unit] = g;
        sum += weighted;
        sum_hat = fma_of(weighted, of_c.hat(c[unit]), sum_hat);
      }
    const RowPull<T> to_c(of_c, H, sum, sum_hat);
    sum = sum_hat = 0;
    for (long long unit = thread_index().x; unit < H; unit += kRnnThreads) {
      const RnnGradAt<T> at = step.at(row, unit);
      RnnShown<Lane<T>> shown{};
      if (options.shown) {
        squash(unit, shown.squashed);
        shown.dc = {to_c(dshown[unit] * norm.gain_c[unit], c[unit])};
      }
      const Lane<T> old{options.zoned_h && at.dh ? *at.dh : T(0)};
      backward_cell(step, at, Lane<T>{given[unit]}, old, shown);
      for (long long gate = 0; gate < width; gate += H) {
        const T weighted = of_gate(step, row, gate, unit) * norm.gain_h[gate + unit];
        sum += weighted;
        sum_hat = fma_of(weighted, of_inner.hat(step.inner[row * width + gate + unit]), sum_hat);
      }
    }
    const RowPull<T> to_inner(of_inner, width, sum, sum_hat);
    for (long long unit = thread_index().x; unit < H; unit += kRnnThreads)
      for (long long gate = 0; gate < width; gate += H)
        dinner[gate + unit] =
            to_inner(of_gate(step, row, gate, unit) * norm.gain_h[gate + unit], step.inner[row * width + gate + unit]);
  }
}

}  // namespace

}  // namespace dc::cuda
