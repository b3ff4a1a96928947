#include "ops/movement.h"

#include <cmath>
#include <cstring>

#include "core/accelerator.h"
#include "ops/dispatch.h"

namespace dc::ops {

Nd make_nd(const Dims& shape, std::initializer_list<Dims> strides) {
  Nd nd{};
  nd.size = count(shape);
  const int operands = static_cast<int>(strides.size());
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1 && shape.size() > 1) continue;
    bool merge = nd.ndim > 0;
    for (int i = 0; i < operands && merge; ++i)
      merge = nd.stride[i][nd.ndim - 1] == wrapping_product(strides.begin()[i][d], shape[d]);
    if (merge) {
      nd.shape[nd.ndim - 1] *= shape[d];
    } else {
      nd.shape[nd.ndim++] = shape[d];
    }
    for (int i = 0; i < operands; ++i) nd.stride[i][nd.ndim - 1] = strides.begin()[i][d];
  }
  if (nd.ndim == 0) {
    nd.ndim = 1;
    nd.shape[0] = nd.size;
    for (int i = 0; i < operands; ++i) nd.stride[i][0] = 1;
  }
  return nd;
}

Dims broadcast_strides(const Array& a, const Dims& shape) {
  Dims s = Dims::filled(shape.size(), 0);
  const int shift = shape.size() - a.ndim();
  for (int d = 0; d < a.ndim(); ++d) s[d + shift] = a.shape(d) == 1 && shape[d + shift] != 1 ? 0 : a.strides()[d];
  return s;
}

void copy_into(const Array& x0, Array& out) {
  DC_CHECK(x0.shape() == out.shape(), ShapeError, "copy: expected shape ", out.shape(), ", got ", x0.shape());
  check_same_dtype("copy", x0, out);
  const Array x = to_device(x0, out.device());
  DC_CHECK(!out.storage()->readonly(), ArgumentError, "copy: the destination is read-only");
  const Nd nd = make_nd(x.shape(), {x.strides(), out.strides()});
  if (nd.size > 0)
    backend(x.device())
        .movement->copy(static_cast<int>(itemsize(x.dtype())), nd, x.data(), out.data(), context(x.device()));
  out.storage()->touch();
}

Array copy(const Array& x) {
  Array y(x.shape(), x.dtype(), x.device());
  copy_into(x, y);
  return y;
}

Array contiguous(const Array& x) { return x.is_contiguous() ? x : copy(x); }

Array to_device(const Array& x0, Device device) {
  if (x0.device() == device) return x0;
  const Array x = contiguous(x0);
  Array y(x.shape(), x.dtype(), device);
  const Device through = device.kind == DeviceKind::cpu ? x.device() : device;
  if (x.size() > 0)
    accelerator_of(through).copy(y.data(), device, x.data(), x.device(),
                                 static_cast<size_t>(x.size()) * static_cast<size_t>(itemsize(x.dtype())));
  return y;
}

Array cast(const Array& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Array y(x.shape(), dtype, x.device());
  if (x.size() > 0)
    backend(x.device())
        .movement->cast(static_cast<ElementTag>(x.dtype()), static_cast<ElementTag>(dtype),
                        make_nd(x.shape(), {x.strides()}), x.data(), y.data(), context(x.device()));
  return y;
}

namespace {
template <class T>
void fill_value(Array& y, double value) {
  const T v = static_cast<T>(value);
  backend(y.device()).movement->fill(sizeof(T), y.size(), &v, y.data(), context(y.device()));
}
}  // namespace

Array full(const Dims& shape, double value, DType dtype, Device device) {
  Array y(shape, dtype, device);
  switch (dtype) {
    case DType::float32:
      fill_value<float>(y, value);
      break;
    case DType::float64:
      fill_value<double>(y, value);
      break;
    case DType::int32:
      fill_value<int32_t>(y, value);
      break;
    case DType::int64:
      fill_value<int64_t>(y, value);
      break;
    case DType::uint8:
      fill_value<uint8_t>(y, value);
      break;
    case DType::boolean:
      fill_value<uint8_t>(y, value != 0);
      break;
  }
  return y;
}

Array arange(double start, double stop, double step, DType dtype) {
  DC_CHECK(step != 0, ArgumentError, "arange: expected step != 0");
  const double length = std::ceil((stop - start) / step);
  DC_CHECK(length < 9e15 && !std::isnan(length), ArgumentError, "arange: expected a finite range");
  const int64_t n = length > 0 ? static_cast<int64_t>(length) : 0;
  Array y({n}, DType::float64);
  double* p = y.data<double>();
  for (int64_t i = 0; i < n; ++i) p[i] = start + static_cast<double>(i) * step;
  return cast(y, dtype);
}

namespace {

// Strides of `shape` over the memory of x without a copy; false where the layout forbids it.
bool view_strides(const Array& x, const Dims& shape, Dims* strides) {
  Dims result = Dims::filled(shape.size(), 1);
  int i = x.ndim() - 1, j = shape.size() - 1;
  while (j >= 0) {
    while (i >= 0 && x.shape(i) == 1) --i;
    if (i < 0) {
      for (; j >= 0; --j) result[j] = 1;
      break;
    }
    // A run of old axes i0..i that is contiguous in itself, against new axes of the same product.
    int64_t old_size = x.shape(i), step = x.strides()[i];
    const int64_t inner_stride = step;
    int i0 = i;
    while (i0 > 0 && (x.shape(i0 - 1) == 1 || x.strides()[i0 - 1] == step * x.shape(i0))) {
      if (x.shape(i0 - 1) != 1) step = x.strides()[i0 - 1];
      old_size *= x.shape(--i0);
      if (x.shape(i0) == 1) continue;
    }
    int64_t new_size = 1;
    while (j >= 0 && new_size < old_size) {
      result[j] = inner_stride * new_size;
      new_size *= shape[j--];
    }
    while (j >= 0 && shape[j] == 1) {
      result[j] = inner_stride * new_size;
      --j;
    }
    if (new_size != old_size) return false;
    i = i0 - 1;
  }
  *strides = result;
  return true;
}

}  // namespace

Array reshape(const Array& x, const Dims& requested) {
  Dims shape = requested;
  int unknown = -1;
  int64_t known = 1;
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] == -1) {
      DC_CHECK(unknown < 0, ShapeError, "reshape: expected at most one -1, got ", requested);
      unknown = d;
    } else {
      DC_CHECK(shape[d] >= 0, ShapeError, "reshape: expected sizes >= 0 or -1, got ", requested);
      DC_CHECK(!__builtin_mul_overflow(known, shape[d], &known), ShapeError, "reshape: ", requested, " is too large");
    }
  }
  if (unknown >= 0) {
    DC_CHECK(known > 0 && x.size() % known == 0, ShapeError, "reshape: cannot view ", x.shape(), " as ", requested);
    shape[unknown] = x.size() / known;
    known = x.size();
  }
  DC_CHECK(known == x.size(), ShapeError, "reshape: expected ", x.size(), " elements of ", x.shape(), ", got ",
           requested);
  if (x.is_contiguous()) return x.reshaped_view(shape);
  Dims strides;
  if (view_strides(x, shape, &strides)) return x.as_strided(shape, strides);
  return copy(x).reshaped_view(shape);
}

Array transpose(const Array& x, const Dims& axes) {
  DC_CHECK(axes.size() == x.ndim(), ShapeError, "transpose: expected ", x.ndim(), " axes, got ", axes);
  Dims shape = axes, strides = axes;
  bool seen[kMaxDims] = {};
  for (int i = 0; i < axes.size(); ++i) {
    const int a = normalize_axis("transpose", axes[i], x.ndim());
    DC_CHECK(!seen[a], ArgumentError, "transpose: expected each axis once, got ", axes);
    seen[a] = true;
    shape[i] = x.shape(a);
    strides[i] = x.strides()[a];
  }
  return x.as_strided(shape, strides);
}

Array broadcast_to(const Array& x, const Dims& shape) {
  DC_CHECK(shape.size() >= x.ndim() && broadcast("broadcast_to", x.shape(), shape) == shape, ShapeError,
           "broadcast_to: cannot stretch ", x.shape(), " to ", shape);
  return x.as_strided(shape, broadcast_strides(x, shape));
}

namespace {
void check_slice(const char* op, const Dims& shape, const Dims& starts, const Dims& sizes, const Dims& steps) {
  const int n = shape.size();
  DC_CHECK(starts.size() == n && sizes.size() == n && steps.size() == n, ShapeError, op, ": expected ", n,
           " starts, sizes and steps for shape ", shape, ", got ", starts, ", ", sizes, ", ", steps);
  for (int d = 0; d < n; ++d) {
    DC_CHECK(sizes[d] >= 0 && steps[d] != 0, ArgumentError, op, ": expected sizes >= 0 and steps != 0, got ", sizes,
             ", ", steps);
    if (sizes[d] == 0) continue;
    int64_t last = 0;
    const bool fits = !__builtin_mul_overflow(sizes[d] - 1, steps[d], &last) &&
                      !__builtin_add_overflow(last, starts[d], &last) && starts[d] >= 0 && starts[d] < shape[d] &&
                      last >= 0 && last < shape[d];
    DC_CHECK(fits, ShapeError, op, ": slice start ", starts[d], " size ", sizes[d], " step ", steps[d], " leaves axis ",
             d, " of ", shape);
  }
}
}  // namespace

Array slice(const Array& x, const Dims& starts, const Dims& sizes, const Dims& steps) {
  check_slice("slice", x.shape(), starts, sizes, steps);
  Dims strides = x.strides();
  int64_t offset = 0;
  for (int d = 0; d < x.ndim(); ++d) {
    if (sizes[d] > 0) offset += starts[d] * x.strides()[d];
    strides[d] = wrapping_product(strides[d], steps[d]);
  }
  return x.as_strided(sizes, strides, count(sizes) > 0 ? offset : 0);
}

Array slice_embed(const Array& g, const Dims& shape, const Dims& starts, const Dims& steps) {
  check_slice("slice_embed", shape, starts, g.shape(), steps);
  Array y = full(shape, 0, g.dtype(), g.device());
  Array window = slice(y, starts, g.shape(), steps);
  copy_into(g, window);
  return y;
}

Array flip(const Array& x, const Dims& axes) {
  Dims strides = x.strides();
  int64_t offset = 0;
  bool seen[kMaxDims] = {};
  for (int64_t axis : axes) {
    const int a = normalize_axis("flip", axis, x.ndim());
    DC_CHECK(!seen[a], ArgumentError, "flip: expected each axis once, got ", axes);
    seen[a] = true;
    if (x.size() > 0) offset += (x.shape(a) - 1) * x.strides()[a];
    strides[a] = -strides[a];
  }
  return x.as_strided(x.shape(), strides, offset);
}

Array concatenate(const std::vector<Array>& xs, int64_t axis) {
  DC_CHECK(!xs.empty(), ArgumentError, "concatenate: expected at least one array");
  const int a = normalize_axis("concatenate", axis, xs[0].ndim());
  Dims shape = xs[0].shape();
  shape[a] = 0;
  for (const Array& x : xs) {
    check_same_dtype("concatenate", xs[0], x);
    check_same_device("concatenate", xs[0], x);
    bool fits = x.ndim() == shape.size();
    for (int d = 0; fits && d < shape.size(); ++d) fits = d == a || x.shape(d) == shape[d];
    DC_CHECK(fits, ShapeError, "concatenate: expected shapes equal but for axis ", a, ", got ", xs[0].shape(), " and ",
             x.shape());
    shape[a] += x.shape(a);
  }
  Array y(shape, xs[0].dtype(), xs[0].device());
  Dims starts = Dims::filled(shape.size(), 0);
  const Dims steps = Dims::filled(shape.size(), 1);
  for (const Array& x : xs) {
    if (x.size() > 0) {
      Array window = slice(y, starts, x.shape(), steps);
      copy_into(x, window);
    }
    starts[a] += x.shape(a);
  }
  return y;
}

}  // namespace dc::ops
