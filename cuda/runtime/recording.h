// A recorded step: the graph of the runtime, and the numbers in it that change from launch to launch.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

#include "core/accelerator.h"
#include "core/context.h"
#include "kernels/random.h"
#include "runtime/noted_checks.h"

namespace dc {

class CudaRecording final : public Recording {
 public:
  CudaRecording(Context& context, std::vector<CudaRecording*>& launched);
  ~CudaRecording() override;
  void launch(const std::vector<std::pair<uint64_t, uint64_t>>& advancing) override;
  int64_t calls(uint64_t seed, uint64_t stream) const override;
  void refresh(bool on) override;

  Device device() const { return context_.device; }
  void end();
  // While recording: where the kernel finds `value`, which is there from now on. While refreshing: notes it.
  const void* value(const char* op, const void* value, size_t bytes);
  const RandomKey* key(const char* op, const RandomKey& key);
  // Memory that lives as long as the recording, with these contents from now on.
  const void* table(const char* op, const void* host, size_t bytes);
  // A copy to the device that is repeated at each launch.
  void upload(void* to, const void* from, size_t bytes);
  cuda::RangeNote* note(const RangeCheck& check);
  const NotedChecks& noted() const { return noted_; }

 private:
  struct Key {
    RandomKey first;
    size_t place;
  };
  size_t append(const char* op, const void* value, size_t bytes);

  Context& context_;
  std::vector<CudaRecording*>& launched_;
  void* graph_ = nullptr;
  char* values_ = nullptr;                         // on the device
  std::vector<char> host_;                         // the same on the host
  std::vector<std::pair<size_t, size_t>> places_;  // of optimizer values: offset and size
  std::vector<Key> keys_;
  size_t next_ = 0;  // place of the next value while refreshing
  int64_t launches_ = 0;
  NotedChecks noted_;
  std::vector<void*> pinned_;
  // The numbers of the last two launches: the host may be one launch ahead of the device.
  void* pinned_values_[2] = {};
  void* value_events_[2] = {};
};

// Of this thread: what is being recorded on the device, or what is being refreshed. Null otherwise.
CudaRecording* recording_on(const Context& context);
bool refreshing();

}  // namespace dc
