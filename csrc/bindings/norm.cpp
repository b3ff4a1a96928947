#include "ops/norm.h"

#include "bindings/bindings.h"

namespace dc {

void bind_norm(py::module_& m) {
  using namespace py::literals;
  m.def("batch_norm", &ops::batch_norm, "x"_a, "gamma"_a, "beta"_a, "running_mean"_a, "running_var"_a, "momentum"_a,
        "epsilon"_a, "relu"_a, NoGil());
  m.def("group_norm", &ops::group_norm, "x"_a, "gamma"_a, "beta"_a, "groups"_a, "epsilon"_a, NoGil());
  m.def("slab_norm_grad", &ops::slab_norm_grad, "x"_a, "g"_a, "mean"_a, "rstd"_a, "gamma"_a, "beta"_a, "per_sample"_a,
        "relu"_a, "need_x"_a, "need_affine"_a, NoGil());
  m.def("layer_norm", &ops::layer_norm, "x"_a, "gamma"_a, "beta"_a, "axes"_a, "epsilon"_a, NoGil());
  m.def("layer_norm_grad", &ops::layer_norm_grad, "x"_a, "g"_a, "mean"_a, "rstd"_a, "gamma"_a, "axes"_a, "need_x"_a,
        "need_affine"_a, NoGil());
  m.def("scale_shift", &ops::scale_shift, "x"_a, "scale"_a, "shift"_a, "relu"_a, NoGil());
}

}  // namespace dc
