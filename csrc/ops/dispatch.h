// The only branch on device and on floating type.
#pragma once
#include "core/array.h"
#include "core/context.h"
#include "kernels/table.h"

namespace dc {

const BackendTable& backend(Device device);

template <class T>
const KernelTable<T>& kernels(Device device);

// Calls f(T{}) with T = float or double; a DtypeError naming `op` for every other type.
template <class F>
auto dispatch_float(const char* op, DType dtype, const F& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    default:
      throw DtypeError(message(op, ": expected float32 or float64, got ", dtype));
  }
}

void check_same_device(const char* op, const Array& a, const Array& b);
void check_same_dtype(const char* op, const Array& a, const Array& b);

}  // namespace dc
