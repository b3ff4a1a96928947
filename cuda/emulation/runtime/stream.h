// Streams of the emulated runtime: work is queued and runs only when someone waits for it, as late as a GPU ever could.
// What forgot to wait finds old contents. In the mode `early` streams of copies run theirs at once.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "device/status.cuh"

namespace dc::emulation {

enum class Kind : uint8_t { launch, copy };  // waits count as copies

struct Work {
  std::string op;
  std::function<Status()> run;
  Kind kind;
};

struct EmulatedStream {
  int device = 0;
  std::deque<Work> queue;
  uint64_t pushed = 0, done = 0;  // of all work so far
  uint64_t launches = 0;          // in the queue
  bool capturing = false;
  std::vector<Work> captured;
  std::vector<void*> kept;  // memory released while capturing
};

struct EmulatedEvent {
  EmulatedStream* stream = nullptr;  // null: never recorded
  uint64_t ticket = 0;               // done once this much of the stream is
};

struct EmulatedGraph {
  std::vector<Work> work;
  std::vector<void*> kept;
};

// Held by every call of the runtime.
std::recursive_mutex& runtime_lock();
// To the end of the stream, or of the graph it captures.
void push(EmulatedStream& stream, std::function<Status()> run, Kind kind = Kind::launch);
// DEEPCORE_EMULATE_ASYNC=early: whether a copy acts when it is issued, as nothing but copies and waits stands before
// it. A copy that should have waited for another stream overwrites what is still needed there.
bool copies_run_early(const EmulatedStream& stream);
// Runs the stream's work up to `ticket`. After an error the rest of the queue is dropped.
Status drain(EmulatedStream& stream, uint64_t ticket);
// An error once the context is lost.
Status health();
void name_current_operation(const char* op);
// Routes launches to their streams. Launches without one run at once.
void install_streams();

}  // namespace dc::emulation
