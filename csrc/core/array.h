// Array: a strided view of a Storage. Values only; derivatives live in Python.
#pragma once
#include <memory>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/storage.h"

namespace dc {

class Array {
 public:
  // Uninitialised, contiguous.
  Array(const Dims& shape, DType dtype, Device device = {});
  Array(std::shared_ptr<Storage> storage, int64_t offset, const Dims& shape, const Dims& strides, DType dtype);

  int ndim() const { return shape_.size(); }
  const Dims& shape() const { return shape_; }
  int64_t shape(int i) const { return shape_[i]; }
  const Dims& strides() const { return strides_; }  // in elements
  int64_t size() const { return size_; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  int64_t offset() const { return offset_; }  // in elements
  bool is_contiguous() const;

  void* data() const { return static_cast<char*>(storage_->data()) + offset_ * static_cast<int64_t>(itemsize(dtype_)); }
  template <class T>
  T* data() const {
    return static_cast<T*>(data());
  }

  // Views. Sizes are checked by the ops that call these.
  Array as_strided(const Dims& shape, const Dims& strides, int64_t extra_offset = 0) const;
  Array reshaped_view(const Dims& shape) const;  // needs a contiguous array

 private:
  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;
  Dims shape_, strides_;
  int64_t size_;
  DType dtype_;
};

}  // namespace dc
