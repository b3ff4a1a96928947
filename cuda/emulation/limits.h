// What the emulated device is: the limits of a Hopper GPU, checked at each launch.
#pragma once
#include <cstddef>

namespace dc::emulation {

inline constexpr unsigned kWarpSize = 32;
inline constexpr unsigned kMaxThreadsPerBlock = 1024;
inline constexpr unsigned kMaxBlockZ = 64;
inline constexpr unsigned kMaxGridX = 0x7FFFFFFFu, kMaxGridYZ = 65535;
inline constexpr size_t kMaxStaticShared = 48 << 10;       // per block
inline constexpr size_t kMaxSharedMemory = 227 << 10;      // per block, static and dynamic
inline constexpr size_t kDeviceMemory = size_t{16} << 30;  // a larger allocation fails
inline constexpr unsigned kMultiprocessors = 132;
inline constexpr unsigned kMaxThreadsPerMultiprocessor = 2048;
inline constexpr unsigned kMaxBlocksPerMultiprocessor = 32;

}  // namespace dc::emulation
