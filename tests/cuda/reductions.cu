// Reductions of warps and blocks: values, the same bits in all threads, in every order and for every launch.
#include <cmath>

#include "device/block.cuh"

namespace dc {

// out[8][threads]: what every thread got.
template <class T>
DC_KERNEL void reduce_block(const T* x, T* out, int n) {
  const int t = static_cast<int>(thread_index().x), threads = static_cast<int>(block_size().x);
  const T infinity = static_cast<T>(HUGE_VAL);
  T sum = 0, most = -infinity, least = infinity;
  Indexed<T> best = {-infinity, 0x7FFFFFFF};
  for (int i = t; i < n; i += threads) {
    sum += x[i];
    most = Maximum()(most, x[i]);
    least = Minimum()(least, x[i]);
    best = larger(best, Indexed<T>{x[i], i});
  }
  const Indexed<T> first = block_max_index(best, -infinity);
  out[t] = block_sum(sum);
  out[threads + t] = block_max(most, -infinity);
  out[2 * threads + t] = block_min(least, infinity);
  out[3 * threads + t] = first.value;
  out[4 * threads + t] = static_cast<T>(first.index);
  out[5 * threads + t] = warp_sum(sum);
  out[6 * threads + t] = warp_running_sum(static_cast<T>(t % 32));
  out[7 * threads + t] = block_sum(sum);  // the same scratch again
}

template DC_KERNEL void reduce_block<float>(const float*, float*, int);
template DC_KERNEL void reduce_block<double>(const double*, double*, int);

}  // namespace dc

#ifndef __CUDACC__
#include <map>
#include <utility>

#include "harness.h"

using namespace harness;

namespace {

template <class T>
void test(int threads, int n, bool with_nan) {
  static std::map<std::pair<int, int>, T> sums;  // of an earlier mode
  const std::vector<float> values = random_floats(size_t(n), 6);
  std::vector<T> x(values.begin(), values.end());
  if (n > 3) x[size_t(n - 1)] = x[1] = 2;  // the maximum twice
  if (with_nan) x[size_t(n / 2)] = std::numeric_limits<T>::quiet_NaN();
  DeviceArray<T> in(x), out(size_t(8 * threads));
  if (!succeeded(dc::launch(dc::reduce_block<T>, 1, dc::dim3(unsigned(threads)), 0, nullptr, in.data(), out.data(), n)))
    return;
  double sum = 0, most = -HUGE_VAL, least = HUGE_VAL;
  int first = 0x7FFFFFFF;
  for (int i = 0; i < n; ++i) {
    sum += x[size_t(i)];
    if (!(x[size_t(i)] <= most) && !std::isnan(most)) most = x[size_t(i)], first = i;
    least = std::fmin(least, x[size_t(i)]);
  }
  if (with_nan) least = std::numeric_limits<double>::quiet_NaN();
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  for (int t = 0; t < threads; ++t) {
    const auto got = [&](int row) { return out[size_t(row * threads + t)]; };
    CHECK(std::isnan(sum) ? std::isnan(got(0)) : std::fabs(got(0) - sum) < 1e-5 * n, "sum of %d: %g", n,
          double(got(0)));
    CHECK(std::memcmp(&out.data()[t], &out.data()[0], sizeof(T)) == 0, "threads %d and 0 have different bits", t);
    CHECK(same(got(1), most) && same(got(3), most), "maximum of %d: %g %g", n, double(got(1)), double(got(3)));
    CHECK(same(got(2), least), "minimum of %d: %g", n, double(got(2)));
    CHECK(got(4) == static_cast<T>(first), "index of the maximum of %d: %g, expected %d", n, double(got(4)), first);
    CHECK(got(6) == T(t % 32 * (t % 32 + 1) / 2), "running sum at %d: %g", t, double(got(6)));
    CHECK(same(got(7), got(0)), "a second sum differs");
  }
  if (with_nan) return;
  const auto [known, fresh] = sums.emplace(std::pair(threads, n), out[0]);
  CHECK(fresh || known->second == out[0], "the sum depends on the order of threads");
}

}  // namespace

int main() {
  for (const Mode& mode : kModes) {
    set_mode(mode);
    for (int threads : {32, 96, 1024})
      for (int n : {1, 33, 1000}) {
        test<float>(threads, n, false);
        test<double>(threads, n, n > 1);
        test<double>(threads, n, false);
      }
  }
  return check::finish("reductions");
}
#endif
