#include "emulation/scheduler.h"

#include <utility>

#include "emulation/async_copy.h"
#include "emulation/barrier.h"
#include "emulation/collective.h"
#include "emulation/observer.h"
#include "emulation/report.h"

namespace dc::emulation {

Thread* current = nullptr;
Grid grid_in_progress;

namespace {

// A thread that polls a flag gives way to all others each time. So many polls without a barrier, an atomic change or
// the end of a thread between them mean that nothing can change the flag any more.
constexpr uint64_t kLivelockSpins = 1'000'000;
// Whatever happens between them.
constexpr uint64_t kMostSpins = 1'000'000'000;

// Thrown by the thread that ends a launch and caught where its fiber began, so that its texts are freed. The frames of
// all other threads are abandoned: primitives own nothing while they wait.
struct LaunchError {
  std::string text;
};

}  // namespace

Scheduler& scheduler() {
  static Scheduler* const only = new Scheduler;  // never destroyed: a thread of Python may outlive static objects
  return *only;
}

std::mutex& device_lock() {
  static auto* const only = new std::mutex;
  return *only;
}

// Where every fiber starts. It runs the current thread and goes on with whatever is next, on the same stack if that
// has not begun yet.
void fiber_main() {
  fiber_started();
  Scheduler& s = scheduler();
  for (;;) {
    Fiber* const self = current->fiber;
    Thread* next = nullptr;
    try {
      s.body_(s.closure_);
      next = s.end_of(*current);
    } catch (LaunchError& e) {
      s.error_ = std::move(e.text);
    }
    if (next && !next->fiber) {
      next->fiber = self;
      current = next;
      continue;
    }
    s.fibers_.give(self);  // continues below, and loops, when taken for another thread
    switch_fiber(*self, next ? *next->fiber : s.host_);
  }
}

Scheduler::Scheduler() : fibers_(fiber_main) {}

uint64_t Scheduler::random() {  // xorshift64
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

void Scheduler::begin(size_t threads) {
  ready_.reserve(threads);
  blocks_.clear();
  alive_ = 0;
  idle_spins_ = spins_ = 0;
  error_.clear();
}

void Scheduler::add(Block& block) {
  blocks_.push_back(&block);
  for (Thread& thread : block.threads) {
    thread.state = State::ready;
    thread.fiber = nullptr;
    ready_.push_back(&thread);
  }
  for (Warp& warp : block.warps) {
    warp.live = warp.in_meetings = 0;
    for (unsigned lane = 0; lane < kWarpSize; ++lane) warp.live |= warp.threads[lane] ? 1u << lane : 0;
  }
  block.live = static_cast<unsigned>(block.threads.size());
  block.barrier.arrived = 0;
  block.barrier.votes = {};
  block.barrier.waiting.clear();
  alive_ += block.threads.size();
}

std::string Scheduler::run(void (*body)(const void*), const void* closure) {
  body_ = body;
  closure_ = closure;
  adopt_host_stack(host_);
  try {
    resume(pick(), host_);
  } catch (LaunchError& e) {
    error_ = std::move(e.text);
  }
  current = nullptr;
  if (!error_.empty()) {
    for (Block* block : blocks_)
      for (Thread& thread : block->threads) forget_copies(thread);
    fibers_.restart_all();
  }
  return error_;
}

Thread* Scheduler::pick() {
  const size_t n = ready_.size();
  if (n == 0) return nullptr;
  switch (configuration_.order) {
    case Order::forward:
      return ready_.pop_front();
    case Order::reverse:
      return ready_.pop_back();
    case Order::random:
      break;
  }
  return ready_.pop_at(random() % n);
}

void Scheduler::resume(Thread* next, Fiber& from) {
  if (!next->fiber) {
    next->fiber = fibers_.take();
    if (!next->fiber) fail("out of memory: no stack for another thread, " + std::to_string(fibers_.size()) + " in use");
  }
  current = next;
  switch_fiber(from, *next->fiber);
}

Thread* Scheduler::end_of(Thread& thread) {
  thread.state = State::done;
  lane_ends(thread);
  forget_copies(thread);
  if (observer) observer->thread_ends(thread);
  thread.warp->live &= ~(1u << thread.lane);
  --alive_;
  note_progress();
  block_lost_thread(*thread.block);
  if (alive_ == 0) return nullptr;
  Thread* next = pick();
  if (!next) fail(stuck("deadlock"));
  current = next;
  return next;
}

void Scheduler::make_ready(Thread* thread) {
  thread->state = State::ready;
  ready_.push_back(thread);
}

void Scheduler::wait(const char* what, const Place& place) {
  Thread* const self = current;
  self->state = State::waiting;
  self->waits_in = what;
  self->place = place;
  Thread* next = pick();
  if (!next) fail(stuck("deadlock"));
  resume(next, *self->fiber);
  current = self;
}

void Scheduler::spin(const Place& place) {
  Thread* const self = current;
  self->waits_in = "spin_wait";
  self->place = place;
  self->state = State::spinning;
  if (++idle_spins_ > kLivelockSpins || ++spins_ > kMostSpins) fail(stuck("livelock"));
  // To the end that is served last, or two threads that poll would keep all others waiting.
  if (configuration_.order == Order::reverse)
    ready_.push_front(self);
  else
    ready_.push_back(self);
  Thread* next = pick();
  if (next != self) resume(next, *self->fiber);
  current = self;
  self->state = State::ready;
}

void Scheduler::fail(const std::string& text) { throw LaunchError{text}; }

std::string Scheduler::stuck(const char* what) const { return std::string(what) + ": " + describe_waiting(blocks_); }

bool Scheduler::on_fiber_stack(const void* address) const { return fibers_.contains(address); }

void fail(const std::string& text, const Place& place) {
  scheduler().fail("block " + to_text(current->block->index) + " thread " + to_text(current->index) + " at " +
                   to_text(place) + ": " + text);
}

}  // namespace dc::emulation
