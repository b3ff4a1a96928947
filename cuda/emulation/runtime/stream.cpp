#include "emulation/runtime/stream.h"

#include <atomic>

#include "emulation/launch.h"
#include "emulation/runtime/faults.h"
#include "runtime/diagnosis.h"

namespace dc::emulation {

namespace {

thread_local std::string current_operation = "launch";
std::atomic<uint64_t> launches_so_far{0};
int64_t launches_to_skip = 0, failing_launches = 0;  // under runtime_lock
bool losing = false, lost = false;                   // the context, by a launch that fails

Status launch_on_stream(Stream handle, const LaunchDescription& description) {
  if (!handle) return run(description);
  const std::lock_guard hold(runtime_lock());
  if (lost) return failure("an earlier launch failed");
  push(*static_cast<EmulatedStream*>(handle), [description] {
    ++launches_so_far;
    if (failing_launches > 0 && launches_to_skip-- <= 0) {
      --failing_launches;
      lost = losing;
      return failure("the launch failed (a fault set by a test)");
    }
    return run(description);
  });
  return {};
}

}  // namespace

std::recursive_mutex& runtime_lock() {
  static auto* const lock = new std::recursive_mutex;  // never destroyed: arrays may outlive static objects
  return *lock;
}

void name_current_operation(const char* op) { current_operation = op; }

void install_streams() { set_launcher(launch_on_stream); }

void fail_launches(int64_t skip, int64_t count, bool lose_context) {
  const std::lock_guard hold(runtime_lock());
  losing = lose_context;
  launches_to_skip = skip;
  failing_launches = count;
}

uint64_t launches_run() { return launches_so_far; }

void push(EmulatedStream& stream, std::function<Status()> run, Kind kind) {
  if (stream.capturing) {
    stream.captured.push_back({current_operation, std::move(run), kind});
    return;
  }
  stream.queue.push_back({current_operation, std::move(run), kind});
  ++stream.pushed;
  stream.launches += kind == Kind::launch;
}

bool copies_run_early(const EmulatedStream& stream) {
  Configuration configuration;
  return !stream.capturing && stream.launches == 0 && read_configuration(configuration).empty() &&
         configuration.async == Async::early;
}

Status health() { return lost ? gpu::context_lost("an earlier launch failed") : Status{}; }

Status drain(EmulatedStream& stream, uint64_t ticket) {
  if (const Status s = health(); !s) return s;
  while (stream.done < ticket && !stream.queue.empty()) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.done;
    stream.launches -= work.kind == Kind::launch;
    const Status status = work.run();
    if (!status) {
      stream.done += stream.queue.size();
      stream.queue.clear();
      stream.launches = 0;
      const Status named = failure((work.op + ": " + status.error).c_str());
      return lost ? gpu::context_lost(named.error) : named;
    }
  }
  return {};
}

}  // namespace dc::emulation
