// Restricted Boltzmann machines (kernels/rbm.h): checked, on arrays.
#pragma once
#include <optional>
#include <vector>

#include "core/array.h"
#include "kernels/rbm.h"

namespace dc::ops {

using MaybeArray = std::optional<Array>;

struct RbmOptions {
  RbmUnit visible = RbmUnit::bernoulli;
  int64_t visible_group = 1;
  RbmUnit hidden = RbmUnit::bernoulli;
  int64_t hidden_group = 1;
  bool exact = false;
};

// w (hidden, visible), b (visible), c (hidden), variance (visible) of Gaussian visible units.
struct RbmParameters {
  Array w, b, c;
  MaybeArray variance;
};

struct RbmHold {
  MaybeArray keep, where, value;
};

struct RbmHalfStepResult {
  Array mean;
  MaybeArray sample;
};
RbmHalfStepResult rbm_half_step(const RbmOptions& options, const RbmKey& key, bool up, const Array& x,
                                const RbmParameters& parameters, const MaybeArray& beta, const RbmHold& hold,
                                bool sample);

struct RbmGibbsOptions {
  int64_t steps = 1;
  bool from_data = false, sample_visible = true, sample_hidden = true;
};
struct RbmGibbsResult {
  MaybeArray data_mean;
  Array v, v_mean, h, h_mean;
};
RbmGibbsResult rbm_gibbs(const RbmOptions& options, const RbmKey& key, const RbmGibbsOptions& how,
                         const RbmParameters& parameters, const MaybeArray& data, const MaybeArray& state,
                         const MaybeArray& beta, const MaybeArray& data_keep, const MaybeArray& hidden_keep,
                         const RbmHold& visible);

Array rbm_free_energy(const Array& x, const Array& w, const Array& b, const Array& c);

struct RbmAnnealResult {
  Array v, log_weight;
};
RbmAnnealResult rbm_anneal(const RbmOptions& options, const RbmKey& key, const std::vector<double>& betas,
                           const Array& v, const RbmParameters& parameters, const Array& base, const Array& log_weight);

struct RbmStatistics {
  Array w, b, c;
};
RbmStatistics rbm_statistics(const Array& v0, const Array& h0, const Array& v1, const Array& h1);

struct RbmSwapResult {
  Array h, swapped;
};
RbmSwapResult rbm_swap(const RbmKey& key, int64_t copies, int64_t parity, const Array& beta, const Array& energy,
                       const Array& h);

}  // namespace dc::ops
