// Optimizer steps in place over lists of arrays of one dtype; formulas in kernels/optim.h.
#pragma once
#include <vector>

#include "core/array.h"
#include "kernels/optim.h"

namespace dc::ops {

using Arrays = std::vector<Array>;

// The factors shared by all steps, and those of each; in double, cast to the dtype of the parameters.
struct StepOptions {
  double rate = 0, grad_scale = 1, l2 = 0, keep = 1;
};

void sgd_step(const Arrays& params, const Arrays& grads, const Arrays& momenta, const StepOptions& common,
              double momentum, bool nesterov);
void adagrad_step(const Arrays& params, const Arrays& grads, const Arrays& sums, const StepOptions& common,
                  double epsilon);
// means: empty unless centred; momenta: empty unless momentum != 0.
void rmsprop_step(const Arrays& params, const Arrays& grads, const Arrays& squares, const Arrays& means,
                  const Arrays& momenta, const StepOptions& common, double decay, double epsilon, double momentum);
void adadelta_step(const Arrays& params, const Arrays& grads, const Arrays& squares, const Arrays& moved,
                   const StepOptions& common, double decay, double epsilon);
struct AdamOptions {
  double beta1, beta2, epsilon, rate_g = 0, root_scale = 1;
  bool adaptive = true;
};
// largest: empty unless AMSGrad.
void adam_step(const Arrays& params, const Arrays& grads, const Arrays& means, const Arrays& squares,
               const Arrays& largest, const StepOptions& common, const AdamOptions& options);
void lion_step(const Arrays& params, const Arrays& grads, const Arrays& means, const StepOptions& common, double beta1,
               double beta2);

std::vector<double> squared_norms(const Arrays& arrays);
void scale_in_place(const Arrays& arrays, double factor);
// averages += (1 - decay) (arrays - averages).
void average_step(const Arrays& averages, const Arrays& arrays, double decay);
// Index of the first array with NaN or infinity, or -1.
int64_t first_not_finite(const Arrays& arrays);
// Scales slices of w along `axis` to Euclidean norm <= limit, in place.
void max_norm(const Array& w, int64_t axis, double limit);

}  // namespace dc::ops
