// Context: what a kernel needs to know besides its operands. Passed to every kernel, never global.
#pragma once
#include "core/device.h"

namespace dc {

struct Context {
  Device device;
  void* stream = nullptr;  // of the device; unused on the CPU
};

Context& context(Device device);

}  // namespace dc
