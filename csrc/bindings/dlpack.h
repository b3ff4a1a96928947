// The DLPack exchange structures (dmlc/dlpack, version 1), as far as deepcore speaks them.
#pragma once
#include <cstdint>

namespace dc::dlpack {

inline constexpr int32_t kCpu = 1, kCuda = 2;
inline constexpr uint8_t kInt = 0, kUInt = 1, kFloat = 2, kBool = 6;
inline constexpr uint64_t kReadOnly = 1;

struct DataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DlDevice {
  int32_t kind, index;
};
struct Tensor {
  void* data;
  DlDevice device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
// Capsule "dltensor".
struct Managed {
  Tensor tensor;
  void* manager;
  void (*deleter)(Managed*);
};
// Capsule "dltensor_versioned".
struct ManagedVersioned {
  uint32_t major, minor;
  void* manager;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;
  Tensor tensor;
};

}  // namespace dc::dlpack
