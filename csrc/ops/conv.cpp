#include "ops/conv.h"

#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

namespace {

int64_t output_size(const char* op, int64_t size, int64_t before, int64_t after, int64_t filter, int64_t dilation,
                    int64_t stride) {
  const int64_t span = (filter - 1) * dilation + 1;
  DC_CHECK(size + before + after >= span, ShapeError, op, ": expected an image of at least ", span,
           " rows and columns per filter with its padding, got ", size, " + ", before, " + ", after);
  return (size + before + after - span) / stride + 1;
}

Conv2dShape conv_shape(const char* op, const Dims& x, const Dims& w, const ConvOptions& o) {
  DC_CHECK(x.size() == 4 && w.size() == 4, ShapeError, op,
           ": expected x (n, h, w, c) and filters (k, r, s, c / groups), got ", x, " and ", w);
  DC_CHECK(o.stride.size() == 2 && o.dilation.size() == 2 && o.padding.size() == 4, ArgumentError, op,
           ": expected two strides, two dilations and four paddings");
  for (const Dims* shape : {&x, &w})
    for (int64_t size : *shape)  // keeps every sum and product of a size and an option in 64 bits
      DC_CHECK(size >= 0 && size < (int64_t{1} << 40), ShapeError, op, ": expected sizes in [0, 2^40), got ", *shape);
  for (int i = 0; i < 2; ++i)
    DC_CHECK(o.stride[i] >= 1 && o.dilation[i] >= 1 && o.stride[i] < (1 << 20) && o.dilation[i] < (1 << 20),
             ArgumentError, op, ": expected stride and dilation >= 1, got ", o.stride, " and ", o.dilation);
  for (int64_t p : o.padding)
    DC_CHECK(p >= 0 && p < (1 << 20), ArgumentError, op, ": expected padding >= 0, got ", o.padding);
  DC_CHECK(o.groups >= 1 && x[3] % o.groups == 0 && w[0] % o.groups == 0, ShapeError, op, ": groups ", o.groups,
           " do not divide the channels of x ", x, " and filters ", w);
  DC_CHECK(w[3] == x[3] / o.groups, ShapeError, op, ": expected filters with ", x[3] / o.groups, " input channels (x ",
           x, ", groups ", o.groups, "), got ", w);
  DC_CHECK(w[1] >= 1 && w[2] >= 1, ShapeError, op, ": expected filters of at least 1 x 1, got ", w);
  Conv2dShape s{};
  s.n = x[0], s.h = x[1], s.w = x[2], s.c = x[3];
  s.k = w[0], s.r = w[1], s.s = w[2];
  s.p = output_size(op, s.h, o.padding[0], o.padding[1], s.r, o.dilation[0], o.stride[0]);
  s.q = output_size(op, s.w, o.padding[2], o.padding[3], s.s, o.dilation[1], o.stride[1]);
  s.stride_h = o.stride[0], s.stride_w = o.stride[1];
  s.pad_top = o.padding[0], s.pad_left = o.padding[2];
  s.dilation_h = o.dilation[0], s.dilation_w = o.dilation[1];
  s.groups = o.groups;
  return s;
}

void check_output(const char* op, const Conv2dShape& s, const Array& g) {
  const Dims expected{s.n, s.p, s.q, s.k};
  DC_CHECK(g.shape() == expected, ShapeError, op, ": expected an output gradient ", expected, ", got ", g.shape());
}

}  // namespace

Array conv2d(const Array& x0, const Array& w0, const std::optional<Array>& bias0, const ConvOptions& options,
             Activation activation) {
  check_same_dtype("conv2d", x0, w0);
  check_same_device("conv2d", x0, w0);
  Conv2dShape s = conv_shape("conv2d", x0.shape(), w0.shape(), options);
  s.activation = activation;
  if (bias0) {
    check_same_dtype("conv2d", x0, *bias0);
    check_same_device("conv2d", x0, *bias0);
    DC_CHECK(bias0->shape() == Dims{s.k}, ShapeError, "conv2d: expected bias (", s.k, ",), got ", bias0->shape());
  }
  const Array x = contiguous(x0), w = contiguous(w0);
  const std::optional<Array> bias = bias0 ? std::optional(contiguous(*bias0)) : std::nullopt;
  return dispatch_float("conv2d", x.dtype(), [&]<class T>(T) {
    Array y({s.n, s.p, s.q, s.k}, x.dtype(), x.device());
    if (y.size() > 0)
      kernels<T>(x.device())
          .conv->forward(s, x.data<T>(), w.data<T>(), bias ? bias->template data<T>() : nullptr, y.template data<T>(),
                         context(x.device()));
    return y;
  });
}

Array conv2d_grad_input(const Array& g0, const Array& w0, const Dims& shape, const ConvOptions& options) {
  check_same_dtype("conv2d_grad_input", g0, w0);
  check_same_device("conv2d_grad_input", g0, w0);
  const Conv2dShape s = conv_shape("conv2d_grad_input", shape, w0.shape(), options);
  check_output("conv2d_grad_input", s, g0);
  const Array g = contiguous(g0), w = contiguous(w0);
  return dispatch_float("conv2d_grad_input", g.dtype(), [&]<class T>(T) {
    Array gx(shape, g.dtype(), g.device());
    if (gx.size() > 0)
      kernels<T>(g.device()).conv->grad_input(s, g.data<T>(), w.data<T>(), gx.template data<T>(), context(g.device()));
    return gx;
  });
}

Array conv2d_grad_weight(const Array& x0, const Array& g0, const Dims& shape, const ConvOptions& options) {
  check_same_dtype("conv2d_grad_weight", x0, g0);
  check_same_device("conv2d_grad_weight", x0, g0);
  const Conv2dShape s = conv_shape("conv2d_grad_weight", x0.shape(), shape, options);
  check_output("conv2d_grad_weight", s, g0);
  const Array x = contiguous(x0), g = contiguous(g0);
  return dispatch_float("conv2d_grad_weight", x.dtype(), [&]<class T>(T) {
    Array gw(shape, x.dtype(), x.device());
    if (gw.size() > 0)
      kernels<T>(x.device()).conv->grad_weight(s, x.data<T>(), g.data<T>(), gw.template data<T>(), context(x.device()));
    return gw;
  });
}

}  // namespace dc::ops
