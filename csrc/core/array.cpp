#include "core/array.h"

namespace dc {

namespace {
size_t checked_bytes(const Dims& shape, DType dtype) {
  size_t bytes = 0;
  DC_CHECK(!__builtin_mul_overflow(static_cast<size_t>(count(shape)), itemsize(dtype), &bytes), ShapeError,
           "array: ", shape, " of ", dtype, " is too large");
  return bytes;
}
}  // namespace

Array::Array(const Dims& shape, DType dtype, Device device)
    : storage_(Storage::allocate(checked_bytes(shape, dtype), device)),
      shape_(shape),
      strides_(contiguous_strides(shape)),
      size_(count(shape)),
      dtype_(dtype) {}

Array::Array(std::shared_ptr<Storage> storage, int64_t offset, const Dims& shape, const Dims& strides, DType dtype)
    : storage_(std::move(storage)),
      offset_(offset),
      shape_(shape),
      strides_(strides),
      size_(count(shape)),
      dtype_(dtype) {}

bool Array::is_contiguous() const {
  if (size_ == 0) return true;
  int64_t expected = 1;
  for (int i = ndim() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != expected) return false;
    expected *= shape_[i];
  }
  return true;
}

Array Array::as_strided(const Dims& shape, const Dims& strides, int64_t extra_offset) const {
  return Array(storage_, offset_ + extra_offset, shape, strides, dtype_);
}

Array Array::reshaped_view(const Dims& shape) const { return as_strided(shape, contiguous_strides(shape)); }

}  // namespace dc
