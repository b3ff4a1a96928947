#include "ops/dispatch.h"

#include "cpu_select.h"
#include "cuda_backend.h"

namespace dc {

namespace {
void check_cpu(Device device) {
  DC_CHECK(device.kind == DeviceKind::cpu, DeviceError, "device ", device, ": ", cuda::reason());
}
}  // namespace

const BackendTable& backend(Device device) {
  check_cpu(device);
  return cpu_table();
}

template <>
const KernelTable<float>& kernels<float>(Device device) {
  return backend(device).f32;
}

template <>
const KernelTable<double>& kernels<double>(Device device) {
  check_cpu(device);
  return cpu_table_f64();
}

void check_same_device(const char* op, const Array& a, const Array& b) {
  DC_CHECK(a.device() == b.device(), DeviceError, op, ": expected one device, got ", a.device(), " and ", b.device());
}

void check_same_dtype(const char* op, const Array& a, const Array& b) {
  DC_CHECK(a.dtype() == b.dtype(), DtypeError, op, ": expected one dtype, got ", a.dtype(), " and ", b.dtype());
}

}  // namespace dc
