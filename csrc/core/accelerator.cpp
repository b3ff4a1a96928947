#include "core/accelerator.h"

#include <atomic>

#include "core/error.h"

namespace dc {

namespace {
std::atomic<Accelerator*> installed{nullptr};
}

Accelerator* accelerator() { return installed.load(); }
void install(Accelerator* a) { installed.store(a); }

Accelerator& accelerator_of(Device device) {
  Accelerator* a = accelerator();
  DC_CHECK(a, DeviceError, "device ", device, ": ", kNoAccelerator);
  DC_CHECK(device.index >= 0 && device.index < a->device_count(), DeviceError, "device ", device,
           ": expected an index in [0, ", a->device_count(), ")");
  return *a;
}

}  // namespace dc
