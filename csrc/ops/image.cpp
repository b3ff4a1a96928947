#include "ops/image.h"

#include <cmath>

#include "ops/dispatch.h"
#include "ops/movement.h"
#include "ops/range.h"

namespace dc::ops {

namespace {

constexpr int64_t kLargest = 1 << 20;

ResizeShape resize_shape(const char* op, const Dims& x, const Dims& size, Resize mode) {
  DC_CHECK(x.size() == 4, ShapeError, op, ": expected x (n, h, w, c), got ", x);
  DC_CHECK(size.size() == 2 && size[0] >= 1 && size[1] >= 1 && size[0] < kLargest && size[1] < kLargest, ArgumentError,
           op, ": expected two sizes >= 1, got ", size);
  DC_CHECK(x[1] >= 1 && x[2] >= 1, ShapeError, op, ": expected an image of at least 1 x 1, got ", x);
  return {x[0], x[1], x[2], x[3], size[0], size[1], mode};
}

GridSampleShape grid_shape(const char* op, const Array& x, const Array& grid, bool border, bool align_corners) {
  DC_CHECK(x.ndim() == 4 && grid.ndim() == 4 && grid.shape(3) == 2 && x.shape(0) == grid.shape(0), ShapeError, op,
           ": expected x (n, h, w, c) and grid (n, p, q, 2), got ", x.shape(), " and ", grid.shape());
  DC_CHECK(x.shape(1) >= 1 && x.shape(2) >= 1, ShapeError, op, ": expected an image of at least 1 x 1, got ",
           x.shape());
  check_same_dtype(op, x, grid);
  check_same_device(op, x, grid);
  return {x.shape(0), x.shape(1), x.shape(2), x.shape(3), grid.shape(1), grid.shape(2), border, align_corners};
}

Array checked_rows(const char* op, const char* name, const Array& rows0, int64_t count, Device device) {
  DC_CHECK(rows0.ndim() == 1, ShapeError, op, ": expected ", name, " (n,), got ", rows0.shape());
  DC_CHECK(rows0.dtype() == DType::int64, DtypeError, op, ": expected int64 ", name, ", got ", rows0.dtype());
  DC_CHECK(rows0.device() == device, DeviceError, op, ": expected one device, got ", device, " and ", rows0.device());
  const Array rows = contiguous(rows0);
  return count < 0 ? rows : in_range(op, name, rows, {.low = 0, .high = count});
}

}  // namespace

Array resize(const Array& x0, const Dims& size, Resize mode) {
  const ResizeShape s = resize_shape("resize", x0.shape(), size, mode);
  const Array x = contiguous(x0);
  return dispatch_float("resize", x.dtype(), [&]<class T>(T) {
    Array y({s.n, s.p, s.q, s.c}, x.dtype(), x.device());
    if (y.size() > 0) kernels<T>(x.device()).image->resize(s, x.data<T>(), y.template data<T>(), context(x.device()));
    return y;
  });
}

Array resize_grad(const Array& g0, const Dims& shape, Resize mode) {
  DC_CHECK(g0.ndim() == 4, ShapeError, "resize_grad: expected a cotangent (n, p, q, c), got ", g0.shape());
  const ResizeShape s = resize_shape("resize_grad", shape, {g0.shape(1), g0.shape(2)}, mode);
  DC_CHECK(g0.shape(0) == s.n && g0.shape(3) == s.c, ShapeError, "resize_grad: expected a cotangent (", s.n, ", ", s.p,
           ", ", s.q, ", ", s.c, "), got ", g0.shape());
  const Array g = contiguous(g0);
  return dispatch_float("resize_grad", g.dtype(), [&]<class T>(T) {
    Array gx(shape, g.dtype(), g.device());
    if (gx.size() > 0)
      kernels<T>(g.device()).image->resize_grad(s, g.data<T>(), gx.template data<T>(), context(g.device()));
    return gx;
  });
}

Array grid_sample(const Array& x0, const Array& grid0, bool border, bool align_corners) {
  const GridSampleShape s = grid_shape("grid_sample", x0, grid0, border, align_corners);
  const Array x = contiguous(x0), grid = contiguous(grid0);
  return dispatch_float("grid_sample", x.dtype(), [&]<class T>(T) {
    Array y({s.n, s.p, s.q, s.c}, x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device())
          .image->grid_sample(s, x.data<T>(), grid.data<T>(), y.template data<T>(), context(x.device()));
    return y;
  });
}

std::pair<std::optional<Array>, std::optional<Array>> grid_sample_grad(const Array& x0, const Array& grid0,
                                                                       const Array& g0, bool border, bool align_corners,
                                                                       bool need_x, bool need_grid) {
  const char* op = "grid_sample_grad";
  const GridSampleShape s = grid_shape(op, x0, grid0, border, align_corners);
  const Dims expected{s.n, s.p, s.q, s.c};
  DC_CHECK(g0.shape() == expected, ShapeError, op, ": expected a cotangent ", expected, ", got ", g0.shape());
  check_same_dtype(op, x0, g0);
  check_same_device(op, x0, g0);
  const Array x = contiguous(x0), grid = contiguous(grid0), g = contiguous(g0);
  std::optional<Array> gx, ggrid;
  if (need_x) gx.emplace(x.shape(), x.dtype(), x.device());
  if (need_grid) ggrid.emplace(grid.shape(), x.dtype(), x.device());
  dispatch_float(op, x.dtype(), [&]<class T>(T) {
    kernels<T>(x.device())
        .image->grid_sample_grad(s, x.data<T>(), grid.data<T>(), g.data<T>(), gx ? gx->data<T>() : nullptr,
                                 ggrid ? ggrid->data<T>() : nullptr, context(x.device()));
  });
  return {gx, ggrid};
}

Array augment(const Array& x0, const Array& rows0, const std::optional<Array>& ids0, const Array& gain0,
              const Array& bias0, const Dims& size, const AugmentShape& options) {
  const char* op = "augment";
  DC_CHECK(x0.ndim() == 4 && x0.shape(1) >= 1 && x0.shape(2) >= 1, ShapeError, op,
           ": expected images (any, h, w, c), got ", x0.shape());
  DC_CHECK(size.size() == 2 && size[0] >= 1 && size[1] >= 1 && size[0] < kLargest && size[1] < kLargest, ArgumentError,
           op, ": expected two sizes >= 1, got ", size);
  AugmentShape s = options;
  s.h = x0.shape(1), s.w = x0.shape(2), s.c = x0.shape(3);
  s.p = size[0], s.q = size[1];
  DC_CHECK(s.shift_h >= 0 && s.shift_w >= 0 && s.cut >= 0 && s.shift_h < kLargest && s.shift_w < kLargest &&
               s.cut < kLargest,
           ArgumentError, op, ": expected shifts and cut >= 0, got ", s.shift_h, ", ", s.shift_w, " and ", s.cut);
  DC_CHECK(s.flip >= 0 && s.flip <= 1, ArgumentError, op, ": expected a probability of a flip in [0, 1], got ", s.flip);
  DC_CHECK(s.scale >= 0 && s.scale < 1, ArgumentError, op, ": expected a change of size in [0, 1), got ", s.scale);
  DC_CHECK(std::isfinite(s.rotate) && std::isfinite(s.shear) && std::isfinite(s.fill), ArgumentError, op,
           ": expected finite rotate, shear and fill, got ", s.rotate, ", ", s.shear, " and ", s.fill);
  const Dims channels{s.c};
  DC_CHECK(gain0.shape() == channels && bias0.shape() == channels, ShapeError, op, ": expected gain and bias ",
           channels, ", got ", gain0.shape(), " and ", bias0.shape());
  check_same_dtype(op, gain0, bias0);
  check_same_device(op, x0, gain0);
  check_same_device(op, x0, bias0);
  DC_CHECK(x0.dtype() == DType::uint8 || x0.dtype() == gain0.dtype(), DtypeError, op, ": expected images of uint8 or ",
           gain0.dtype(), ", got ", x0.dtype());
  const Array x = contiguous(x0), gain = contiguous(gain0), bias = contiguous(bias0);
  const Array rows = checked_rows(op, "rows", rows0, x.shape(0), x.device());
  std::optional<Array> ids;
  if (ids0) {
    ids = checked_rows(op, "ids", *ids0, -1, x.device());
    DC_CHECK(ids->size() == rows.size(), ShapeError, op, ": expected ", rows.size(), " ids, got ", ids->size());
  }
  s.n = rows.size();
  return dispatch_float(op, gain.dtype(), [&]<class T>(T) {
    const Device device = x.device();
    Array y({s.n, s.p, s.q, s.c}, gain.dtype(), device);
    if (y.size() == 0) return y;
    const ImageKernels<T>& kernel = *kernels<T>(device).image;
    const int64_t* id = ids ? ids->data<int64_t>() : nullptr;
    if (x.dtype() == DType::uint8)
      kernel.augment_bytes(s, x.data<uint8_t>(), rows.data<int64_t>(), id, gain.data<T>(), bias.data<T>(),
                           y.template data<T>(), context(device));
    else
      kernel.augment(s, x.data<T>(), rows.data<int64_t>(), id, gain.data<T>(), bias.data<T>(), y.template data<T>(),
                     context(device));
    return y;
  });
}

Array mixup(const Array& x0, const Array& weight0, const Array& partner0) {
  DC_CHECK(x0.ndim() >= 1, ShapeError, "mixup: expected x (n, ...), got ", x0.shape());
  const Dims expected{x0.shape(0)};
  DC_CHECK(weight0.shape() == expected && partner0.shape() == expected, ShapeError,
           "mixup: expected weights and partners ", expected, ", got ", weight0.shape(), " and ", partner0.shape());
  check_same_dtype("mixup", x0, weight0);
  check_same_device("mixup", x0, weight0);
  const Array x = contiguous(x0), weight = contiguous(weight0);
  const Array partner = checked_rows("mixup", "partners", partner0, x.shape(0), x.device());
  return dispatch_float("mixup", x.dtype(), [&]<class T>(T) {
    Array y(x.shape(), x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device())
          .image->mixup(x.shape(0), x.size() / x.shape(0), weight.data<T>(), partner.data<int64_t>(), x.data<T>(),
                        y.template data<T>(), context(x.device()));
    return y;
  });
}

}  // namespace dc::ops
