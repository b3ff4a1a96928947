#include "ops/loss.h"

#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

namespace {

struct Rows {
  int64_t rows, c;
};

Rows rows_of(const char* op, const Array& x) {
  DC_CHECK(x.ndim() >= 1, ShapeError, op, ": expected at least one axis, got ", x.shape());
  const int64_t c = x.shape(x.ndim() - 1);
  int64_t rows = 1;
  for (int d = 0; d + 1 < x.ndim(); ++d) rows *= x.shape(d);
  return {rows, c};
}

Dims without_last(const Dims& shape) {
  Dims r;
  for (int d = 0; d + 1 < shape.size(); ++d) r.push_back(shape[d]);
  return r;
}

void check_pair(const char* op, const Array& x, const Array& t) {
  DC_CHECK(x.shape() == t.shape(), ShapeError, op, ": expected equal shapes, got ", x.shape(), " and ", t.shape());
  check_same_dtype(op, x, t);
  check_same_device(op, x, t);
}

std::optional<Array> check_weights(const char* op, const Array& x, const std::optional<Array>& weights) {
  if (!weights) return std::nullopt;
  const Dims expected{x.shape(x.ndim() - 1)};
  DC_CHECK(weights->shape() == expected, ShapeError, op, ": expected weights ", expected, ", got ", weights->shape());
  check_same_dtype(op, x, *weights);
  check_same_device(op, x, *weights);
  return contiguous(*weights);
}

template <class T>
T* pointer(const std::optional<Array>& a) {
  return a ? a->data<T>() : nullptr;
}

// Contiguous int64 labels, each in [0, c) or equal to ignore_label.
Array check_labels(const Array& labels0, const Array& x, int64_t ignore_label) {
  const int64_t c = x.shape(x.ndim() - 1);
  const Dims expected = without_last(x.shape());
  DC_CHECK(labels0.shape() == expected, ShapeError, "cross_entropy: expected labels ", expected, " for logits ",
           x.shape(), ", got ", labels0.shape());
  DC_CHECK(labels0.dtype() == DType::int64 || labels0.dtype() == DType::int32 || labels0.dtype() == DType::uint8,
           DtypeError, "cross_entropy: expected integer labels, got ", labels0.dtype());
  check_same_device("cross_entropy", x, labels0);
  const Array labels = contiguous(cast(labels0, DType::int64));
  const int64_t* l = labels.data<int64_t>();
  for (int64_t i = 0; i < labels.size(); ++i)
    DC_CHECK((l[i] >= 0 && l[i] < c) || l[i] == ignore_label, ArgumentError, "cross_entropy: expected labels in [0, ",
             c, "), got ", l[i], " at ", i);
  return labels;
}

template <class T>
Array reduced(const Array& rows, Reduction reduction, double factor) {
  if (reduction == Reduction::none) return rows;
  double sum = 0;
  const T* v = rows.data<T>();
  for (int64_t i = 0; i < rows.size(); ++i) sum += static_cast<double>(v[i]);
  return full({}, sum * factor, rows.dtype(), rows.device());
}

// The cotangent of the rows: one value per row, or one for all.
Array check_cotangent(const char* op, const Array& g, const Array& lse) {
  DC_CHECK(g.ndim() == 0 || g.shape() == lse.shape(), ShapeError, op, ": expected a cotangent () or ", lse.shape(),
           ", got ", g.shape());
  check_same_dtype(op, g, lse);
  return contiguous(g);
}

template <class Pick>
Array row_map(const char* op, const Array& x0, const Pick& pick) {
  const Rows r = rows_of(op, x0);
  const Array x = contiguous(x0);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    Array y(x.shape(), x.dtype(), x.device());
    if (y.size() > 0)
      require(pick(*kernels<T>(x.device()).loss), op, x.device())(r.rows, r.c, x.data<T>(), y.template data<T>(),
                                                                  context(x.device()));
    return y;
  });
}

template <class Pick>
Array row_map_grad(const char* op, const Array& y0, const Array& g0, const Pick& pick) {
  const Rows r = rows_of(op, y0);
  check_pair(op, y0, g0);
  const Array y = contiguous(y0), g = contiguous(g0);
  return dispatch_float(op, y.dtype(), [&]<class T>(T) {
    Array gx(y.shape(), y.dtype(), y.device());
    if (gx.size() > 0)
      require(pick(*kernels<T>(y.device()).loss), op, y.device())(r.rows, r.c, y.data<T>(), g.data<T>(),
                                                                  gx.template data<T>(), context(y.device()));
    return gx;
  });
}

}  // namespace

Array softmax(const Array& x) {
  return row_map("softmax", x, [](const auto& k) { return k.softmax; });
}
Array log_softmax(const Array& x) {
  return row_map("log_softmax", x, [](const auto& k) { return k.log_softmax; });
}
Array softmax_grad(const Array& y, const Array& g) {
  return row_map_grad("softmax_grad", y, g, [](const auto& k) { return k.softmax_grad; });
}
Array log_softmax_grad(const Array& y, const Array& g) {
  return row_map_grad("log_softmax_grad", y, g, [](const auto& k) { return k.log_softmax_grad; });
}

std::tuple<Array, Array, double> cross_entropy(const Array& x0, const Array& labels0,
                                               const std::optional<Array>& weights0,
                                               const CrossEntropyOptions& options) {
  const Rows r = rows_of("cross_entropy", x0);
  DC_CHECK(r.c > 0 || r.rows == 0, ShapeError, "cross_entropy: expected at least one class, got ", x0.shape());
  DC_CHECK(options.smoothing >= 0 && options.smoothing <= 1, ArgumentError,
           "cross_entropy: expected label smoothing in [0, 1], got ", options.smoothing);
  const Array x = contiguous(x0), labels = check_labels(labels0, x0, options.ignore_label);
  const std::optional<Array> weights = check_weights("cross_entropy", x, weights0);
  return dispatch_float("cross_entropy", x.dtype(), [&]<class T>(T) -> std::tuple<Array, Array, double> {
    const Device device = x.device();
    Array loss(labels.shape(), x.dtype(), device), lse(labels.shape(), x.dtype(), device);
    const CrossEntropyShape<T> s{r.rows, r.c, static_cast<T>(options.smoothing), options.ignore_label};
    if (loss.size() > 0)
      require(kernels<T>(device).loss->cross_entropy, "cross_entropy", device)(
          s, x.data<T>(), labels.data<int64_t>(), pointer<T>(weights), loss.template data<T>(), lse.template data<T>(),
          context(device));
    double factor = 1;
    if (options.reduction == Reduction::mean) {
      double total = 0;
      const int64_t* l = labels.data<int64_t>();
      for (int64_t i = 0; i < labels.size(); ++i)
        if (l[i] != options.ignore_label) total += weights ? static_cast<double>(weights->data<T>()[l[i]]) : 1.0;
      factor = total > 0 ? 1 / total : 0;
    }
    return {reduced<T>(loss, options.reduction, factor), lse, factor};
  });
}

Array cross_entropy_grad(const Array& x0, const Array& labels0, const std::optional<Array>& weights0, const Array& lse0,
                         const Array& g0, double factor, const CrossEntropyOptions& options) {
  const Rows r = rows_of("cross_entropy_grad", x0);
  const Array x = contiguous(x0), labels = check_labels(labels0, x0, options.ignore_label), lse = contiguous(lse0);
  DC_CHECK(lse.shape() == labels.shape(), ShapeError, "cross_entropy_grad: expected ", labels.shape(), ", got ",
           lse.shape());
  check_same_dtype("cross_entropy_grad", x, lse);
  const Array g = check_cotangent("cross_entropy_grad", g0, lse);
  const std::optional<Array> weights = check_weights("cross_entropy_grad", x, weights0);
  return dispatch_float("cross_entropy_grad", x.dtype(), [&]<class T>(T) {
    const Device device = x.device();
    Array gx(x.shape(), x.dtype(), device);
    const CrossEntropyShape<T> s{r.rows, r.c, static_cast<T>(options.smoothing), options.ignore_label};
    if (gx.size() > 0)
      require(kernels<T>(device).loss->cross_entropy_grad, "cross_entropy_grad", device)(
          s, x.data<T>(), labels.data<int64_t>(), pointer<T>(weights), lse.template data<T>(), g.data<T>(),
          g.ndim() == 0 && lse.ndim() != 0 ? 0 : 1, static_cast<T>(factor), gx.template data<T>(), context(device));
    return gx;
  });
}

std::tuple<Array, Array, double> soft_cross_entropy(const Array& x0, const Array& t0,
                                                    const std::optional<Array>& weights0, Reduction reduction) {
  const Rows r = rows_of("cross_entropy", x0);
  check_pair("cross_entropy", x0, t0);
  DC_CHECK(r.c > 0 || r.rows == 0, ShapeError, "cross_entropy: expected at least one class, got ", x0.shape());
  const Array x = contiguous(x0), t = contiguous(t0);
  const std::optional<Array> weights = check_weights("cross_entropy", x, weights0);
  return dispatch_float("cross_entropy", x.dtype(), [&]<class T>(T) -> std::tuple<Array, Array, double> {
    const Device device = x.device();
    const Dims shape = without_last(x.shape());
    Array loss(shape, x.dtype(), device), lse(shape, x.dtype(), device);
    if (loss.size() > 0)
      require(kernels<T>(device).loss->soft_cross_entropy, "cross_entropy", device)(
          r.rows, r.c, x.data<T>(), t.data<T>(), pointer<T>(weights), loss.template data<T>(), lse.template data<T>(),
          context(device));
    const double factor = reduction == Reduction::mean ? (r.rows > 0 ? 1.0 / static_cast<double>(r.rows) : 0.0) : 1.0;
    return {reduced<T>(loss, reduction, factor), lse, factor};
  });
}

std::pair<std::optional<Array>, std::optional<Array>> soft_cross_entropy_grad(const Array& x0, const Array& t0,
                                                                              const std::optional<Array>& weights0,
                                                                              const Array& lse0, const Array& g0,
                                                                              double factor, bool need_x, bool need_t) {
  const Rows r = rows_of("cross_entropy_grad", x0);
  check_pair("cross_entropy_grad", x0, t0);
  const Array x = contiguous(x0), t = contiguous(t0), lse = contiguous(lse0);
  DC_CHECK(lse.size() == r.rows, ShapeError, "cross_entropy_grad: expected ", r.rows, " rows, got ", lse.shape());
  check_same_dtype("cross_entropy_grad", x, lse);
  const Array g = check_cotangent("cross_entropy_grad", g0, lse);
  const std::optional<Array> weights = check_weights("cross_entropy_grad", x, weights0);
  std::optional<Array> gx, gt;
  if (need_x) gx.emplace(x.shape(), x.dtype(), x.device());
  if (need_t) gt.emplace(x.shape(), x.dtype(), x.device());
  dispatch_float("cross_entropy_grad", x.dtype(), [&]<class T>(T) {
    const Device device = x.device();
    if (x.size() > 0)
      require(kernels<T>(device).loss->soft_cross_entropy_grad, "cross_entropy_grad", device)(
          r.rows, r.c, x.data<T>(), t.data<T>(), pointer<T>(weights), lse.data<T>(), g.data<T>(),
          g.ndim() == 0 && lse.ndim() != 0 ? 0 : 1, static_cast<T>(factor), pointer<T>(gx), pointer<T>(gt),
          context(device));
  });
  return {gx, gt};
}

Array bce_logits(const Array& x0, const Array& t0, const std::optional<Array>& weight0) {
  check_pair("bce_with_logits", x0, t0);
  DC_CHECK(!weight0 || x0.ndim() >= 1, ShapeError, "bce_with_logits: expected at least one axis with pos_weight");
  const Rows r = x0.ndim() == 0 ? Rows{1, 1} : rows_of("bce_with_logits", x0);
  const Array x = contiguous(x0), t = contiguous(t0);
  const std::optional<Array> weight = check_weights("bce_with_logits", x, weight0);
  return dispatch_float("bce_with_logits", x.dtype(), [&]<class T>(T) {
    Array loss(x.shape(), x.dtype(), x.device());
    if (loss.size() > 0)
      require(kernels<T>(x.device()).loss->bce_logits, "bce_with_logits", x.device())(
          r.rows, r.c, x.data<T>(), t.data<T>(), pointer<T>(weight), loss.template data<T>(), context(x.device()));
    return loss;
  });
}

std::pair<std::optional<Array>, std::optional<Array>> bce_logits_grad(const Array& x0, const Array& t0,
                                                                      const std::optional<Array>& weight0,
                                                                      const Array& g0, bool need_x, bool need_t) {
  check_pair("bce_with_logits_grad", x0, t0);
  check_pair("bce_with_logits_grad", x0, g0);
  DC_CHECK(!weight0 || x0.ndim() >= 1, ShapeError, "bce_with_logits_grad: expected at least one axis with pos_weight");
  const Rows r = x0.ndim() == 0 ? Rows{1, 1} : rows_of("bce_with_logits_grad", x0);
  const Array x = contiguous(x0), t = contiguous(t0), g = contiguous(g0);
  const std::optional<Array> weight = check_weights("bce_with_logits_grad", x, weight0);
  std::optional<Array> gx, gt;
  if (need_x) gx.emplace(x.shape(), x.dtype(), x.device());
  if (need_t) gt.emplace(x.shape(), x.dtype(), x.device());
  dispatch_float("bce_with_logits_grad", x.dtype(), [&]<class T>(T) {
    if (x.size() > 0)
      require(kernels<T>(x.device()).loss->bce_logits_grad, "bce_with_logits_grad", x.device())(
          r.rows, r.c, x.data<T>(), t.data<T>(), pointer<T>(weight), g.data<T>(), pointer<T>(gx), pointer<T>(gt),
          context(x.device()));
  });
  return {gx, gt};
}

}  // namespace dc::ops
