#include "ops/loss.h"

#include "ops/dispatch.h"
#include "ops/movement.h"
#include "ops/range.h"

namespace dc::ops {

namespace {

struct Rows {
  int64_t rows, c;
};

Rows rows_of(const char* op, const Array& x) {
  DC_CHECK(x.ndim() >= 1, ShapeError, op, ": expected (..., c), got ", x.shape());
  Rows r{1, x.shape(x.ndim() - 1)};
  for (int d = 0; d + 1 < x.ndim(); ++d) r.rows *= x.shape(d);
  return r;
}

Dims without_last(const Dims& shape) {
  Dims d;
  for (int i = 0; i + 1 < shape.size(); ++i) d.push_back(shape[i]);
  return d;
}

void check_same_shape(const char* op, const Array& a, const Array& b) {
  DC_CHECK(a.shape() == b.shape(), ShapeError, op, ": expected equal shapes, got ", a.shape(), " and ", b.shape());
  check_same_dtype(op, a, b);
  check_same_device(op, a, b);
}

std::optional<Array> class_values(const char* op, const std::optional<Array>& weights, const Array& x) {
  if (!weights) return std::nullopt;
  check_same_dtype(op, x, *weights);
  check_same_device(op, x, *weights);
  DC_CHECK(weights->shape() == Dims{x.shape(x.ndim() - 1)}, ShapeError, op, ": expected ", x.shape(x.ndim() - 1),
           " weights, got ", weights->shape());
  return contiguous(*weights);
}

template <class T>
const T* pointer(const std::optional<Array>& a) {
  return a ? a->data<T>() : nullptr;
}

// Labels as contiguous int64, each in [0, c) or equal to `ignore`.
Array checked_labels(const char* op, const Array& labels, const Array& x, int64_t c, std::optional<int64_t> ignore) {
  DC_CHECK(!is_floating(labels.dtype()) && labels.dtype() != DType::boolean, DtypeError, op,
           ": expected integer labels, got ", labels.dtype());
  DC_CHECK(labels.shape() == without_last(x.shape()), ShapeError, op, ": expected labels ", without_last(x.shape()),
           " for logits ", x.shape(), ", got ", labels.shape());
  check_same_device(op, x, labels);
  return in_range(op, "labels", contiguous(cast(labels, DType::int64)),
                  {.low = 0, .high = c, .ignore = ignore, .place = " at row "});
}

Array row_op(const char* op, const Array& x0, bool logarithm) {
  const Array x = contiguous(x0);
  const Rows r = rows_of(op, x);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    Array y(x.shape(), x.dtype(), x.device());
    const auto& loss = *kernels<T>(x.device()).loss;
    const auto& kernel = logarithm ? loss.log_softmax : loss.softmax;
    if (y.size() > 0) kernel(r.rows, r.c, x.data<T>(), y.template data<T>(), context(x.device()));
    return y;
  });
}

Array row_grad(const char* op, const Array& y0, const Array& g0, bool logarithm) {
  check_same_shape(op, y0, g0);
  const Array y = contiguous(y0), g = contiguous(g0);
  const Rows r = rows_of(op, y);
  return dispatch_float(op, y.dtype(), [&]<class T>(T) {
    Array gx(y.shape(), y.dtype(), y.device());
    const auto& loss = *kernels<T>(y.device()).loss;
    const auto& kernel = logarithm ? loss.log_softmax_grad : loss.softmax_grad;
    if (gx.size() > 0) kernel(r.rows, r.c, y.data<T>(), g.data<T>(), gx.template data<T>(), context(y.device()));
    return gx;
  });
}

}  // namespace

Array softmax(const Array& x) { return row_op("softmax", x, false); }
Array log_softmax(const Array& x) { return row_op("log_softmax", x, true); }
Array softmax_grad(const Array& y, const Array& g) { return row_grad("softmax_grad", y, g, false); }
Array log_softmax_grad(const Array& y, const Array& g) { return row_grad("log_softmax_grad", y, g, true); }

std::pair<Array, Array> cross_entropy(const Array& x0, const Array& labels0, const std::optional<Array>& weights0,
                                      const CrossEntropyOptions& options, std::optional<double> total) {
  const char* op = "softmax_cross_entropy";
  const Rows r = rows_of(op, x0);
  DC_CHECK(options.smoothing >= 0 && options.smoothing <= 1, ArgumentError, op,
           ": expected label_smoothing in [0, 1], got ", options.smoothing);
  const Array x = contiguous(x0), labels = checked_labels(op, labels0, x0, r.c, options.ignore_label);
  const std::optional<Array> weights = class_values(op, weights0, x);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    Array loss(labels.shape(), x.dtype(), x.device()), lse(labels.shape(), x.dtype(), x.device());
    const CrossEntropyShape<T> s{r.rows, r.c, static_cast<T>(options.smoothing),
                                 options.ignore_label.value_or(kNoLabel)};
    if (r.rows > 0)
      kernels<T>(x.device())
          .loss->cross_entropy(s, x.data<T>(), labels.data<int64_t>(), pointer<T>(weights), loss.template data<T>(),
                               lse.template data<T>(), context(x.device()));
    if (total) {
      const Array sum({}, x.dtype(), x.device());
      kernels<T>(x.device())
          .loss->total(r.rows, *total, loss.template data<T>(), sum.template data<T>(), context(x.device()));
      loss = sum;
    }
    return std::pair(loss, lse);
  });
}

Array cross_entropy_grad(const Array& x0, const Array& labels0, const std::optional<Array>& weights0, const Array& lse,
                         const Array& g0, double scale, const CrossEntropyOptions& options) {
  const char* op = "softmax_cross_entropy_grad";
  const Rows r = rows_of(op, x0);
  const Array x = contiguous(x0), labels = checked_labels(op, labels0, x0, r.c, options.ignore_label);
  const Array g = contiguous(g0);
  const std::optional<Array> weights = class_values(op, weights0, x);
  DC_CHECK(lse.size() == r.rows && lse.is_contiguous(), ShapeError, op, ": expected ", r.rows, " log-sum-exps, got ",
           lse.shape());
  DC_CHECK(g.size() == r.rows || g.size() == 1, ShapeError, op, ": expected one cotangent or ", r.rows, ", got ",
           g.shape());
  check_same_dtype(op, x, g);
  check_same_dtype(op, x, lse);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    Array gx(x.shape(), x.dtype(), x.device());
    const CrossEntropyShape<T> s{r.rows, r.c, static_cast<T>(options.smoothing),
                                 options.ignore_label.value_or(kNoLabel)};
    if (gx.size() > 0)
      kernels<T>(x.device())
          .loss->cross_entropy_grad(s, x.data<T>(), labels.data<int64_t>(), pointer<T>(weights), lse.data<T>(),
                                    g.data<T>(), g.size() == 1 ? 0 : 1, static_cast<T>(scale), gx.template data<T>(),
                                    context(x.device()));
    return gx;
  });
}

std::pair<Array, Array> soft_cross_entropy(const Array& x0, const Array& t0, const std::optional<Array>& weights0) {
  const char* op = "soft_cross_entropy";
  check_same_shape(op, x0, t0);
  const Rows r = rows_of(op, x0);
  const Array x = contiguous(x0), t = contiguous(t0);
  const std::optional<Array> weights = class_values(op, weights0, x);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    const Dims shape = without_last(x.shape());
    Array loss(shape, x.dtype(), x.device()), lse(shape, x.dtype(), x.device());
    if (r.rows > 0)
      kernels<T>(x.device())
          .loss->soft_cross_entropy(r.rows, r.c, x.data<T>(), t.data<T>(), pointer<T>(weights), loss.template data<T>(),
                                    lse.template data<T>(), context(x.device()));
    return std::pair(loss, lse);
  });
}

std::pair<Array, Array> soft_cross_entropy_grad(const Array& x0, const Array& t0, const std::optional<Array>& weights0,
                                                const Array& lse, const Array& g0) {
  const char* op = "soft_cross_entropy_grad";
  check_same_shape(op, x0, t0);
  const Rows r = rows_of(op, x0);
  const Array x = contiguous(x0), t = contiguous(t0), g = contiguous(g0);
  const std::optional<Array> weights = class_values(op, weights0, x);
  DC_CHECK(lse.size() == r.rows && lse.is_contiguous() && g.size() == r.rows, ShapeError, op, ": expected ", r.rows,
           " log-sum-exps and cotangents, got ", lse.shape(), " and ", g.shape());
  check_same_dtype(op, x, g);
  check_same_dtype(op, x, lse);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    Array gx(x.shape(), x.dtype(), x.device()), gt(x.shape(), x.dtype(), x.device());
    if (gx.size() > 0)
      kernels<T>(x.device())
          .loss->soft_cross_entropy_grad(r.rows, r.c, x.data<T>(), t.data<T>(), pointer<T>(weights), lse.data<T>(),
                                         g.data<T>(), 1, T(1), gx.template data<T>(), gt.template data<T>(),
                                         context(x.device()));
    return std::pair(gx, gt);
  });
}

Array bce_with_logits(const Array& x0, const Array& t0, const std::optional<Array>& pos_weight0) {
  const char* op = "bce_with_logits";
  check_same_shape(op, x0, t0);
  const Rows r = x0.ndim() > 0 ? rows_of(op, x0) : Rows{1, 1};
  const Array x = contiguous(x0), t = contiguous(t0);
  const std::optional<Array> pos_weight = class_values(op, pos_weight0, x);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    Array loss(x.shape(), x.dtype(), x.device());
    if (x.size() > 0)
      kernels<T>(x.device())
          .loss->bce_logits(r.rows, r.c, x.data<T>(), t.data<T>(), pointer<T>(pos_weight), loss.template data<T>(),
                            context(x.device()));
    return loss;
  });
}

std::pair<std::optional<Array>, std::optional<Array>> bce_with_logits_grad(const Array& x0, const Array& t0,
                                                                           const std::optional<Array>& pos_weight0,
                                                                           const Array& g0, bool need_x, bool need_t) {
  const char* op = "bce_with_logits_grad";
  check_same_shape(op, x0, t0);
  check_same_shape(op, x0, g0);
  const Rows r = x0.ndim() > 0 ? rows_of(op, x0) : Rows{1, 1};
  const Array x = contiguous(x0), t = contiguous(t0);
  // The cotangent of a sum is one number for all.
  bool one = true;
  for (int d = 0; d < g0.ndim(); ++d) one = one && (g0.strides()[d] == 0 || g0.shape(d) == 1);
  const Array g = one ? g0 : contiguous(g0);
  const std::optional<Array> pos_weight = class_values(op, pos_weight0, x);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    std::optional<Array> gx, gt;
    if (need_x) gx = Array(x.shape(), x.dtype(), x.device());
    if (need_t) gt = Array(x.shape(), x.dtype(), x.device());
    if (x.size() > 0 && (need_x || need_t))
      kernels<T>(x.device())
          .loss->bce_logits_grad(r.rows, r.c, x.data<T>(), t.data<T>(), pointer<T>(pos_weight), g.data<T>(),
                                 one ? 0 : 1, need_x ? gx->template data<T>() : nullptr,
                                 need_t ? gt->template data<T>() : nullptr, context(x.device()));
    return std::pair(gx, gt);
  });
}

}  // namespace dc::ops
