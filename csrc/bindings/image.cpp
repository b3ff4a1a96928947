#include "ops/image.h"

#include "bindings/bindings.h"

namespace dc {

void bind_image(py::module_& m) {
  using namespace py::literals;
  m.def(
      "resize",
      [](const Array& x, const Dims& size, int mode) { return ops::resize(x, size, static_cast<Resize>(mode)); }, "x"_a,
      "size"_a, "mode"_a, NoGil());
  m.def(
      "resize_grad",
      [](const Array& g, const Dims& shape, int mode) { return ops::resize_grad(g, shape, static_cast<Resize>(mode)); },
      "g"_a, "shape"_a, "mode"_a, NoGil());
  m.def("grid_sample", &ops::grid_sample, "x"_a, "grid"_a, "border"_a, "align_corners"_a, NoGil());
  m.def("grid_sample_grad", &ops::grid_sample_grad, "x"_a, "grid"_a, "g"_a, "border"_a, "align_corners"_a, "need_x"_a,
        "need_grid"_a, NoGil());
  m.def(
      "augment",
      [](const Array& x, const Array& rows, const std::optional<Array>& ids, const Array& gain, const Array& bias,
         const Dims& size, std::pair<int64_t, int64_t> shift, double flip, double rotate, double scale, double shear,
         int64_t cut, double fill, uint64_t seed, uint64_t stream) {
        AugmentShape s{};
        s.shift_h = shift.first, s.shift_w = shift.second, s.cut = cut;
        s.flip = static_cast<float>(flip), s.rotate = static_cast<float>(rotate);
        s.scale = static_cast<float>(scale), s.shear = static_cast<float>(shear), s.fill = static_cast<float>(fill);
        s.seed = seed, s.stream = stream;
        return ops::augment(x, rows, ids, gain, bias, size, s);
      },
      "x"_a, "rows"_a, "ids"_a, "gain"_a, "bias"_a, "size"_a, "shift"_a, "flip"_a, "rotate"_a, "scale"_a, "shear"_a,
      "cut"_a, "fill"_a, "seed"_a, "stream"_a, NoGil());
  m.def("mixup", &ops::mixup, "x"_a, "weight"_a, "partner"_a, NoGil());
}

}  // namespace dc
