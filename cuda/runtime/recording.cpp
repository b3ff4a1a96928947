#include "runtime/recording.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "runtime/gpu.h"
#include "runtime/support.h"

namespace dc {

namespace {

constexpr size_t kValueBytes = size_t{64} << 10, kValueAlignment = 16;
constexpr int kOffsetOfCall = 40;  // nn.Dropout: offset = call << 40

thread_local CudaRecording* recorded = nullptr;
thread_local CudaRecording* refreshed = nullptr;

}  // namespace

CudaRecording* recording_on(const Context& context) {
  CudaRecording* const active = recorded ? recorded : refreshed;
  return active && active->device() == context.device ? active : nullptr;
}
bool refreshing() { return refreshed != nullptr; }

CudaRecording::CudaRecording(Context& context, std::vector<CudaRecording*>& launched)
    : context_(context), launched_(launched) {
  const int device = context.device.index;
  DC_CHECK(!recorded, DeviceError, "record: expected one recording at a time on this thread");
  values_ = static_cast<char*>(allocate_now(context, kValueBytes));
  DC_CHECK(values_, OutOfMemoryError, "record: ", context.device, " has no ", kValueBytes,
           " bytes left for the numbers of a recording");
  try {
    noted_.allocate("record", context);
  } catch (...) {
    gpu::release(device, context.stream, values_);
    throw;
  }
  check(gpu::synchronize(device, context.stream), "record");
  check(gpu::begin_capture(device, context.stream), "record");
  recorded = this;
  gpu::name_operation("record");
  noted_.clear_notes("record", context);
}

void CudaRecording::end() {
  recorded = nullptr;
  Status status;
  graph_ = gpu::end_capture(context_.device.index, context_.stream, &status);
  check(status, "record");
}

CudaRecording::~CudaRecording() {
  const int device = context_.device.index;
  if (recorded == this) {
    recorded = nullptr;
    Status ignored;
    graph_ = gpu::end_capture(device, context_.stream, &ignored);
  }
  if (refreshed == this) refreshed = nullptr;
  std::erase(launched_, this);
  gpu::synchronize(device, context_.stream);
  if (graph_) gpu::destroy_graph(device, graph_, context_.stream);
  gpu::release(device, context_.stream, values_);
  noted_.release(context_);
  for (void* p : pinned_) gpu::release_pinned(p);
  for (void* p : pinned_values_)
    if (p) gpu::release_pinned(p);
  for (void* event : value_events_)
    if (event) gpu::destroy_event(device, event);
}

size_t CudaRecording::append(const char* op, const void* value, size_t bytes) {
  const size_t place = host_.size();
  DC_CHECK(place + bytes <= kValueBytes, DeviceError, op, ": a recorded step has more than ", kValueBytes,
           " bytes of numbers that change");
  host_.resize(place + (bytes + kValueAlignment - 1) / kValueAlignment * kValueAlignment);
  std::memcpy(host_.data() + place, value, bytes);
  return place;
}

const void* CudaRecording::value(const char* op, const void* value, size_t bytes) {
  if (refreshed == this) {
    DC_CHECK(next_ < places_.size() && places_[next_].second == bytes, DeviceError, op,
             ": expected the optimizer steps that were recorded, in their order");
    std::memcpy(host_.data() + places_[next_++].first, value, bytes);
    return values_;
  }
  const size_t place = append(op, value, bytes);
  places_.push_back({place, bytes});
  return values_ + place;
}

const RandomKey* CudaRecording::key(const char* op, const RandomKey& key) {
  for (const Key& k : keys_)
    if (std::memcmp(&k.first, &key, sizeof key) == 0) return reinterpret_cast<const RandomKey*>(values_ + k.place);
  keys_.push_back({key, append(op, &key, sizeof key)});
  return reinterpret_cast<const RandomKey*>(values_ + keys_.back().place);
}

const void* CudaRecording::table(const char* op, const void* host, size_t bytes) {
  const int device = context_.device.index;
  void* p = gpu::allocate(device, context_.stream, bytes);
  DC_CHECK(p, OutOfMemoryError, op, ": ", context_.device, " has no ", bytes, " bytes left for a list of tensors");
  check(gpu::write_now(device, p, host, bytes), op);
  gpu::release(device, context_.stream, p);  // while recording: when the graph goes
  return p;
}

void CudaRecording::upload(void* to, const void* from, size_t bytes) {
  void* kept = gpu::allocate_pinned(bytes);
  DC_CHECK(kept, OutOfMemoryError, "copy: no ", bytes, " bytes of pinned memory left");
  pinned_.push_back(kept);
  std::memcpy(kept, from, bytes);
  check(gpu::copy(context_.device.index, context_.stream, to, kept, bytes, gpu::Direction::to_device), "copy");
}

cuda::RangeNote* CudaRecording::note(const RangeCheck& range) {
  DC_CHECK(!noted_.full(), DeviceError, range.op, ": a recorded step has more than ", noted_.checks().size(),
           " checks of indices");
  return noted_.add(range);
}

int64_t CudaRecording::calls(uint64_t seed, uint64_t stream) const {
  return std::count_if(keys_.begin(), keys_.end(),
                       [&](const Key& k) { return k.first.seed == seed && k.first.stream == stream; });
}

void CudaRecording::refresh(bool on) {
  if (!on) {
    refreshed = nullptr;
    DC_CHECK(next_ == places_.size(), DeviceError, "launch: expected ", places_.size(),
             " optimizer steps as in the recording, got ", next_);
    return;
  }
  next_ = 0;
  refreshed = this;
}

void CudaRecording::launch(const std::vector<std::pair<uint64_t, uint64_t>>& advancing) {
  DC_CHECK(graph_, DeviceError, "launch: the recording was not finished");
  for (const Key& k : keys_) {
    RandomKey now = k.first;
    for (const auto& [seed, stream] : advancing)
      if (seed == now.seed && stream == now.stream)
        now.offset += static_cast<uint64_t>(launches_ * calls(seed, stream)) << kOffsetOfCall;
    std::memcpy(host_.data() + k.place, &now, sizeof now);
  }
  const int device = context_.device.index;
  gpu::name_operation("launch");
  if (!host_.empty()) {
    void*& pinned = pinned_values_[launches_ % 2];
    void*& event = value_events_[launches_ % 2];
    if (!pinned) {
      pinned = gpu::allocate_pinned(kValueBytes);
      event = gpu::make_event(device);
      DC_CHECK(pinned && event, OutOfMemoryError, "launch: no ", kValueBytes, " bytes of pinned memory left");
    } else {
      check(gpu::synchronize_event(device, event), "launch");
    }
    std::memcpy(pinned, host_.data(), host_.size());
    check(gpu::copy(device, context_.stream, values_, pinned, host_.size(), gpu::Direction::to_device), "launch");
    check(gpu::record(device, event, context_.stream), "launch");
  }
  check(gpu::launch_graph(device, graph_, context_.stream), "launch");
  ++launches_;
  if (!noted_.empty() && std::find(launched_.begin(), launched_.end(), this) == launched_.end())
    launched_.push_back(this);
}

}  // namespace dc
