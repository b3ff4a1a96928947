#include "core/context.h"

#include "core/accelerator.h"

namespace dc {

Context& context(Device device) {
  static Context cpu{};
  if (device.kind == DeviceKind::cpu) return cpu;
  static auto* contexts = new PerDevice<Context>;
  return contexts->of(device, [&](Accelerator& a) { return new Context{device, a.stream(device.index)}; });
}

}  // namespace dc
