// Where memory lives and kernels run.
#pragma once
#include <cstdint>
#include <ostream>

namespace dc {

enum class DeviceKind : uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, Device d) {
  if (d.kind == DeviceKind::cpu) return out << "cpu";
  return out << "cuda:" << d.index;
}

}  // namespace dc
