#include "ops/matmul.h"

#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/movement.h"
#include "ops/optim.h"
#include "ops/reduce.h"

namespace dc::ops {

namespace {

// An array whose last two axes the GEMM reads in place (one stride is 1), copied first where they are not so.
Array gemm_operand(const Array& x) {
  const int64_t rs = x.strides()[x.ndim() - 2], cs = x.strides()[x.ndim() - 1];
  const int64_t rows = x.shape(x.ndim() - 2), cols = x.shape(x.ndim() - 1);
  const bool rows_plain = (cs == 1 || cols == 1) && (rs >= cols || rows == 1);
  const bool cols_plain = (rs == 1 || rows == 1) && (cs >= rows || cols == 1);
  return rows_plain || cols_plain ? x : copy(x);
}

void set_strides(const Array& x, int64_t* row, int64_t* col) {
  *row = x.strides()[x.ndim() - 2];
  *col = x.strides()[x.ndim() - 1];
  // The stride of an axis of size 1 means nothing: it becomes the 1 that the kernel asks for.
  if (*col != 1 && *row != 1) (x.shape(x.ndim() - 1) == 1 ? *col : *row) = 1;
}

}  // namespace

GemmCall gemm_call(const Array& a0, const Array& b0) {
  DC_CHECK(a0.ndim() >= 2 && b0.ndim() >= 2, ShapeError, "matmul: expected at least two axes, got ", a0.shape(),
           " and ", b0.shape());
  check_same_dtype("matmul", a0, b0);
  check_same_device("matmul", a0, b0);
  MatmulShape s{};
  s.m = a0.shape(a0.ndim() - 2);
  s.k = a0.shape(a0.ndim() - 1);
  s.n = b0.shape(b0.ndim() - 1);
  DC_CHECK(b0.shape(b0.ndim() - 2) == s.k, ShapeError, "matmul: expected (..., m, k) x (..., k, n), got ", a0.shape(),
           " and ", b0.shape());
  Dims a_lead, b_lead;
  for (int d = 0; d + 2 < a0.ndim(); ++d) a_lead.push_back(a0.shape(d));
  for (int d = 0; d + 2 < b0.ndim(); ++d) b_lead.push_back(b0.shape(d));
  const Dims lead = broadcast("matmul", a_lead, b_lead);
  Dims shape = lead;
  shape.push_back(s.m);
  shape.push_back(s.n);
  s.batch = count(lead);
  s.c_row = s.n;
  s.c_batch = s.m * s.n;

  // Leading axes become one batch axis with one step: 0 for a matrix used by all, else a plain stack.
  const auto stacked = [&](const Array& x, const Dims& x_lead, int64_t* step) {
    const int64_t batches = count(x_lead);
    if (batches == 1) {
      *step = 0;
      Dims plain{x.shape(x.ndim() - 2), x.shape(x.ndim() - 1)};
      Dims strides{x.strides()[x.ndim() - 2], x.strides()[x.ndim() - 1]};
      return gemm_operand(x.as_strided(plain, strides));
    }
    Dims full_shape = lead;
    full_shape.push_back(x.shape(x.ndim() - 2));
    full_shape.push_back(x.shape(x.ndim() - 1));
    Array y = x_lead == lead ? x : contiguous(broadcast_to(x, full_shape));
    Dims flat{s.batch, x.shape(x.ndim() - 2), x.shape(x.ndim() - 1)};
    // One common batch stride exists where the leading axes nest.
    int64_t expected = y.strides()[std::max(lead.size() - 1, 0)] * lead[lead.size() - 1];
    for (int d = lead.size() - 2; d >= 0; --d) {
      if (y.strides()[d] != expected) {
        y = contiguous(y);
        break;
      }
      expected *= lead[d];
    }
    Dims strides{y.strides()[lead.size() - 1], y.strides()[y.ndim() - 2], y.strides()[y.ndim() - 1]};
    y = gemm_operand(y.as_strided(flat, strides));
    *step = y.strides()[0];
    return y;
  };
  const Array a = stacked(a0, a_lead, &s.a_batch), b = stacked(b0, b_lead, &s.b_batch);
  set_strides(a, &s.a_row, &s.a_col);
  set_strides(b, &s.b_row, &s.b_col);
  // One matrix B for a stack of A whose rows lie behind each other is a single tall product.
  if (s.batch > 1 && s.b_batch == 0 && s.a_col == 1 && s.a_batch == s.m * s.a_row) {
    s.m *= s.batch;
    s.batch = 1;
  }
  return {s, a, b, shape};
}

Array matmul(const Array& a0, const Array& b0) {
  const auto [s, a, b, shape] = gemm_call(a0, b0);
  return dispatch_float("matmul", a.dtype(), [&, &s = s, &a = a, &b = b, &shape = shape]<class T>(T) {
    Array c(shape, a.dtype(), a.device());
    if (c.size() > 0)
      kernels<T>(a.device())
          .matmul->gemm(s, a.template data<T>(), b.template data<T>(), nullptr, nullptr, c.template data<T>(),
                        context(a.device()));
    return c;
  });
}

namespace {
// The product x w^T of `linear`, but for the sizes and strides of x.
MatmulShape weight_shape(const Array& w) {
  MatmulShape s{};
  s.k = w.shape(1);
  s.n = w.shape(0);
  set_strides(w, &s.b_col, &s.b_row);
  return s;
}
}  // namespace

Array pack_linear(const Array& w0) {
  DC_CHECK(w0.ndim() == 2, ShapeError, "pack_linear: expected w (k, c), got ", w0.shape());
  const Array w = gemm_operand(w0);
  const MatmulShape s = weight_shape(w);
  return dispatch_float("pack_linear", w.dtype(), [&]<class T>(T) {
    const auto& kernel = *kernels<T>(w.device()).matmul;
    Array packed({kernel.packed_b_size(s.k, s.n)}, w.dtype(), w.device());
    if (packed.size() > 0) kernel.pack_b(s, w.data<T>(), packed.template data<T>(), context(w.device()));
    return packed;
  });
}

Array linear(const Array& x0, const Array& w0, const std::optional<Array>& bias0, Activation activation,
             const std::optional<Array>& packed, bool in_order) {
  DC_CHECK(w0.ndim() == 2 && x0.ndim() >= 1 && x0.shape(x0.ndim() - 1) == w0.shape(1), ShapeError,
           "linear: expected x (..., c) and w (k, c), got ", x0.shape(), " and ", w0.shape());
  check_same_dtype("linear", x0, w0);
  check_same_device("linear", x0, w0);
  if (bias0) {
    DC_CHECK(bias0->ndim() == 1 && bias0->shape(0) == w0.shape(0), ShapeError, "linear: expected bias (", w0.shape(0),
             ",), got ", bias0->shape());
    check_same_dtype("linear", x0, *bias0);
    check_same_device("linear", x0, *bias0);
  }
  const Array x = contiguous(x0), w = packed ? w0 : gemm_operand(w0);
  const std::optional<Array> bias = bias0 ? std::optional(contiguous(*bias0)) : std::nullopt;
  MatmulShape s = weight_shape(w);
  s.m = 1;
  for (int d = 0; d + 1 < x.ndim(); ++d) s.m *= x.shape(d);
  s.a_row = s.k;
  s.a_col = 1;
  s.c_row = s.n;
  s.activation = activation;
  s.in_order = in_order;
  Dims shape = x.shape();
  shape[shape.size() - 1] = s.n;
  return dispatch_float("linear", x.dtype(), [&]<class T>(T) {
    const auto& kernel = *kernels<T>(x.device()).matmul;
    const T* panels = nullptr;
    if (packed) {
      check_same_dtype("linear", x, *packed);
      check_same_device("linear", x, *packed);
      const Dims expected{kernel.packed_b_size(s.k, s.n)};
      DC_CHECK(packed->shape() == expected && packed->is_contiguous(), ShapeError, "linear: expected packed weights ",
               expected, ", got ", packed->shape());
      panels = packed->template data<T>();
    }
    Array y(shape, x.dtype(), x.device());
    if (y.size() > 0)
      kernel.gemm(s, x.data<T>(), w.data<T>(), panels, bias ? bias->template data<T>() : nullptr, y.template data<T>(),
                  context(x.device()));
    return y;
  });
}

LinearGrads linear_grad(const Array& g0, const Array& y, const Array& x, const Array& w, Activation activation,
                        bool need_x, bool need_w, bool need_bias, const StepOptions* w_step) {
  const char* op = "linear_grad";
  DC_CHECK(w.ndim() == 2 && x.ndim() >= 1 && x.shape(x.ndim() - 1) == w.shape(1), ShapeError, op,
           ": expected x (..., c) and w (k, c), got ", x.shape(), " and ", w.shape());
  Dims shape = x.shape();
  shape[shape.size() - 1] = w.shape(0);
  DC_CHECK(g0.shape() == shape && y.shape() == shape, ShapeError, op, ": expected g and y ", shape, ", got ",
           g0.shape(), " and ", y.shape());
  const auto before = [&](const Array& g) {
    switch (activation) {
      case Activation::relu:
        return binary(BinaryOp::relu_grad, g, y);
      case Activation::sigmoid:
        return binary(BinaryOp::sigmoid_grad, g, y);
      case Activation::tanh:
        return binary(BinaryOp::tanh_grad, g, y);
      case Activation::none:
        break;
    }
    return g;
  };
  int64_t rows = 1;
  for (int d = 0; d + 1 < x.ndim(); ++d) rows *= x.shape(d);
  const Array g = reshape(before(g0), {rows, w.shape(0)});
  LinearGrads r;
  if (need_x) r.x = reshape(matmul(g, w), x.shape());
  if (need_w) {
    const Array across = transpose(g, {1, 0}), inputs = reshape(x, {rows, w.shape(1)});
    if (w_step)
      sgd_step_of_product(w, across, inputs, *w_step);
    else
      r.w = matmul(across, inputs);
  }
  if (need_bias) r.bias = reduce(ReduceOp::sum, g, {0}, false, false);
  return r;
}

}  // namespace dc::ops
