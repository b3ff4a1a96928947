#include "emulation/runtime/stream.h"

#include <atomic>

#include "emulation/launch.h"
#include "emulation/runtime/faults.h"

namespace dc::emulation {

namespace {

thread_local std::string current_operation = "launch";
std::atomic<uint64_t> launches_so_far{0};
int64_t launches_to_skip = 0, failing_launches = 0;  // under runtime_lock

Status launch_on_stream(Stream handle, const LaunchDescription& description) {
  if (!handle) return run(description);
  const std::lock_guard hold(runtime_lock());
  push(*static_cast<EmulatedStream*>(handle), [description] {
    ++launches_so_far;
    if (failing_launches > 0 && launches_to_skip-- <= 0) {
      --failing_launches;
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

void fail_launches(int64_t skip, int64_t count) {
  const std::lock_guard hold(runtime_lock());
  launches_to_skip = skip;
  failing_launches = count;
}

uint64_t launches_run() { return launches_so_far; }

void push(EmulatedStream& stream, std::function<Status()> run) {
  if (stream.capturing) {
    stream.captured.push_back({current_operation, std::move(run)});
    return;
  }
  stream.queue.push_back({current_operation, std::move(run)});
  ++stream.pushed;
}

Status drain(EmulatedStream& stream, uint64_t ticket) {
  while (stream.done < ticket && !stream.queue.empty()) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.done;
    const Status status = work.run();
    if (!status) {
      stream.done += stream.queue.size();
      stream.queue.clear();
      return failure((work.op + ": " + status.error).c_str());
    }
  }
  return {};
}

}  // namespace dc::emulation
