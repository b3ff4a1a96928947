#include "runtime/accelerator.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "core/context.h"
#include "core/error.h"
#include "families/families.h"
#include "runtime/gpu.h"
#include "runtime/recording.h"
#include "runtime/staging.h"
#include "runtime/support.h"

namespace dc {

namespace {

constexpr size_t kStagingBytes = size_t{4} << 20;  // each of the two pinned buffers for uploads
constexpr int kStagingSlots = 2;
constexpr size_t kTables = 32;  // tables kept on the device
constexpr size_t kSmallestTable = 256;

bool synchronous() {
  static const bool wanted = [] {
    const char* value = std::getenv("DEEPCORE_CUDA_SYNC");
    return value && std::string(value) == "1";
  }();
  return wanted;
}

class StreamAllocator final : public RawAllocator {
 public:
  StreamAllocator(int device, void* stream) : device_(device), stream_(stream) {}
  void* allocate(size_t bytes) override { return gpu::allocate(device_, stream_, bytes); }
  void release(void* p, size_t) override { gpu::release(device_, stream_, p); }
  void hand_out(void* p, size_t bytes, size_t block) override { gpu::hand_out(device_, stream_, p, bytes, block); }
  void take_back(void* p, size_t block) override { gpu::take_back(device_, stream_, p, block); }

 private:
  int device_;
  void* stream_;
};

struct Table {
  std::vector<char> contents;
  void* data;
};

// Tables of device_table by device; the least recently used one goes.
struct Tables {
  std::mutex mutex;
  std::map<int, std::deque<Table>> of_device;
};
Tables& tables() {
  static auto* instance = new Tables;
  return *instance;
}

void refuse_reading(const char* op, const Context& context) {
  DC_CHECK(!recording_on(context), DeviceError, op, ": expected no reads by the host while a step is recorded");
}

}  // namespace

void check(const Status& status, const char* op) {
  DC_CHECK(status.error == nullptr, DeviceError, op, ": ", status.error);
}

void check_launch(const Status& status, const char* op, const Context& context) {
  if (status) return;
  const std::string error = message(op, ": ", status.error);
  check(gpu::health(context.device.index), op);
  throw DeviceError(error);
}

void missing_kernel() { throw DeviceError("this device has no kernel for the operation; use device='cpu'"); }

bool before_launch(const char* op, Context& context) {
  if (refreshing()) return false;
  gpu::select(context.device.index);
  gpu::name_operation(op);
  return true;
}

void refuse_recording(const char* op, Context& context) {
  DC_CHECK(!recording_on(context), DeviceError, op,
           ": would be the same at each launch of a recorded step; pass random numbers as inputs");
}

const void* recorded_bytes(const char* op, Context& context, const void* value, size_t bytes) {
  CudaRecording* const recording = recording_on(context);
  return recording ? recording->value(op, value, bytes) : nullptr;
}

const RandomKey* recorded_key(const char* op, Context& context, const RandomKey& key) {
  CudaRecording* const recording = recording_on(context);
  return recording && !refreshing() ? recording->key(op, key) : nullptr;
}

void after_launch(const char* op, Context& context) {
  if (synchronous() && !gpu::capturing(context.device.index, context.stream))
    check(gpu::synchronize(context.device.index, context.stream), op);
}

void* allocate_now(const Context& context, size_t bytes) {
  const int device = context.device.index;
  void* const p = gpu::allocate(device, context.stream, bytes);
  if (p || gpu::capturing(device, context.stream)) return p;  // what is freed meanwhile lives on with the graph
  cuda_accelerator().empty_pool(context.device);
  return gpu::allocate(device, context.stream, bytes);
}

Scratch::Scratch(const char* op, Context& context, size_t bytes)
    : context_(context), data_(allocate_now(context, bytes)) {
  DC_CHECK(data_, OutOfMemoryError, op, ": ", context.device, " has no ", bytes,
           " bytes left for intermediate results");
}
Scratch::~Scratch() { gpu::release(context_.device.index, context_.stream, data_); }

const void* device_table(const char* op, Context& context, const void* host, size_t bytes) {
  if (refreshing()) return nullptr;  // no kernel will look
  if (CudaRecording* const recording = recording_on(context)) return recording->table(op, host, bytes);
  Tables& all = tables();
  std::lock_guard lock(all.mutex);
  std::deque<Table>& kept = all.of_device[context.device.index];
  const auto same = [&](const Table& t) {
    return t.contents.size() == bytes && std::memcmp(t.contents.data(), host, bytes) == 0;
  };
  auto found = std::find_if(kept.begin(), kept.end(), same);
  if (found != kept.end()) {
    Table table = std::move(*found);
    kept.erase(found);
    kept.push_front(std::move(table));
    return kept.front().data;
  }
  const int device = context.device.index;
  void* data = allocate_now(context, std::max(bytes, kSmallestTable));
  DC_CHECK(data, OutOfMemoryError, op, ": ", context.device, " has no ", bytes, " bytes left for a list of tensors");
  const char* from = static_cast<const char*>(host);
  kept.push_front({std::vector<char>(from, from + bytes), data});
  // Read when the stream comes to it: the kept copy lives that long.
  gpu::name_operation(op);
  check(gpu::copy(device, context.stream, data, kept.front().contents.data(), bytes, gpu::Direction::to_device), op);
  if (kept.size() > kTables) {
    check(gpu::synchronize(device, context.stream), op);  // before its host copy goes
    gpu::release(device, context.stream, kept.back().data);
    kept.pop_back();
  }
  return data;
}

void read_back(const char* op, Context& context, void* host, const void* device, size_t bytes) {
  refuse_reading(op, context);
  gpu::name_operation(op);
  check(gpu::copy(context.device.index, context.stream, host, device, bytes, gpu::Direction::to_host), op);
  check(gpu::synchronize(context.device.index, context.stream), op);
}

struct CudaAccelerator::PerCard {
  struct Slot {
    void* pinned = nullptr;
    void* event = nullptr;
    bool used = false;
  };

  int device;
  void* compute = nullptr;
  Context context;
  std::vector<CudaRecording*> launched;  // recordings whose checks nobody has read yet
  NotedChecks noted;
  Slot slots[kStagingSlots];
  int next_slot = 0;
  std::unique_ptr<Staging> staging;
};

CudaAccelerator& cuda_accelerator() {
  static auto* const instance = new CudaAccelerator;  // never destroyed: arrays may outlive the interpreter's exit
  return *instance;
}

CudaAccelerator::CudaAccelerator() = default;
CudaAccelerator::~CudaAccelerator() = default;

bool CudaAccelerator::emulated() const { return gpu::emulated(); }
int CudaAccelerator::device_count() const { return gpu::device_count(); }
std::string CudaAccelerator::reason() const { return gpu::reason(); }
AcceleratorProperties CudaAccelerator::properties(int device) const { return gpu::properties(device); }
const BackendTable& CudaAccelerator::table() const { return cuda::table; }
const KernelTable<double>& CudaAccelerator::table_f64() const { return cuda::table_f64; }

CudaAccelerator::PerCard& CudaAccelerator::card(int device) {
  std::lock_guard lock(mutex_);
  if (cards_.size() <= static_cast<size_t>(device)) cards_.resize(static_cast<size_t>(device) + 1);
  auto& made = cards_[static_cast<size_t>(device)];
  if (!made) {
    auto fresh = std::make_unique<PerCard>();
    fresh->device = device;
    fresh->compute = gpu::make_stream(device);
    DC_CHECK(fresh->compute, DeviceError, "device cuda:", device, ": no stream can be made");
    fresh->context = Context{Device{DeviceKind::cuda, device}, fresh->compute};
    fresh->staging = std::make_unique<Staging>(fresh->context);
    made = std::move(fresh);
  }
  return *made;
}

std::unique_ptr<RawAllocator> CudaAccelerator::allocator(int device) {
  return std::make_unique<StreamAllocator>(device, card(device).compute);
}

void* CudaAccelerator::stream(int device) { return card(device).compute; }

// Through pinned memory in pieces, so that the caller's memory is free on return and the device is not waited for.
void CudaAccelerator::upload(PerCard& c, void* to, const void* from, size_t bytes) {
  std::lock_guard lock(mutex_);
  for (size_t done = 0; done < bytes;) {
    PerCard::Slot& slot = c.slots[c.next_slot];
    c.next_slot = (c.next_slot + 1) % kStagingSlots;
    if (!slot.pinned) {
      slot.pinned = gpu::allocate_pinned(kStagingBytes);
      DC_CHECK(slot.pinned, OutOfMemoryError, "memory: no ", kStagingBytes, " bytes of pinned memory left");
      slot.event = gpu::make_event(c.device);
    }
    if (slot.used) check(gpu::synchronize_event(c.device, slot.event), "copy");
    const size_t n = std::min(kStagingBytes, bytes - done);
    std::memcpy(slot.pinned, static_cast<const char*>(from) + done, n);
    check(gpu::copy(c.device, c.compute, static_cast<char*>(to) + done, slot.pinned, n, gpu::Direction::to_device),
          "copy");
    check(gpu::record(c.device, slot.event, c.compute), "copy");
    slot.used = true;
    done += n;
  }
}

void CudaAccelerator::copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  gpu::name_operation("copy");
  if (refreshing()) return;
  if (from_device.kind == DeviceKind::cpu) {
    PerCard& target = card(to_device.index);
    if (CudaRecording* const recording = recording_on(target.context))
      recording->upload(to, from, bytes);
    else
      upload(target, to, from, bytes);
    return;
  }
  PerCard& source = card(from_device.index);
  if (!(to_device == from_device)) refuse_reading("copy", source.context);
  if (to_device.kind == DeviceKind::cpu) {
    check(gpu::copy(source.device, source.compute, to, from, bytes, gpu::Direction::to_host), "copy");
    synchronize(source.device);
  } else if (to_device.index == from_device.index) {
    check(gpu::copy(source.device, source.compute, to, from, bytes, gpu::Direction::on_device), "copy");
  } else {
    PerCard& target = card(to_device.index);
    // The target's memory may still be in use by its own earlier work.
    check(gpu::synchronize(target.device, target.compute), "copy");
    check(gpu::copy_peer(target.device, to, source.device, from, bytes, source.compute), "copy");
    check(gpu::synchronize(source.device, source.compute), "copy");
  }
}

uint64_t CudaAccelerator::send(int device, const std::vector<StagedPiece>& pieces) {
  return card(device).staging->send(pieces);
}

void CudaAccelerator::arrive(int device, uint64_t ticket) { card(device).staging->arrive(ticket); }

int CudaAccelerator::device_of(const void* p) { return gpu::device_of(p); }

void CudaAccelerator::order(int device, void* first, void* later) {
  if (first == later) return;
  constexpr char op[] = "from_dlpack";
  DC_CHECK(!gpu::capturing(device, card(device).compute), DeviceError, op,
           ": expected no arrays to come or go while a step is recorded");
  void* const event = gpu::make_event(device);
  DC_CHECK(event, DeviceError, op, ": device cuda:", device, ": no event can be made");
  Status status = gpu::record(device, event, first);
  if (status) status = gpu::wait(device, later, event);
  gpu::destroy_event(device, event);  // what was queued keeps what it needs
  check(status, op);
}

void CudaAccelerator::finish(int device) {
  void* const stream = card(device).compute;
  if (!gpu::capturing(device, stream)) gpu::synchronize(device, stream);
}

void CudaAccelerator::check_range(int device, const RangeCheck& range, const int64_t* values, int64_t* checked) {
  PerCard& c = card(device);
  if (refreshing()) return;
  if (CudaRecording* const recording = recording_on(c.context)) {
    cuda::check_range(c.context, range, values, checked, recording->note(range));
    return;
  }
  std::unique_lock lock(mutex_);
  if (c.noted.full()) {
    lock.unlock();
    synchronize(device);
    lock.lock();
  }
  if (!c.noted.allocated()) c.noted.allocate(range.op, c.context);
  if (c.noted.empty()) c.noted.clear_notes(range.op, c.context);
  cuda::check_range(c.context, range, values, checked, c.noted.add(range));
}

void CudaAccelerator::synchronize(int device) {
  PerCard& c = card(device);
  refuse_reading("synchronize", c.context);
  std::vector<RangeCheck> checks;
  std::vector<cuda::RangeNote> notes;
  {
    std::lock_guard lock(mutex_);
    std::vector<const NotedChecks*> all = {&c.noted};
    for (const CudaRecording* recording : c.launched) all.push_back(&recording->noted());
    c.launched.clear();
    for (const NotedChecks* noted : all) checks.insert(checks.end(), noted->checks().begin(), noted->checks().end());
    notes.resize(checks.size());
    cuda::RangeNote* to = notes.data();
    for (const NotedChecks* noted : all) {
      if (!noted->empty()) noted->read("synchronize", c.context, to);
      to += noted->checks().size();
    }
    c.noted.forget();
    check(gpu::synchronize(device, c.compute), "synchronize");
  }
  for (size_t i = 0; i < checks.size(); ++i) {
    const RangeCheck& r = checks[i];
    DC_CHECK(notes[i].position == cuda::kNoPosition, ArgumentError, r.op, ": expected ", r.what, " in [", r.low, ", ",
             r.high, "), got ", notes[i].value, r.place, notes[i].position);
  }
}

void CudaAccelerator::begin_recording(int device) {
  PerCard& c = card(device);
  synchronize(device);  // what is queued is not part of the recording
  DC_CHECK(!recording_, DeviceError, "record: expected one recording at a time");
  recording_ = std::make_unique<CudaRecording>(c.context, c.launched);
}

std::unique_ptr<Recording> CudaAccelerator::end_recording(int) {
  DC_CHECK(recording_, DeviceError, "record: no recording was begun");
  std::unique_ptr<CudaRecording> made = std::move(recording_);
  made->end();
  return made;
}

void CudaAccelerator::empty_cache(int device) {
  PerCard& c = card(device);
  refuse_reading("empty_cache", c.context);
  check(gpu::synchronize(device, c.compute), "empty_cache");  // tables may be in use, and their host copies are read
  c.staging->release();
  Tables& all = tables();
  std::lock_guard lock(all.mutex);
  for (const Table& table : all.of_device[device]) gpu::release(device, c.compute, table.data);
  all.of_device[device].clear();
}

}  // namespace dc
