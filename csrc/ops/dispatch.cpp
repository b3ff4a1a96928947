#include "ops/dispatch.h"

#include "core/accelerator.h"
#include "cpu_select.h"

namespace dc {

const BackendTable& backend(Device device) {
  return device.kind == DeviceKind::cpu ? cpu_table() : accelerator_of(device).table();
}

template <>
const KernelTable<float>& kernels<float>(Device device) {
  return backend(device).f32;
}

template <>
const KernelTable<double>& kernels<double>(Device device) {
  return device.kind == DeviceKind::cpu ? cpu_table_f64() : accelerator_of(device).table_f64();
}

void missing_kernel() { throw DeviceError("this device has no kernel for the operation"); }

void check_same_device(const char* op, const Array& a, const Array& b) {
  DC_CHECK(a.device() == b.device(), DeviceError, op, ": expected one device, got ", a.device(), " and ", b.device());
}

void check_same_dtype(const char* op, const Array& a, const Array& b) {
  DC_CHECK(a.dtype() == b.dtype(), DtypeError, op, ": expected one dtype, got ", a.dtype(), " and ", b.dtype());
}

}  // namespace dc
