#include "ops/optim.h"

#include "bindings/bindings.h"

namespace dc {

void bind_optim(py::module_& m) {
  using namespace py::literals;
  using ops::Arrays, ops::StepOptions, ops::AdamOptions;
  py::class_<StepOptions>(m, "StepOptions")
      .def(py::init([](double rate, double grad_scale, double l2, double keep) {
             return StepOptions{rate, grad_scale, l2, keep};
           }),
           "rate"_a, "grad_scale"_a = 1.0, "l2"_a = 0.0, "keep"_a = 1.0);
  m.def("sgd_step", &ops::sgd_step, "params"_a, "grads"_a, "momenta"_a, "common"_a, "momentum"_a = 0.0,
        "nesterov"_a = false, NoGil());
  m.def("adagrad_step", &ops::adagrad_step, "params"_a, "grads"_a, "sums"_a, "common"_a, "epsilon"_a, NoGil());
  m.def("rmsprop_step", &ops::rmsprop_step, "params"_a, "grads"_a, "squares"_a, "means"_a, "momenta"_a, "common"_a,
        "decay"_a, "epsilon"_a, "momentum"_a = 0.0, NoGil());
  m.def("adadelta_step", &ops::adadelta_step, "params"_a, "grads"_a, "squares"_a, "moved"_a, "common"_a, "decay"_a,
        "epsilon"_a, NoGil());
  m.def(
      "adam_step",
      [](const Arrays& params, const Arrays& grads, const Arrays& means, const Arrays& squares, const Arrays& largest,
         const StepOptions& common, double beta1, double beta2, double epsilon, double rate_g, double root_scale,
         bool adaptive) {
        ops::adam_step(params, grads, means, squares, largest, common,
                       AdamOptions{beta1, beta2, epsilon, rate_g, root_scale, adaptive});
      },
      "params"_a, "grads"_a, "means"_a, "squares"_a, "largest"_a, "common"_a, "beta1"_a, "beta2"_a, "epsilon"_a,
      "rate_g"_a = 0.0, "root_scale"_a = 1.0, "adaptive"_a = true, NoGil());
  m.def("lion_step", &ops::lion_step, "params"_a, "grads"_a, "means"_a, "common"_a, "beta1"_a, "beta2"_a, NoGil());
  m.def("squared_norms", &ops::squared_norms, "arrays"_a, NoGil());
  m.def("scale_in_place", &ops::scale_in_place, "arrays"_a, "factor"_a, NoGil());
  m.def("average_step", &ops::average_step, "averages"_a, "arrays"_a, "decay"_a, NoGil());
  m.def("first_not_finite", &ops::first_not_finite, "arrays"_a, NoGil());
  m.def("max_norm", &ops::max_norm, "w"_a, "axis"_a, "limit"_a, NoGil());
}

}  // namespace dc
