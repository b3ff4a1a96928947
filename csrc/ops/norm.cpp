#include "ops/norm.h"

#include "kernels/norm.h"
#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

namespace {

template <class T>
T* pointer(const std::optional<Array>& a) {
  return a ? a->data<T>() : nullptr;
}

std::optional<Array> check_vector(const char* op, const char* name, const Array& x, const std::optional<Array>& v,
                                  const Dims& shape) {
  if (!v) return std::nullopt;
  DC_CHECK(v->shape() == shape, ShapeError, op, ": expected ", name, " ", shape, " for x ", x.shape(), ", got ",
           v->shape());
  check_same_dtype(op, x, *v);
  check_same_device(op, x, *v);
  return contiguous(*v);
}

SlabNormShape slab_shape(const char* op, const Array& x, bool per_sample, int64_t groups) {
  DC_CHECK(x.ndim() >= 2, ShapeError, op, ": expected x (n, ..., c), got ", x.shape());
  SlabNormShape s{};
  s.c = x.shape(x.ndim() - 1);
  s.slabs = per_sample ? x.shape(0) : 1;
  s.groups = groups;
  s.rows = 1;
  for (int d = per_sample ? 1 : 0; d + 1 < x.ndim(); ++d) s.rows *= x.shape(d);
  DC_CHECK(s.rows > 0 || s.slabs == 0 || s.c == 0, ShapeError, op, ": no values to take statistics of in x ",
           x.shape());
  return s;
}

void check_epsilon(const char* op, double epsilon) {
  DC_CHECK(epsilon >= 0, ArgumentError, op, ": expected epsilon >= 0, got ", epsilon);
}

Array* check_running(const Array& x, std::optional<Array>& running, int64_t c) {
  if (!running) return nullptr;
  DC_CHECK(running->shape() == Dims{c} && running->is_contiguous(), ShapeError,
           "batch_norm: expected running statistics (", c, ",), contiguous, got ", running->shape());
  check_same_dtype("batch_norm", x, *running);
  check_same_device("batch_norm", x, *running);
  DC_CHECK(!running->storage()->readonly(), ArgumentError, "batch_norm: the running statistics are read-only memory");
  return &*running;
}

}  // namespace

std::tuple<Array, Array, Array> batch_norm(const Array& x0, const std::optional<Array>& gamma0,
                                           const std::optional<Array>& beta0, const std::optional<Array>& running_mean0,
                                           const std::optional<Array>& running_var0, double momentum, double epsilon,
                                           bool relu) {
  const int64_t c = x0.ndim() ? x0.shape(x0.ndim() - 1) : 0;
  SlabNormShape s = slab_shape("batch_norm", x0, false, c);
  s.relu = relu;
  check_epsilon("batch_norm", epsilon);
  DC_CHECK(momentum >= 0 && momentum <= 1, ArgumentError, "batch_norm: expected momentum in [0, 1], got ", momentum);
  const Array x = contiguous(x0);
  const auto gamma = check_vector("batch_norm", "gamma", x, gamma0, {c});
  const auto beta = check_vector("batch_norm", "beta", x, beta0, {c});
  DC_CHECK(running_mean0.has_value() == running_var0.has_value(), ArgumentError,
           "batch_norm: expected both running statistics or none");
  std::optional<Array> running_mean = running_mean0, running_var = running_var0;
  Array *rm = check_running(x, running_mean, c), *rv = check_running(x, running_var, c);
  return dispatch_float("batch_norm", x.dtype(), [&]<class T>(T) -> std::tuple<Array, Array, Array> {
    const Device device = x.device();
    const NormKernels<T>& kernel = *kernels<T>(device).norm;
    Array y(x.shape(), x.dtype(), device), mean({c}, x.dtype(), device), rstd({c}, x.dtype(), device);
    Array variance({c}, x.dtype(), device);
    if (y.size() > 0) {
      kernel.slab(s, static_cast<T>(epsilon), x.data<T>(), pointer<T>(gamma), pointer<T>(beta), y.template data<T>(),
                  mean.template data<T>(), rstd.template data<T>(), variance.template data<T>(), context(device));
      if (rm) {
        kernel.update_running(c, s.rows, static_cast<T>(momentum), mean.template data<T>(), variance.template data<T>(),
                              rm->template data<T>(), rv->template data<T>(), context(device));
        rm->storage()->touch();
        rv->storage()->touch();
      }
    }
    return {y, mean, rstd};
  });
}

std::tuple<Array, Array, Array> group_norm(const Array& x0, const std::optional<Array>& gamma0,
                                           const std::optional<Array>& beta0, int64_t groups, double epsilon) {
  const int64_t c = x0.ndim() ? x0.shape(x0.ndim() - 1) : 0;
  DC_CHECK(groups >= 1 && c % groups == 0, ArgumentError, "group_norm: expected groups that divide the ", c,
           " channels, got ", groups);
  const SlabNormShape s = slab_shape("group_norm", x0, true, groups);
  check_epsilon("group_norm", epsilon);
  const Array x = contiguous(x0);
  const auto gamma = check_vector("group_norm", "gamma", x, gamma0, {c});
  const auto beta = check_vector("group_norm", "beta", x, beta0, {c});
  return dispatch_float("group_norm", x.dtype(), [&]<class T>(T) -> std::tuple<Array, Array, Array> {
    const Device device = x.device();
    Array y(x.shape(), x.dtype(), device);
    Array mean({s.slabs, groups}, x.dtype(), device), rstd({s.slabs, groups}, x.dtype(), device);
    if (y.size() > 0)
      kernels<T>(device).norm->slab(s, static_cast<T>(epsilon), x.data<T>(), pointer<T>(gamma), pointer<T>(beta),
                                    y.template data<T>(), mean.template data<T>(), rstd.template data<T>(), nullptr,
                                    context(device));
    return {y, mean, rstd};
  });
}

Grads slab_norm_grad(const Array& x0, const Array& g0, const Array& mean, const Array& rstd,
                     const std::optional<Array>& gamma0, const std::optional<Array>& beta0, bool per_sample, bool relu,
                     bool need_x, bool need_affine) {
  const char* op = per_sample ? "group_norm_grad" : "batch_norm_grad";
  DC_CHECK(x0.shape() == g0.shape(), ShapeError, op, ": expected a cotangent ", x0.shape(), ", got ", g0.shape());
  check_same_dtype(op, x0, g0);
  check_same_device(op, x0, g0);
  DC_CHECK(mean.ndim() >= 1, ShapeError, op, ": expected statistics, got ", mean.shape());
  SlabNormShape s = slab_shape(op, x0, per_sample, mean.shape(mean.ndim() - 1));
  s.relu = relu;
  const Dims expected = per_sample ? Dims{s.slabs, s.groups} : Dims{s.c};
  DC_CHECK(mean.shape() == expected && rstd.shape() == expected && mean.is_contiguous() && rstd.is_contiguous(),
           ShapeError, op, ": expected statistics ", expected, ", got ", mean.shape(), " and ", rstd.shape());
  check_same_dtype(op, x0, mean);
  check_same_dtype(op, x0, rstd);
  const Array x = contiguous(x0), g = contiguous(g0);
  const auto gamma = check_vector(op, "gamma", x, gamma0, {s.c}), beta = check_vector(op, "beta", x, beta0, {s.c});
  std::optional<Array> gx, ggamma, gbeta;
  if (need_x) gx.emplace(x.shape(), x.dtype(), x.device());
  if (need_affine) {
    ggamma.emplace(Dims{s.c}, x.dtype(), x.device());
    gbeta.emplace(Dims{s.c}, x.dtype(), x.device());
  }
  dispatch_float(op, x.dtype(), [&]<class T>(T) {
    kernels<T>(x.device())
        .norm->slab_grad(s, x.data<T>(), g.data<T>(), mean.data<T>(), rstd.data<T>(), pointer<T>(gamma),
                         pointer<T>(beta), pointer<T>(gx), pointer<T>(ggamma), pointer<T>(gbeta), context(x.device()));
  });
  return {gx, ggamma, gbeta};
}

namespace {

struct RowView {
  int64_t rows = 1, c = 1;
  Dims lead, tail;
};

RowView row_view(const char* op, const Array& x, int64_t axes) {
  DC_CHECK(axes >= 1 && axes <= x.ndim(), ShapeError, op, ": expected statistics over 1 to ", x.ndim(), " axes of x ",
           x.shape(), ", got ", axes);
  RowView r;
  for (int d = 0; d < x.ndim(); ++d) {
    const bool lead = d < x.ndim() - axes;
    (lead ? r.rows : r.c) *= x.shape(d);
    (lead ? r.lead : r.tail).push_back(x.shape(d));
  }
  DC_CHECK(r.c > 0 || r.rows == 0, ShapeError, op, ": no values to take statistics of in x ", x.shape());
  return r;
}

}  // namespace

std::tuple<Array, Array, Array> layer_norm(const Array& x0, const std::optional<Array>& gamma0,
                                           const std::optional<Array>& beta0, int64_t axes, double epsilon) {
  const RowView r = row_view("layer_norm", x0, axes);
  check_epsilon("layer_norm", epsilon);
  const Array x = contiguous(x0);
  const auto gamma = check_vector("layer_norm", "gamma", x, gamma0, r.tail);
  const auto beta = check_vector("layer_norm", "beta", x, beta0, r.tail);
  return dispatch_float("layer_norm", x.dtype(), [&]<class T>(T) -> std::tuple<Array, Array, Array> {
    const Device device = x.device();
    Array y(x.shape(), x.dtype(), device), mean(r.lead, x.dtype(), device), rstd(r.lead, x.dtype(), device);
    if (y.size() > 0)
      kernels<T>(device).norm->row(r.rows, r.c, static_cast<T>(epsilon), x.data<T>(), pointer<T>(gamma),
                                   pointer<T>(beta), y.template data<T>(), mean.template data<T>(),
                                   rstd.template data<T>(), context(device));
    return {y, mean, rstd};
  });
}

Grads layer_norm_grad(const Array& x0, const Array& g0, const Array& mean, const Array& rstd,
                      const std::optional<Array>& gamma0, int64_t axes, bool need_x, bool need_affine) {
  const char* op = "layer_norm_grad";
  const RowView r = row_view(op, x0, axes);
  DC_CHECK(x0.shape() == g0.shape(), ShapeError, op, ": expected a cotangent ", x0.shape(), ", got ", g0.shape());
  DC_CHECK(mean.shape() == r.lead && rstd.shape() == r.lead && mean.is_contiguous() && rstd.is_contiguous(), ShapeError,
           op, ": expected statistics ", r.lead, ", got ", mean.shape(), " and ", rstd.shape());
  for (const Array* a : {&g0, &mean, &rstd}) check_same_dtype(op, x0, *a);
  check_same_device(op, x0, g0);
  const Array x = contiguous(x0), g = contiguous(g0);
  const auto gamma = check_vector(op, "gamma", x, gamma0, r.tail);
  std::optional<Array> gx, ggamma, gbeta;
  if (need_x) gx.emplace(x.shape(), x.dtype(), x.device());
  if (need_affine) {
    ggamma.emplace(r.tail, x.dtype(), x.device());
    gbeta.emplace(r.tail, x.dtype(), x.device());
  }
  dispatch_float(op, x.dtype(), [&]<class T>(T) {
    kernels<T>(x.device())
        .norm->row_grad(r.rows, r.c, x.data<T>(), g.data<T>(), mean.data<T>(), rstd.data<T>(), pointer<T>(gamma),
                        pointer<T>(gx), pointer<T>(ggamma), pointer<T>(gbeta), context(x.device()));
  });
  return {gx, ggamma, gbeta};
}

Array scale_shift(const Array& x0, const Array& scale0, const Array& shift0, bool relu) {
  const char* op = "scale_shift";
  DC_CHECK(x0.ndim() >= 1, ShapeError, op, ": expected x (..., c), got ", x0.shape());
  const int64_t c = x0.shape(x0.ndim() - 1);
  const Array x = contiguous(x0);
  const Array scale = *check_vector(op, "scale", x, scale0, {c}), shift = *check_vector(op, "shift", x, shift0, {c});
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    Array y(x.shape(), x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device())
          .norm->slab_apply({1, x.size() / c, c, c, relu}, x.data<T>(), nullptr, nullptr, scale.data<T>(),
                            shift.data<T>(), y.template data<T>(), context(x.device()));
    return y;
  });
}

}  // namespace dc::ops
