// Restricted Boltzmann machines: half steps of Gibbs chains, chains, free energy, annealed importance sampling, swaps.
//
// w is (hidden, visible): the weight of a dense layer from visible to hidden units. With inverse temperature beta of a
// chain, the total input of a unit is z = beta (bias + sum of inputs times weights), and its distribution
//   bernoulli   1 with probability 1 / (1 + e^-z)
//   gaussian    normal, mean bias + sum, variance v / beta; what it feeds to the other side is its value / v
//               (Cho, Ilin, Raiko, "Improved learning of Gaussian-Bernoulli restricted Boltzmann machines", 2011)
//   softmax     one of each `group` consecutive units, with probability e^z / sum of the group's e^z
//   relu        max(0, z + noise of variance 1 / (1 + e^-z)), mean max(0, z) (Nair, Hinton, 2010)
//
// Random bits: unit u of chain r in half step t reads word u % 4 of philox(seed, stream = layer << 48 | t, block = r <<
// 24 | u / 4): a function of (seed, layer, step, chain, unit) alone. A normal number is made of the words of units 2i
// and 2i + 1, as in random.h; a softmax group reads the word of its first unit. Half step 2 s of a machine is the
// visible one of step s, 2 s + 1 the hidden one.
//
// exact: sums over inputs in order, each product and sum rounded on its own, and exp of the same operations on every
// back end: chains of Bernoulli units are the same bits everywhere. Otherwise they differ where u and p are within
// rounding of each other.
#pragma once
#include "kernel.h"

namespace dc {

enum class RbmUnit : int32_t { bernoulli = 0, gaussian = 1, softmax = 2, relu = 3 };

struct RbmKey {
  uint64_t seed, layer, step;
};

// `rows` are chains or samples. Every array is contiguous; null where the text says "or null".
template <class T>
struct RbmSide {
  int64_t count;  // units
  RbmUnit unit;
  int64_t group;      // of softmax units: divides count; else 1
  const T* bias;      // (count)
  const T* variance;  // (count), of Gaussian units, or null
};

template <class T>
struct RbmModel {
  RbmSide<T> visible, hidden;
  const T* w;  // (hidden, visible)
  bool exact;
};

// What constrains one side of `rows` chains, each (rows, count) or null.
template <class T>
struct RbmClamp {
  const T* keep;   // factors of mean and sample: dropout, missing entries
  const T* where;  // not 0: the unit is held at `value`
  const T* value;
};

template <class T>
struct RbmHalfStep {
  int64_t rows;
  bool up;        // from visible to hidden, or back
  const T* x;     // (rows, inputs), Gaussian inputs divided by their variance
  const T* beta;  // (rows) or null
  RbmClamp<T> clamp;
  T* mean;    // (rows, outputs)
  T* sample;  // (rows, outputs) or null
  T* fed;     // (rows, outputs) or null: sample (mean if null) / variance
};

// k steps of `chains` chains from hidden state h: each samples v given h, then h given v. Before, if rows > 0, the
// positive phase: mean (and, if from_data, state h of as many chains) of the hidden units given data.
template <class T>
struct RbmChains {
  int64_t chains, steps;
  int64_t rows;
  bool from_data;       // rows == chains
  bool sample_visible;  // else v is v_mean
  bool sample_hidden;   // else h is h_mean
  const T* data;        // (rows, visible), Gaussian units divided by their variance
  RbmClamp<T> data_clamp, hidden_clamp, visible_clamp;
  const T* beta;  // (chains) or null
  T* data_mean;   // (rows, hidden)
  T* v;           // (chains, visible)
  T* v_mean;      // (chains, visible); v where the visible units are not sampled
  T* v_fed;       // (chains, visible), or null where the visible units have no variance
  T* h;           // (chains, hidden): the state, in and out
  T* h_mean;      // (chains, hidden); h where the hidden units are not sampled
};

// Annealing from independent units (biases `base`, no weights) to the model, over inverse temperatures 0 = beta[0] <
// ... < beta[count] = 1 (Salakhutdinov, Murray, "On the quantitative analysis of deep belief networks", 2008). Hidden
// units are Bernoulli, visible ones not relu; of Gaussian units base is the bias.
template <class T>
struct RbmAnnealing {
  int64_t chains, count;
  const double* beta;  // (count + 1)
  const T* base;       // (visible)
  T* v;                // (chains, visible): in, a sample of the base; out, of the model
  T* v_fed;            // (chains, visible), or null where the visible units have no variance
  T* h;                // (chains, hidden), scratch, as the next two
  T* h_mean;
  T* terms;
  T* bias;             // (visible), scratch
  double* log_weight;  // (chains), added to
};

template <class T>
struct RbmKernels {
  // Elements of what pack writes: w in the order that both directions read.
  Kernel<int64_t(int64_t visible, int64_t hidden)> packed_size;
  Kernel<void(const RbmModel<T>&, T* packed, Context&)> pack;
  // packed: null or what pack wrote for the model's w.
  Kernel<void(const RbmModel<T>&, const RbmHalfStep<T>&, const RbmKey&, const T* packed, Context&)> half_step;
  Kernel<void(const RbmModel<T>&, const RbmChains<T>&, const RbmKey&, const T* packed, Context&)> gibbs;
  // f[i] = -x_i . bias - sum_j log(1 + e^(c_j + w_j . x_i)) of Bernoulli hidden units; z: (rows, hidden), scratch.
  Kernel<void(const RbmModel<T>&, int64_t rows, const T* x, T* z, T* f, Context&)> free_energy;
  Kernel<void(const RbmModel<T>&, const RbmAnnealing<T>&, const RbmKey&, const T* packed, Context&)> anneal;
  // gw (hidden, visible) = model's mean of h v^T - data's, gb (visible) and gc (hidden) likewise: the gradient of the
  // mean energy of data less that of the model's samples. scratch: (rows + chains) (visible + hidden).
  Kernel<void(const RbmModel<T>&, int64_t rows, const T* v0, const T* h0, int64_t chains, const T* v1, const T* h1,
              T* scratch, T* gw, T* gb, T* gc, Context&)>
      statistics;
  // Chains t copies + i and (t + 1) copies + i, for t = parity, parity + 2, ...: their states (rows of h) change
  // places with probability min(1, e^((beta_a - beta_b) (energy_a - energy_b))). Pair of chain a reads word 0 of
  // philox(seed, layer << 48 | 1 << 47 | step, a). swapped: (chains), 1 where a chain's state came from its partner.
  Kernel<void(int64_t chains, int64_t copies, int64_t parity, int64_t width, const T* beta, const T* energy, T* h,
              T* swapped, const RbmKey&, Context&)>
      swap;
};

}  // namespace dc
