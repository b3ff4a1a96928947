// What the functions of a kernel table need besides launches; no kernel code here.
#pragma once
#include <cstddef>

#include "core/context.h"
#include "core/error.h"
#include "device/status.cuh"

namespace dc {

struct RandomKey;

// Raises DeviceError naming `op` where the status is an error.
void check(const Status& status, const char* op);
// The same for a launch; says so where the device can be used no more.
void check_launch(const Status& status, const char* op, const Context& context);
// DEEPCORE_CUDA_SYNC=1: waits for the stream and checks what it ran.
void after_launch(const char* op, Context& context);
// False where the work is known to be in a recording already, and must not be queued.
bool before_launch(const char* op, Context& context);

// Memory of the device in the order of the stream, for which arrays that are kept for later make room. Null when it is
// out.
void* allocate_now(const Context& context, size_t bytes);

// Memory of the device for the duration of an operation, allocated and freed in the order of its stream.
class Scratch {
 public:
  // OutOfMemoryError where there is none.
  Scratch(const char* op, Context& context, size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Context& context_;
  void* data_;
};

// A copy of `bytes` bytes of the host on the device, the same memory each time the contents are the same: an optimizer
// passes the same list of tensors at every step. Valid for work queued before the next call.
const void* device_table(const char* op, Context& context, const void* host, size_t bytes);

// A number that may change from launch to launch of a recorded step: null outside of a recording, and the kernel takes
// the value it is passed; else where it finds the value in the device's memory.
const void* recorded_bytes(const char* op, Context& context, const void* value, size_t bytes);
template <class Value>
const Value* recorded_value(const char* op, Context& context, const Value& value) {
  return static_cast<const Value*>(recorded_bytes(op, context, &value, sizeof value));
}
// The same for a key of random numbers.
const RandomKey* recorded_key(const char* op, Context& context, const RandomKey& key);
// DeviceError while a step is recorded: `op` would be the same at each launch.
void refuse_recording(const char* op, Context& context);

// Waits for the stream and copies to the host.
void read_back(const char* op, Context& context, void* host, const void* device, size_t bytes);

}  // namespace dc
