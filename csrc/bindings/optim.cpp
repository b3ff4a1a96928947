#include "ops/optim.h"

#include "bindings/bindings.h"

namespace dc {

void bind_optim(py::module_& m) {
  using namespace py::literals;
  using ops::Arrays;
  using ops::StepOptions;
  py::class_<StepOptions>(m, "StepOptions")
      .def(py::init([](double rate, double grad_scale, double l2, double keep) {
             return StepOptions{rate, grad_scale, l2, keep};
           }),
           "rate"_a, "grad_scale"_a = 1.0, "l2"_a = 0.0, "keep"_a = 1.0)
      .def_readwrite("rate", &StepOptions::rate);
  m.def("sgd_step", &ops::sgd_step, "params"_a, "grads"_a, "velocity"_a, "options"_a, "momentum"_a, "nesterov"_a,
        NoGil());
  m.def("adagrad_step", &ops::adagrad_step, "params"_a, "grads"_a, "squares"_a, "options"_a, "epsilon"_a, NoGil());
  m.def("rmsprop_step", &ops::rmsprop_step, "params"_a, "grads"_a, "states"_a, "options"_a, "decay"_a, "epsilon"_a,
        "centred"_a, "momentum"_a, NoGil());
  m.def("adadelta_step", &ops::adadelta_step, "params"_a, "grads"_a, "states"_a, "options"_a, "decay"_a, "epsilon"_a,
        NoGil());
  m.def("adam_step", &ops::adam_step, "params"_a, "grads"_a, "states"_a, "options"_a, "beta1"_a, "beta2"_a, "epsilon"_a,
        "rate_g"_a, "root_scale"_a, "amsgrad"_a, "adaptive"_a, NoGil());
  m.def("lion_step", &ops::lion_step, "params"_a, "grads"_a, "momentum"_a, "options"_a, "beta1"_a, "beta2"_a, NoGil());
  m.def("squared_norms", &ops::squared_norms, "grads"_a, NoGil());
  m.def("scale", &ops::scale, "arrays"_a, "factor"_a, NoGil());
  m.def("moving_average", &ops::moving_average, "params"_a, "averages"_a, "decay"_a, NoGil());
  m.def("first_not_finite", &ops::first_not_finite, "arrays"_a, NoGil());
  m.def("max_norm", &ops::max_norm, "w"_a, "outer"_a, "units"_a, "inner"_a, "limit"_a, NoGil());
}

}  // namespace dc
