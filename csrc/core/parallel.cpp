// The thread pool: workers spin briefly for the next job, then sleep. A forked child starts its own.
// Each thread first takes the tasks of its own share, a run of neighbours, in order, and then what others have left:
// what a thread wrote in one job, it mostly reads in the next, and not from another core's cache.
#include "core/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/allocator.h"
#include "core/error.h"

namespace dc {

namespace {

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

constexpr int kSpins = 4000;  // some 40 to 200 microseconds: longer than Python takes between two operations

struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

struct Job {
  void (*function)(void*, int64_t) = nullptr;
  void* argument = nullptr;
};

thread_local bool inside_parallel = false;

class Pool {
 public:
  explicit Pool(int threads) : shares_(static_cast<size_t>(threads)) {
    for (int i = 1; i < threads; ++i) std::thread([this, i] { work(static_cast<size_t>(i)); }).detach();
  }

  // False when another thread holds the pool.
  bool try_run(int64_t tasks, void (*function)(void*, int64_t), void* argument) {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    job_.function = function;
    job_.argument = argument;
    const auto threads = static_cast<int64_t>(shares_.size());
    int64_t begin = 0, larger = tasks % threads;
    for (Share& share : shares_) {
      share.next.store(begin);
      begin += tasks / threads + (larger-- > 0);
      share.end = begin;
    }
    open_.store(true);
    epoch_.fetch_add(1);
    if (sleeping_.load() > 0) epoch_.notify_all();
    take_tasks(0);
    // A worker that joined before the door closed is counted in active_; one that comes later sees it closed.
    open_.store(false);
    for (int spin = 0; active_.load() != 0; ++spin) {
      if (spin < 20 * kSpins)
        pause();
      else
        sched_yield();
    }
    return true;
  }

  // Ends the workers of a pool that is being replaced.
  void stop() {
    std::lock_guard lock(mutex_);
    stopping_.store(true);
    epoch_.fetch_add(1);
    epoch_.notify_all();
  }

 private:
  void take_tasks(size_t own) {
    inside_parallel = true;
    for (size_t t = 0; t < shares_.size(); ++t) {
      Share& share = shares_[(own + t) % shares_.size()];
      for (int64_t i = share.next.fetch_add(1); i < share.end; i = share.next.fetch_add(1))
        job_.function(job_.argument, i);
    }
    inside_parallel = false;
  }

  void work(size_t own) {
    uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < kSpins && epoch_.load() == seen; ++spin) pause();
      if (epoch_.load() == seen) {
        sleeping_.fetch_add(1);
        epoch_.wait(seen);
        sleeping_.fetch_sub(1);
      }
      seen = epoch_.load();
      if (stopping_.load()) return;
      active_.fetch_add(1);
      if (open_.load()) take_tasks(own);
      active_.fetch_sub(1);
    }
  }

  friend void retire(Pool*);
  Pool* next_retired_ = nullptr;
  std::mutex mutex_;
  Job job_;
  std::vector<Share> shares_;
  std::atomic<bool> open_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<int> active_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<uint64_t> epoch_{0};
};

int default_threads() {
  if (const char* text = std::getenv("DEEPCORE_NUM_THREADS")) {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*text && !*end && value >= 1 && value <= 1024) return static_cast<int>(value);
  }
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

std::mutex pool_mutex;
std::atomic<Pool*> current_pool{nullptr};
std::atomic<int> current_threads{0};

// Pools that were replaced stay: their last workers may still look at them. The list keeps them known to leak checkers.
std::atomic<Pool*> retired_pools{nullptr};
void retire(Pool* pool) {
  pool->next_retired_ = retired_pools.load();
  while (!retired_pools.compare_exchange_weak(pool->next_retired_, pool)) {
  }
}

// The child of a fork has no workers: it gives up the pool, whose locks may be held.
void forget_pool_in_child() {
  if (Pool* old = current_pool.exchange(nullptr)) retire(old);
  inside_parallel = false;
  new (&pool_mutex) std::mutex;
}

Pool& the_pool() {
  if (Pool* p = current_pool.load()) return *p;
  std::lock_guard lock(pool_mutex);
  if (Pool* p = current_pool.load()) return *p;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool_in_child);
  (void)registered;
  Pool* p = new Pool(thread_count());
  current_pool.store(p);
  return *p;
}

}  // namespace

int thread_count() {
  int n = current_threads.load();
  if (n == 0) {
    n = default_threads();
    current_threads.store(n);
  }
  return n;
}

void set_thread_count(int threads) {
  DC_CHECK(threads >= 1 && threads <= 1024, ArgumentError, "set_num_threads: expected 1 to 1024, got ", threads);
  std::lock_guard lock(pool_mutex);
  if (threads == thread_count()) return;
  current_threads.store(threads);
  if (Pool* old = current_pool.exchange(nullptr)) {
    old->stop();
    retire(old);
  }
}

void parallel_run(Context&, int64_t tasks, void (*function)(void*, int64_t), void* argument) {
  if (tasks > 1 && !inside_parallel && thread_count() > 1 && the_pool().try_run(tasks, function, argument)) return;
  for (int64_t i = 0; i < tasks; ++i) function(argument, i);
}

namespace {
struct Scratch {
  static constexpr int kSlots = 8;
  void* data[kSlots] = {};
  size_t bytes[kSlots] = {};
  ~Scratch() {
    for (void* p : data) std::free(p);
  }
};
thread_local Scratch scratch;
}  // namespace

void* thread_scratch(int slot, size_t bytes) {
  if (scratch.bytes[slot] < bytes) {
    std::free(scratch.data[slot]);
    scratch.bytes[slot] = 0;
    // Packed operands are read over and over: huge pages spare their TLB misses.
    constexpr size_t kPage = 4096;
    const size_t page = bytes >= kHugePage / 8 ? kHugePage : kPage;
    const size_t rounded = (bytes + bytes / 4 + page - 1) / page * page;
    scratch.data[slot] = page == kHugePage ? allocate_huge_pages(rounded) : std::aligned_alloc(page, rounded);
    if (!scratch.data[slot]) throw std::bad_alloc();
    scratch.bytes[slot] = rounded;
  }
  return scratch.data[slot];
}

}  // namespace dc
