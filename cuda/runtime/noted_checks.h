// Range checks whose offenders the device notes, until someone waits for it.
#pragma once
#include <vector>

#include "core/accelerator.h"
#include "core/context.h"
#include "families/range.h"

namespace dc {

class NotedChecks {
 public:
  // OutOfMemoryError where the device has no room for the notes.
  void allocate(const char* op, Context& context);
  void release(Context& context);
  bool allocated() const { return notes_ != nullptr; }
  // Queues that no note has an offender yet.
  void clear_notes(const char* op, Context& context);

  bool empty() const { return checks_.empty(); }
  bool full() const;
  // The note of one more check, which must not be full.
  cuda::RangeNote* add(const RangeCheck& check);
  void forget() { checks_.clear(); }
  const std::vector<RangeCheck>& checks() const { return checks_; }
  // Queues a copy of the notes of all checks to the host.
  void read(const char* op, Context& context, cuda::RangeNote* to) const;

 private:
  cuda::RangeNote* notes_ = nullptr;  // on the device
  std::vector<RangeCheck> checks_;    // notes_[i] belongs to checks_[i]
};

}  // namespace dc
