#include "ops/pool.h"

#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

namespace {

constexpr int64_t kLargest = 1 << 20;
constexpr int64_t kMostPixels = int64_t{1} << 40;  // keeps every sum and product of a size and an option in 64 bits

// Windows along one axis; every one must hold at least one pixel.
int64_t outputs_of(const char* op, int64_t size, int64_t before, int64_t after, int64_t window, int64_t stride,
                   int64_t dilation) {
  const int64_t span = (window - 1) * dilation + 1;
  DC_CHECK(size + before + after >= span, ShapeError, op, ": expected an image of at least ", span,
           " rows and columns per window with its padding, got ", size, " + ", before, " + ", after);
  const int64_t outputs = (size + before + after - span) / stride + 1;
  const auto check = [&](int64_t o) {
    const int64_t origin = o * stride - before;
    const int64_t first = origin >= 0 ? origin : origin + (-origin + dilation - 1) / dilation * dilation;
    DC_CHECK(first < size && first <= origin + span - 1, ArgumentError, op, ": padding ", before, ", ", after,
             " leaves window ", o, " of ", window, " without a pixel of the ", size);
  };
  // Only windows that reach into the padding can be empty.
  for (int64_t o = 0; o < outputs && o * stride < before; ++o) check(o);
  for (int64_t o = outputs - 1; o >= 0 && o * stride - before + span > size; --o) check(o);
  return outputs;
}

PoolShape pool_shape(const char* op, const Dims& x, const PoolOptions& o) {
  DC_CHECK(x.size() == 4, ShapeError, op, ": expected x (n, h, w, c), got ", x);
  for (int64_t size : x)
    DC_CHECK(size >= 0 && size < kMostPixels, ShapeError, op, ": expected sizes in [0, 2^40), got ", x);
  PoolShape s{};
  s.n = x[0], s.h = x[1], s.w = x[2], s.c = x[3];
  if (o.outputs.size() > 0) {
    DC_CHECK(o.outputs.size() == 2 && o.outputs[0] >= 1 && o.outputs[1] >= 1 && o.outputs[0] < kLargest &&
                 o.outputs[1] < kLargest,
             ArgumentError, op, ": expected two output sizes >= 1, got ", o.outputs);
    DC_CHECK(s.h >= 1 && s.w >= 1, ShapeError, op, ": expected an image of at least 1 x 1, got ", x);
    s.adaptive = true;
    s.p = o.outputs[0], s.q = o.outputs[1];
    // The largest window: one pixel more at either end where the sizes do not divide.
    s.r = s.h % s.p == 0 ? s.h / s.p : s.h / s.p + 2;
    s.s = s.w % s.q == 0 ? s.w / s.q : s.w / s.q + 2;
    s.stride_h = s.stride_w = s.dilation_h = s.dilation_w = 1;
    return s;
  }
  DC_CHECK(o.window.size() == 2 && o.stride.size() == 2 && o.dilation.size() == 2 && o.padding.size() == 4,
           ArgumentError, op, ": expected two window sizes, two strides, two dilations and four paddings");
  for (int i = 0; i < 2; ++i)
    DC_CHECK(o.window[i] >= 1 && o.stride[i] >= 1 && o.dilation[i] >= 1 && o.window[i] < kLargest &&
                 o.stride[i] < kLargest && o.dilation[i] < kLargest,
             ArgumentError, op, ": expected window, stride and dilation >= 1, got ", o.window, ", ", o.stride, " and ",
             o.dilation);
  for (int64_t p : o.padding)
    DC_CHECK(p >= 0 && p < kLargest, ArgumentError, op, ": expected padding >= 0, got ", o.padding);
  DC_CHECK(o.window[0] * o.window[1] < (int64_t{1} << 31), ArgumentError, op, ": a window of ", o.window,
           " is too large");
  s.r = o.window[0], s.s = o.window[1];
  s.stride_h = o.stride[0], s.stride_w = o.stride[1];
  s.pad_top = o.padding[0], s.pad_bottom = o.padding[1], s.pad_left = o.padding[2], s.pad_right = o.padding[3];
  s.dilation_h = o.dilation[0], s.dilation_w = o.dilation[1];
  s.p = outputs_of(op, s.h, s.pad_top, s.pad_bottom, s.r, s.stride_h, s.dilation_h);
  s.q = outputs_of(op, s.w, s.pad_left, s.pad_right, s.s, s.stride_w, s.dilation_w);
  return s;
}

DType index_type(const PoolShape& s) { return s.r * s.s <= 256 ? DType::uint8 : DType::int32; }

void check_windows(const char* op, const PoolShape& s, const Array& g) {
  const Dims expected{s.n, s.p, s.q, s.c};
  DC_CHECK(g.shape() == expected, ShapeError, op, ": expected one value per window ", expected, ", got ", g.shape());
}

void check_index(const char* op, const PoolShape& s, const Array& index, Device device) {
  check_windows(op, s, index);
  DC_CHECK(index.dtype() == index_type(s), DtypeError, op, ": expected an index of ", index_type(s), ", got ",
           index.dtype());
  DC_CHECK(index.device() == device, DeviceError, op, ": expected one device, got ", device, " and ", index.device());
}

Array pool_max(const Array& x0, const PoolOptions& options, Array* index) {
  const PoolShape s = pool_shape("max_pool", x0.shape(), options);
  const Array x = contiguous(x0);
  return dispatch_float("max_pool", x.dtype(), [&]<class T>(T) {
    const Device device = x.device();
    Array y({s.n, s.p, s.q, s.c}, x.dtype(), device);
    if (index) *index = Array(y.shape(), index_type(s), device);
    const PoolKernels<T>& kernel = *kernels<T>(device).pool;
    if (y.size() == 0) return y;
    if (index_type(s) == DType::uint8)
      kernel.max(s, x.data<T>(), y.template data<T>(), index ? index->data<uint8_t>() : nullptr, context(device));
    else
      kernel.max_wide(s, x.data<T>(), y.template data<T>(), index ? index->data<int32_t>() : nullptr, context(device));
    return y;
  });
}

}  // namespace

std::pair<Array, Array> max_pool(const Array& x, const PoolOptions& options) {
  Array index({0}, DType::uint8);
  Array y = pool_max(x, options, &index);
  return {y, index};
}

Array max_pool_values(const Array& x, const PoolOptions& options) { return pool_max(x, options, nullptr); }

Array pool_scatter(const Array& g0, const Array& index0, const Dims& shape, const PoolOptions& options) {
  const PoolShape s = pool_shape("pool_scatter", shape, options);
  check_windows("pool_scatter", s, g0);
  check_index("pool_scatter", s, index0, g0.device());
  const Array g = contiguous(g0), index = contiguous(index0);
  return dispatch_float("pool_scatter", g.dtype(), [&]<class T>(T) {
    const Device device = g.device();
    Array gx(shape, g.dtype(), device);
    const PoolKernels<T>& kernel = *kernels<T>(device).pool;
    if (gx.size() == 0) return gx;
    if (index.dtype() == DType::uint8)
      kernel.scatter(s, g.data<T>(), index.data<uint8_t>(), gx.template data<T>(), context(device));
    else
      kernel.scatter_wide(s, g.data<T>(), index.data<int32_t>(), gx.template data<T>(), context(device));
    return gx;
  });
}

Array pool_gather(const Array& x0, const Array& index0, const PoolOptions& options) {
  const PoolShape s = pool_shape("pool_gather", x0.shape(), options);
  check_index("pool_gather", s, index0, x0.device());
  const Array x = contiguous(x0), index = contiguous(index0);
  return dispatch_float("pool_gather", x.dtype(), [&]<class T>(T) {
    const Device device = x.device();
    Array y(index.shape(), x.dtype(), device);
    const PoolKernels<T>& kernel = *kernels<T>(device).pool;
    if (y.size() == 0) return y;
    if (index.dtype() == DType::uint8)
      kernel.gather(s, x.data<T>(), index.data<uint8_t>(), y.template data<T>(), context(device));
    else
      kernel.gather_wide(s, x.data<T>(), index.data<int32_t>(), y.template data<T>(), context(device));
    return y;
  });
}

Array average_pool(const Array& x0, const PoolOptions& options, PoolDivisor divisor) {
  PoolShape s = pool_shape("average_pool", x0.shape(), options);
  s.divisor = divisor;
  const Array x = contiguous(x0);
  return dispatch_float("average_pool", x.dtype(), [&]<class T>(T) {
    const Device device = x.device();
    Array y({s.n, s.p, s.q, s.c}, x.dtype(), device);
    if (y.size() > 0) kernels<T>(device).pool->average(s, x.data<T>(), y.template data<T>(), context(device));
    return y;
  });
}

Array average_pool_grad(const Array& g0, const Dims& shape, const PoolOptions& options, PoolDivisor divisor) {
  PoolShape s = pool_shape("average_pool_grad", shape, options);
  s.divisor = divisor;
  check_windows("average_pool_grad", s, g0);
  const Array g = contiguous(g0);
  return dispatch_float("average_pool_grad", g.dtype(), [&]<class T>(T) {
    const Device device = g.device();
    Array gx(shape, g.dtype(), device);
    if (gx.size() > 0) kernels<T>(device).pool->average_grad(s, g.data<T>(), gx.template data<T>(), context(device));
    return gx;
  });
}

}  // namespace dc::ops
