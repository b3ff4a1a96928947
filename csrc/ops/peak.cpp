#include "ops/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/parallel.h"
#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The best rate of bursts of 1 ms or more, short enough to fit between the turns of other processes, and 20 at least:
// f(rounds) does the work and returns its amount.
template <class F>
double best_rate(double seconds, const F& f) {
  DC_CHECK(seconds > 0 && seconds <= 60, ArgumentError, "measure_peak: expected 0 < seconds <= 60, got ", seconds);
  int64_t rounds = 1;
  int bursts = 0;
  double best = 0;
  const double end = seconds_now() + seconds;
  do {
    const double start = seconds_now();
    const double work = f(rounds);
    const double time = seconds_now() - start;
    if (time < 1e-3) {
      rounds *= 2;
    } else {
      best = std::max(best, work / time);
      ++bursts;
    }
  } while (seconds_now() < end || bursts < 20);
  return best;
}

}  // namespace

double measure_peak_flops(double seconds) {
  const int64_t tasks = thread_count();
  std::vector<float> sink(static_cast<size_t>(tasks));
  const PeakKernels& kernels = *backend({}).peak;
  return best_rate(seconds, [&](int64_t rounds) {
    return static_cast<double>(tasks) * kernels.multiply_add(tasks, 1000 * rounds, sink.data(), context({}));
  });
}

double measure_read_bandwidth(int64_t bytes, double seconds) {
  const int64_t tasks = thread_count(), least = 4096 * tasks;
  DC_CHECK(bytes >= least, ArgumentError, "measure_peak: expected at least ", least, " bytes, got ", bytes);
  const Array x = full({bytes / 4}, 1.0, DType::float32, {});
  std::vector<float> sink(static_cast<size_t>(tasks));
  const PeakKernels& kernels = *backend({}).peak;
  return best_rate(seconds, [&](int64_t rounds) {
    kernels.read(tasks, rounds, x.data<float>(), x.size(), sink.data(), context({}));
    return static_cast<double>(x.size()) * 4 * static_cast<double>(rounds);
  });
}

}  // namespace dc::ops
