// Runs the threads of one or more blocks on fibers, one at a time, until all have ended or one reports an error.
//
// A thread that never waits costs no switch: the fiber that ran it continues with the next one. A thread that waits
// leaves its fiber suspended; whoever picks it up again switches to it.
#pragma once
#include <cstdint>
#include <mutex>
#include <string>

#include "emulation/block_state.h"
#include "emulation/configuration.h"
#include "emulation/ready_queue.h"
#include "emulation/thread.h"

namespace dc::emulation {

class Scheduler {
 public:
  Scheduler();
  void configure(const Configuration& configuration) { configuration_ = configuration; }
  const Configuration& configuration() const { return configuration_; }
  void seed(uint64_t seed) { random_ = seed * 0x9E3779B97F4A7C15ull | 1; }
  uint64_t random();

  // Forgets the blocks of the last run.
  void begin(size_t threads);
  void add(Block& block);
  // Runs body(closure) once per thread. Empty, or the error that ended it.
  std::string run(void (*body)(const void* closure), const void* closure);

  // The rest is called by the running thread.
  void wait(const char* what, const Place& place);
  void spin(const Place& place);
  void make_ready(Thread* thread);
  // Something happened that a spinning thread may have waited for.
  void note_progress() { idle_spins_ = 0; }
  [[noreturn]] void fail(const std::string& text);
  bool on_fiber_stack(const void* address) const;

 private:
  friend void fiber_main();
  Thread* pick();
  void resume(Thread* next, Fiber& from);
  // What runs next; null when all have ended.
  Thread* end_of(Thread& thread);
  std::string stuck(const char* what) const;

  Configuration configuration_;
  uint64_t random_ = 1;
  ReadyQueue ready_;
  std::vector<Block*> blocks_;
  Fiber host_;
  FiberPool fibers_;
  size_t alive_ = 0;
  uint64_t idle_spins_ = 0, spins_ = 0;
  void (*body_)(const void*) = nullptr;
  const void* closure_ = nullptr;
  std::string error_;
};

Scheduler& scheduler();
// Held while a launch runs.
std::mutex& device_lock();

[[noreturn]] void fail(const std::string& text, const Place& place);

}  // namespace dc::emulation
