// Optimizer steps in place over lists of arrays.
#pragma once
#include <vector>

#include "core/array.h"
#include "kernels/optim.h"

namespace dc::ops {

using Arrays = std::vector<Array>;

// Learning rate and decay common to all steps: g = grad * grad_scale + l2 * p, p = p * keep.
struct StepOptions {
  double rate, grad_scale = 1, l2 = 0, keep = 1;
};

void sgd_step(const Arrays& params, const Arrays& grads, const Arrays& velocity, const StepOptions& o, double momentum,
              bool nesterov);
// The step without momentum of a parameter (m, n) whose gradient is a (m, k) b (k, n): the same bits, and on the CPU
// the gradient is not stored where k is not long.
void sgd_step_of_product(const Array& param, const Array& a, const Array& b, const StepOptions& o);
void adagrad_step(const Arrays& params, const Arrays& grads, const Arrays& squares, const StepOptions& o,
                  double epsilon);
void rmsprop_step(const Arrays& params, const Arrays& grads, const std::vector<Arrays>& states, const StepOptions& o,
                  double decay, double epsilon, bool centred, double momentum);
void adadelta_step(const Arrays& params, const Arrays& grads, const std::vector<Arrays>& states, const StepOptions& o,
                   double decay, double epsilon);
void adam_step(const Arrays& params, const Arrays& grads, const std::vector<Arrays>& states, const StepOptions& o,
               double beta1, double beta2, double epsilon, double rate_g, double root_scale, bool amsgrad,
               bool adaptive);
void lion_step(const Arrays& params, const Arrays& grads, const Arrays& momentum, const StepOptions& o, double beta1,
               double beta2);

std::vector<double> squared_norms(const Arrays& grads);
void scale(const Arrays& arrays, double factor);
// averages += (1 - decay) (params - averages)
void moving_average(const Arrays& params, const Arrays& averages, double decay);
// Index of the first array with NaN or infinity, -1 if all are finite.
int64_t first_not_finite(const Arrays& arrays);
// Scales the slices w[:, u, :] of (outer, units, inner) to Euclidean norm <= limit, in place.
void max_norm(const Array& w, int64_t outer, int64_t units, int64_t inner, double limit);

}  // namespace dc::ops
