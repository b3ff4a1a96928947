// Accelerator: what a device back end gives to the rest of the library. The extension module _cuda (or its emulated
// twin) fills one in and installs it; without it there is only the CPU.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/device.h"

namespace dc {

struct BackendTable;
template <class T>
struct KernelTable;

struct AcceleratorProperties {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  size_t memory = 0;  // bytes
};

// Integers that a kernel is about to use as positions: see ops/range.h.
struct RangeCheck {
  const char *op, *what, *place;
  int64_t n, low, high;
  std::optional<int64_t> ignore;
  bool from_end;
};

// Bytes of the host that go to memory of a device.
struct StagedPiece {
  void* to;
  const void* from;
  size_t bytes;
};

// A stretch of work of one device that can be launched again as a whole.
class Recording {
 public:
  virtual ~Recording() = default;
  // The k-th launch counts from 0. Random keys of the named (seed, stream) pairs go on as they would have without a
  // recording: their offset grows by calls(seed, stream) << 40 at each launch.
  virtual void launch(const std::vector<std::pair<uint64_t, uint64_t>>& advancing) = 0;
  virtual int64_t calls(uint64_t seed, uint64_t stream) const = 0;
  // While on, kernels of this thread are not launched; those with values that change from step to step note them for
  // the next launch, in the order of the recording.
  virtual void refresh(bool on) = 0;
};

class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual bool emulated() const = 0;
  virtual int device_count() const = 0;
  // Why no device can be used, with the remedy; empty when one can.
  virtual std::string reason() const = 0;
  virtual AcceleratorProperties properties(int device) const = 0;
  virtual std::unique_ptr<RawAllocator> allocator(int device) = 0;
  virtual void* stream(int device) = 0;  // of computations
  // Ordered after the work of the computing stream. From or to the host it returns when the host memory may be used.
  virtual void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) = 0;
  // Queues copies beside the work of the computing stream, and returns at once; the host memory may be used again. The
  // targets are fresh memory of the pool. What the ticket stands for may be used by work queued after `arrive`, and
  // given back after it.
  virtual uint64_t send(int device, const std::vector<StagedPiece>& pieces) = 0;
  virtual void arrive(int device, uint64_t ticket) = 0;
  // The device that holds this memory; -1 where it is not memory of a device.
  virtual int device_of(const void* p) = 0;
  // Work that the stream `later` is given from now on waits for what `first` holds. Handles as others pass them: 1 is
  // the legacy stream, 2 the one of this thread.
  virtual void order(int device, void* first, void* later) = 0;
  // Waits for the work queued so far, where it can be waited for; raises nothing.
  virtual void finish(int device) = 0;
  // Writes the values to `checked`, clamped into the range, and notes the first offender for `synchronize`.
  virtual void check_range(int device, const RangeCheck& check, const int64_t* values, int64_t* checked) = 0;
  // Waits for the device and raises what its kernels noted since the last wait.
  virtual void synchronize(int device) = 0;
  // Work queued between the two is recorded and not run. Reading on the host meanwhile raises DeviceError.
  virtual void begin_recording(int device) = 0;
  virtual std::unique_ptr<Recording> end_recording(int device) = 0;
  // Gives back what the back end keeps for later besides arrays.
  virtual void empty_cache(int device) = 0;
  // Gives what the pool of the device keeps for later back to it, for a back end that is short of memory.
  void (*empty_pool)(Device device) = nullptr;
  virtual const BackendTable& table() const = 0;
  virtual const KernelTable<double>& table_f64() const = 0;
};

// The installed accelerator or null. Installing happens once, under the import lock of Python.
Accelerator* accelerator();
void install(Accelerator* accelerator);

inline constexpr char kNoAccelerator[] =
    "this deepcore was built without CUDA: build it with DEEPCORE_CUDA=ON, or use device='cpu'";

// The accelerator that serves this device; DeviceError where there is none or no such index. Whether its devices can be
// used at all is asked where a device is named (device_from), not at every operation.
Accelerator& accelerator_of(Device device);

// One T for each device of the accelerator, made at its first use and never destroyed: arrays may outlive the exit.
template <class T>
class PerDevice {
 public:
  template <class Make>
  T& of(Device device, const Make& make) {
    Accelerator& a = accelerator_of(device);
    std::lock_guard lock(mutex_);
    T*& made = made_[device.index];
    if (!made) made = make(a);
    return *made;
  }

 private:
  std::mutex mutex_;
  std::map<int, T*> made_;
};

}  // namespace dc
