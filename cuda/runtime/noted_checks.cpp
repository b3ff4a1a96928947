#include "runtime/noted_checks.h"

#include "core/error.h"
#include "runtime/gpu.h"
#include "runtime/support.h"

namespace dc {

namespace {

constexpr size_t kNotes = 256, kNoteBytes = kNotes * sizeof(cuda::RangeNote);

}  // namespace

void NotedChecks::allocate(const char* op, Context& context) {
  notes_ = static_cast<cuda::RangeNote*>(allocate_now(context, kNoteBytes));
  DC_CHECK(notes_, OutOfMemoryError, op, ": ", context.device, " has no ", kNoteBytes, " bytes left for its checks");
}

void NotedChecks::release(Context& context) {
  if (notes_) gpu::release(context.device.index, context.stream, notes_);
  notes_ = nullptr;
}

void NotedChecks::clear_notes(const char* op, Context& context) {
  // Read when the stream comes to it, at each launch of a recording.
  static const std::vector<cuda::RangeNote> fresh(kNotes, cuda::RangeNote{cuda::kNoPosition, 0, 0});
  check(gpu::copy(context.device.index, context.stream, notes_, fresh.data(), kNoteBytes, gpu::Direction::to_device),
        op);
}

bool NotedChecks::full() const { return checks_.size() == kNotes; }

cuda::RangeNote* NotedChecks::add(const RangeCheck& range) {
  checks_.push_back(range);
  return notes_ + (checks_.size() - 1);
}

void NotedChecks::read(const char* op, Context& context, cuda::RangeNote* to) const {
  check(gpu::copy(context.device.index, context.stream, to, notes_, checks_.size() * sizeof(cuda::RangeNote),
                  gpu::Direction::to_host),
        op);
}

}  // namespace dc
