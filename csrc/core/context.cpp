#include "core/context.h"

#include <memory>
#include <mutex>

#include "core/accelerator.h"
#include "core/error.h"

namespace dc {

Context& context(Device device) {
  static Context cpu{};
  if (device.kind == DeviceKind::cpu) return cpu;
  constexpr int kMost = 64;
  static std::mutex making;
  static std::unique_ptr<Context> contexts[kMost];
  Accelerator& a = accelerator_of(device);
  DC_CHECK(device.index < kMost, DeviceError, "context: expected at most ", kMost, " devices, got ", device);
  std::lock_guard lock(making);
  auto& made = contexts[device.index];
  if (!made) made = std::make_unique<Context>(Context{device, a.stream(device.index)});
  return *made;
}

}  // namespace dc
