// runtime/gpu.h over the emulated device.
//   DEEPCORE_EMULATE_DEVICES   number of devices (default 2)
//   DEEPCORE_EMULATE_MEMORY    bytes of each (default 16 GiB)
//   DEEPCORE_EMULATE_DRIVER    the CUDA version of its driver, 12080 for 12.8, 0 for none (default: new enough)
//   DEEPCORE_EMULATE_CAPABILITY   of the last device, 75 for 7.5 (default 90)
//   DEEPCORE_EMULATE_START     what the driver says instead of counting its devices
#include <cstdlib>
#include <cstring>
#include <map>

#include "emulation/launch.h"
#include "emulation/limits.h"
#include "emulation/memory.h"
#include "emulation/runtime/faults.h"
#include "emulation/runtime/stream.h"
#include "runtime/diagnosis.h"
#include "runtime/gpu.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace dc::emulation {

namespace {

constexpr int kDevices = 2;
constexpr int kRuntimeVersion = 13000;
constexpr int kCapability = 90;

uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  if (!text || !*text) return otherwise;
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  return *end ? otherwise : value;
}

struct Found {
  int devices;
  std::string reason;
};
const Found& found() {
  static const Found once = [] {
    gpu::Facts facts;
    facts.runtime = kRuntimeVersion;
    facts.driver = static_cast<int>(number_from("DEEPCORE_EMULATE_DRIVER", kRuntimeVersion));
    if (const char* error = std::getenv("DEEPCORE_EMULATE_START")) facts.start_error = error;
    facts.capabilities.assign(number_from("DEEPCORE_EMULATE_DEVICES", kDevices), {kCapability / 10, kCapability % 10});
    const int last = static_cast<int>(number_from("DEEPCORE_EMULATE_CAPABILITY", kCapability));
    if (!facts.capabilities.empty()) facts.capabilities.back() = {last / 10, last % 10};
    Found f{static_cast<int>(facts.capabilities.size()), gpu::reason_of(facts)};
    if (!f.reason.empty()) f.devices = 0;
    return f;
  }();
  return once;
}
uint64_t memory_limit() {
  static const uint64_t bytes = number_from("DEEPCORE_EMULATE_MEMORY", kDeviceMemory);
  return bytes;
}

struct Accounts {
  struct Block {
    int device;
    size_t bytes;
  };
  std::map<const void*, Block> blocks;  // of device memory that is really there
  std::map<int, uint64_t> used;         // by device
  uint64_t allocations = 0, live = 0;
  int64_t skip = 0, failing = 0;
};
Accounts& accounts() {
  static auto* const instance = new Accounts;
  return *instance;
}

bool fails_now() {
  Accounts& a = accounts();
  ++a.allocations;
  if (a.failing == 0) return false;
  if (a.skip > 0) {
    --a.skip;
    return false;
  }
  --a.failing;
  return true;
}

void free_now(int device, void* p) {
  Accounts& a = accounts();
  a.used[device] -= a.blocks[p].bytes;
  a.blocks.erase(p);
  free_device(p);
}

EmulatedStream& stream_of(void* handle) {
  static auto* const special = new EmulatedStream[2];  // the legacy stream, and the one of each thread
  const auto number = reinterpret_cast<uintptr_t>(handle);
  return number == 1 || number == 2 ? special[number - 1] : *static_cast<EmulatedStream*>(handle);
}

}  // namespace

void fail_allocations(int64_t skip, int64_t count) {
  const std::lock_guard hold(runtime_lock());
  accounts().skip = skip;
  accounts().failing = count;
}
uint64_t allocations() { return accounts().allocations; }
uint64_t live_allocations() { return accounts().live; }

}  // namespace dc::emulation

namespace dc::gpu {

using emulation::accounts;
using emulation::drain;
using emulation::EmulatedEvent;
using emulation::EmulatedGraph;
using emulation::EmulatedStream;
using emulation::push;
using emulation::runtime_lock;
using emulation::stream_of;

bool emulated() { return true; }
int device_count() { return emulation::found().devices; }
std::string reason() { return emulation::found().reason; }
AcceleratorProperties properties(int) {
  return {"emulated device (for tests)", emulation::kCapability / 10, emulation::kCapability % 10,
          static_cast<int>(emulation::kMultiprocessors), static_cast<size_t>(emulation::memory_limit())};
}

void* allocate(int device, void* stream, size_t bytes) {
  const std::lock_guard hold(runtime_lock());
  if (emulation::fails_now()) return nullptr;
  auto& a = accounts();
  if (a.used[device] + bytes > emulation::memory_limit()) {
    // Frees may be waiting in the stream. Its errors are for whoever waits for results.
    EmulatedStream& s = stream_of(stream);
    if (s.capturing || !drain(s, s.pushed)) return nullptr;
    if (a.used[device] + bytes > emulation::memory_limit()) return nullptr;
  }
  void* p = emulation::allocate_device(bytes);
  if (!p) return nullptr;
  a.blocks[p] = {device, bytes};
  a.used[device] += bytes;
  ++a.live;
  return p;
}

void release(int device, void* stream, void* p) {
  const std::lock_guard hold(runtime_lock());
  EmulatedStream& s = stream_of(stream);
  if (s.capturing) {
    s.kept.push_back(p);
    return;
  }
  --accounts().live;
  push(s, [device, p] {
    emulation::free_now(device, p);
    return Status{};
  });
}

void hand_out(int, void* stream, void* p, size_t bytes, size_t block) {
  const std::lock_guard hold(runtime_lock());
  push(stream_of(stream), [p, bytes, block] {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(p, block);
#endif
    emulation::poison_device(p, block);
    emulation::limit_device(p, bytes);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(static_cast<char*>(p) + bytes, block - bytes);
#endif
    return Status{};
  });
}

void take_back(int, void* stream, void* p, size_t block) {
  const std::lock_guard hold(runtime_lock());
  push(stream_of(stream), [p, block] {
    emulation::limit_device(p, 0);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(p, block);
#else
    (void)block;
#endif
    return Status{};
  });
}

void* allocate_pinned(size_t bytes) {
  const std::lock_guard hold(runtime_lock());
  if (emulation::fails_now()) return nullptr;
  void* p = std::malloc(bytes);
  if (p) ++accounts().live;
  return p;
}
void release_pinned(void* p) {
  const std::lock_guard hold(runtime_lock());
  --accounts().live;
  std::free(p);
}

int device_of(const void* p) {
  const std::lock_guard hold(runtime_lock());
  const auto& blocks = accounts().blocks;
  auto next = blocks.upper_bound(p);
  if (next == blocks.begin()) return -1;
  const auto& [start, block] = *--next;
  return static_cast<const char*>(p) < static_cast<const char*>(start) + block.bytes ? block.device : -1;
}

Status copy(int, void* stream, void* to, const void* from, size_t bytes, Direction) {
  const std::lock_guard hold(runtime_lock());
  EmulatedStream& s = stream_of(stream);
  push(
      s,
      [to, from, bytes] {
        std::memcpy(to, from, bytes);
        return Status{};
      },
      emulation::Kind::copy);
  return emulation::copies_run_early(s) ? drain(s, s.pushed) : Status{};
}

Status copy_peer(int, void* to, int, const void* from, size_t bytes, void* stream) {
  return copy(0, stream, to, from, bytes, Direction::on_device);
}

void* make_stream(int device) {
  const std::lock_guard hold(runtime_lock());
  emulation::install_streams();
  auto* stream = new EmulatedStream;
  stream->device = device;
  return stream;
}

Status synchronize(int, void* stream) {
  const std::lock_guard hold(runtime_lock());
  EmulatedStream& s = stream_of(stream);
  if (s.capturing) return emulation::failure("waiting for a stream that is being captured");
  return drain(s, s.pushed);
}

void* make_event(int) { return new EmulatedEvent; }
void destroy_event(int, void* event) { delete static_cast<EmulatedEvent*>(event); }

Status record(int, void* event, void* stream) {
  const std::lock_guard hold(runtime_lock());
  EmulatedStream& s = stream_of(stream);
  *static_cast<EmulatedEvent*>(event) = {&s, s.pushed};
  return {};
}

Status wait(int, void* stream, void* event) {
  const std::lock_guard hold(runtime_lock());
  const EmulatedEvent recorded = *static_cast<EmulatedEvent*>(event);
  if (recorded.stream)
    push(stream_of(stream), [recorded] { return drain(*recorded.stream, recorded.ticket); }, emulation::Kind::copy);
  return {};
}

Status synchronize_event(int, void* event) {
  const std::lock_guard hold(runtime_lock());
  const EmulatedEvent& e = *static_cast<EmulatedEvent*>(event);
  return e.stream ? drain(*e.stream, e.ticket) : Status{};
}

Status begin_capture(int, void* stream) {
  const std::lock_guard hold(runtime_lock());
  EmulatedStream& s = stream_of(stream);
  if (s.capturing) return emulation::failure("the stream is already being captured");
  s.capturing = true;
  s.captured.clear();
  s.kept.clear();
  return {};
}

void* end_capture(int, void* stream, Status* status) {
  const std::lock_guard hold(runtime_lock());
  EmulatedStream& s = stream_of(stream);
  if (!s.capturing) {
    *status = emulation::failure("the stream is not being captured");
    return new EmulatedGraph;
  }
  s.capturing = false;
  *status = {};
  return new EmulatedGraph{std::move(s.captured), std::move(s.kept)};
}

Status launch_graph(int, void* graph, void* stream) {
  const std::lock_guard hold(runtime_lock());
  for (const emulation::Work& work : static_cast<EmulatedGraph*>(graph)->work) {
    emulation::name_current_operation(work.op.c_str());
    push(stream_of(stream), work.run);
  }
  return {};
}

void destroy_graph(int device, void* graph, void* stream) {
  auto* const g = static_cast<EmulatedGraph*>(graph);
  for (void* p : g->kept) release(device, stream, p);
  delete g;
}

Status write_now(int, void* to, const void* from, size_t bytes) {
  const std::lock_guard hold(runtime_lock());
  std::memcpy(to, from, bytes);
  return {};
}

bool capturing(int, void* stream) { return stream_of(stream).capturing; }

void name_operation(const char* op) { emulation::name_current_operation(op); }
void select(int) {}
Status health(int) {
  const std::lock_guard hold(runtime_lock());
  return emulation::health();
}

}  // namespace dc::gpu
