#include "runtime/staging.h"

#include <cstring>

#include "core/error.h"
#include "runtime/gpu.h"
#include "runtime/support.h"

namespace dc {

namespace {
constexpr char kOp[] = "send";
constexpr size_t kAlignment = 256;

size_t padded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void* made_event(int device) {
  void* const event = gpu::make_event(device);
  DC_CHECK(event, DeviceError, kOp, ": device cuda:", device, ": no event can be made");
  return event;
}
}  // namespace

void Staging::make_streams() {
  const int device = context_.device.index;
  if (!copies_) copies_ = gpu::make_stream(device);
  DC_CHECK(copies_, DeviceError, kOp, ": ", context_.device, ": no stream can be made");
  if (!allocated_) allocated_ = made_event(device);
  for (Slot& slot : slots_)
    if (!slot.sent) slot.sent = made_event(device);
}

// What was never asked for may still be on its way when its memory is used for something else.
void Staging::let_arrive(Slot& slot) {
  if (slot.arrived) return;
  const int device = context_.device.index;
  slot.arrived = true;
  // A recording cannot wait for work outside of it.
  if (gpu::capturing(device, context_.stream))
    check(gpu::synchronize_event(device, slot.sent), kOp);
  else
    check(gpu::wait(device, context_.stream, slot.sent), kOp);
}

void Staging::make_free(Slot& slot) {
  if (slot.ticket == 0) return;
  check(gpu::synchronize_event(context_.device.index, slot.sent), kOp);
  slot.ticket = 0;
  slot.arrived = true;  // work that is queued from now on finds it
}

uint64_t Staging::send(const std::vector<StagedPiece>& pieces) {
  std::lock_guard lock(mutex_);
  const int device = context_.device.index;
  DC_CHECK(!gpu::capturing(device, context_.stream), DeviceError, kOp,
           ": expected no batches from the host while a step is recorded");
  gpu::name_operation(kOp);
  make_streams();
  Slot& slot = slots_[(last_ + 1) % kSlots];
  make_free(slot);
  size_t bytes = 0;
  for (const StagedPiece& piece : pieces) bytes += padded(piece.bytes);
  if (bytes > slot.bytes) {
    if (slot.pinned) gpu::release_pinned(slot.pinned);
    slot.bytes = 0;
    slot.pinned = gpu::allocate_pinned(bytes);
    DC_CHECK(slot.pinned, OutOfMemoryError, kOp, ": no ", bytes, " bytes of pinned memory left for a batch");
    slot.bytes = bytes;
  }
  char* next = static_cast<char*>(slot.pinned);
  for (const StagedPiece& piece : pieces) {
    if (piece.bytes) std::memcpy(next, piece.from, piece.bytes);
    next += padded(piece.bytes);
  }
  check(gpu::record(device, allocated_, context_.stream), kOp);
  check(gpu::wait(device, copies_, allocated_), kOp);
  Status status;
  next = static_cast<char*>(slot.pinned);
  for (const StagedPiece& piece : pieces) {
    if (piece.bytes && status)
      status = gpu::copy(device, copies_, piece.to, next, piece.bytes, gpu::Direction::to_device);
    next += padded(piece.bytes);
  }
  if (status) status = gpu::record(device, slot.sent, copies_);
  if (!status) {
    const std::string error = status.error;
    gpu::synchronize(device, copies_);  // the caller gives the targets back
    throw DeviceError(message(kOp, ": ", error));
  }
  slot.ticket = ++last_;
  slot.arrived = false;
  return last_;
}

void Staging::arrive(uint64_t ticket) {
  std::lock_guard lock(mutex_);
  Slot& slot = slots_[ticket % kSlots];
  if (slot.ticket == ticket) let_arrive(slot);  // else it arrived when its buffer was used again
}

void Staging::release() {
  std::lock_guard lock(mutex_);
  for (Slot& slot : slots_) {
    make_free(slot);
    if (slot.pinned) gpu::release_pinned(slot.pinned);
    slot.pinned = nullptr;
    slot.bytes = 0;
  }
}

}  // namespace dc
