#include "core/context.h"

#include "core/error.h"

namespace dc {

Context& context(Device device) {
  static Context cpu{};
  DC_CHECK(device.kind == DeviceKind::cpu, DeviceError, "context: device ", device, " is not available");
  return cpu;
}

}  // namespace dc
