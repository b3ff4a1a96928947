// The thread pool: every task once, nesting, many callers at once, resizing while in use, fork, equal bits.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#define DC_ISA pool_test
#include "check.h"
#include "core/error.h"
#include "core/parallel.h"

namespace dc {
Context& test_context();
}

using namespace dc;
using pool_test::parallel_for;

namespace {

// Each element of [0, n) is met once.
bool covers(int64_t n, int64_t grain) {
  std::vector<int> seen(static_cast<size_t>(n), 0);
  parallel_for(test_context(), n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  for (int count : seen)
    if (count != 1) return false;
  return true;
}

// A sum of floats in chunks of fixed size, combined in order.
float chunked_sum(const std::vector<float>& x, int64_t grain) {
  const auto n = static_cast<int64_t>(x.size());
  std::vector<float> part(static_cast<size_t>((n + grain - 1) / grain));
  parallel_for(test_context(), n, grain, [&](int64_t begin, int64_t end) {
    float sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += x[static_cast<size_t>(i)];
    part[static_cast<size_t>(begin / grain)] = sum;
  });
  float total = 0;
  for (float p : part) total += p;
  return total;
}

void ranges() {
  for (int threads : {1, 2, 3, 7}) {
    set_thread_count(threads);
    CHECK(thread_count() == threads, "%d", threads);
    for (int64_t n : {0, 1, 2, 15, 16, 17, 1000})
      for (int64_t grain : {-1, 0, 1, 3, 16, 2000})
        CHECK(covers(n, grain), "n %d grain %d threads %d", int(n), int(grain), threads);
  }
}

void equal_bits() {
  check::Random random(4);
  std::vector<float> x(50001);
  for (float& v : x) v = static_cast<float>(random.uniform());
  set_thread_count(1);
  const float one = chunked_sum(x, 700);
  for (int threads : {2, 3, 5, 8})
    for (int again = 0; again < 20; ++again) {
      set_thread_count(threads);
      const float many = chunked_sum(x, 700);
      CHECK(std::memcmp(&one, &many, sizeof one) == 0, "%d threads: %.9g, %.9g", threads, double(one), double(many));
    }
}

void nesting() {
  set_thread_count(3);
  for (int again = 0; again < 50; ++again) {
    std::atomic<int64_t> sum{0};
    parallel_for(test_context(), 20, 1, [&](int64_t begin, int64_t) {
      parallel_for(test_context(), 100, 7, [&](int64_t b, int64_t e) { sum += (e - b) * (begin + 1); });
    });
    CHECK(sum == 100 * 210, "%lld", static_cast<long long>(sum.load()));
  }
}

void many_callers() {
  set_thread_count(2);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 6; ++t)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        if (!covers(257, 16)) ++wrong;
    });
  for (auto& t : callers) t.join();
  CHECK(wrong == 0, "%d of 1200 wrong", wrong.load());
}

void resized_while_in_use() {
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, rounds{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t)
    callers.emplace_back([&] {
      while (!stop) {
        if (!covers(300, 10)) ++wrong;
        ++rounds;
      }
    });
  for (int i = 0; i < 60; ++i) {
    set_thread_count(1 + i % 4);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  stop = true;
  for (auto& t : callers) t.join();
  CHECK(wrong == 0 && rounds > 0, "%d of %d wrong", wrong.load(), rounds.load());
}

void sleeping_workers_wake() {
  set_thread_count(2);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(covers(64, 1), "after a pause");
  }
}

#ifndef __SANITIZE_THREAD__
// A child forked after use, also in the middle of another thread's work, computes on its own pool.
void forked() {
  set_thread_count(2);
  CHECK(covers(100, 1), "before");
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) covers(200, 1);
  });
  for (int i = 0; i < 10; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // a child that hangs is a failure, not a hang of the test
      bool ok = covers(100, 1);
      set_thread_count(3);
      ok = ok && covers(100, 1);
      _exit(ok ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: status %d", i, status);
  }
  stop = true;
  busy.join();
  CHECK(covers(100, 1), "the parent goes on");
}
#endif

void bad_counts() {
  for (int threads : {0, -1, 1025}) {
    bool thrown = false;
    try {
      set_thread_count(threads);
    } catch (const ArgumentError&) {
      thrown = true;
    }
    CHECK(thrown, "%d threads", threads);
  }
}

void scratch() {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t bytes = 64; bytes < 100000; bytes *= 3) {
        auto* p = static_cast<unsigned char*>(thread_scratch(3, bytes));
        if (reinterpret_cast<uintptr_t>(p) % 64) ++wrong;
        std::memset(p, t, bytes);
        std::this_thread::yield();
        for (size_t i = 0; i < bytes; i += 61)
          if (p[i] != t) ++wrong;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(wrong == 0, "%d", wrong.load());
}

}  // namespace

int main() {
  ranges();
  equal_bits();
  nesting();
  many_callers();
  resized_while_in_use();
  sleeping_workers_wake();
#ifndef __SANITIZE_THREAD__  // ThreadSanitizer cannot follow threads that a forked child starts
  forked();
#endif
  bad_counts();
  scratch();
  return check::finish("parallel");
}
