// Batches on their way to a device: copied into a ring of pinned buffers, and sent from there on a stream of their own
// while the device computes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "core/accelerator.h"
#include "core/context.h"

namespace dc {

class Staging {
 public:
  explicit Staging(const Context& context) : context_(context) {}
  uint64_t send(const std::vector<StagedPiece>& pieces);
  void arrive(uint64_t ticket);
  // Gives the pinned buffers back once they were read.
  void release();

 private:
  struct Slot {
    void* pinned = nullptr;
    size_t bytes = 0;
    void* sent = nullptr;  // event: the buffer was read, and the device has its contents
    uint64_t ticket = 0;   // of what was sent last; 0: nothing
    bool arrived = true;
  };
  void make_streams();
  void let_arrive(Slot& slot);
  void make_free(Slot& slot);

  static constexpr int kSlots = 2;  // one batch is used while the next one travels
  const Context& context_;
  std::mutex mutex_;
  void* copies_ = nullptr;     // stream
  void* allocated_ = nullptr;  // event: earlier work of the computing stream no longer uses the targets
  Slot slots_[kSlots];
  uint64_t last_ = 0;
};

}  // namespace dc
