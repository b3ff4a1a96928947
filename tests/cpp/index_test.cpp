// Indexing kernels against plain loops.
#include "kernels/index.h"

#include <algorithm>
#include <numeric>

#include "kernel_test.h"

DECLARE_TABLES(IndexKernels, index)

using dc::AxisShape;
using test::close;
using test::Numbers;
using test::Ringed;

namespace {

template <class T>
bool before(T a, T b, bool descending) {
  const bool na = std::isnan(a), nb = std::isnan(b);
  if (descending) return na ? !nb : !nb && a > b;
  return na ? false : nb || a < b;
}

template <class T>
void check_take(const AxisShape& s, int64_t m, const dc::IndexKernels<T>& table) {
  if (s.n == 0 && m > 0) return;
  Numbers numbers(5);
  const Ringed<T> x = numbers.array<T>(s.outer * s.n * s.inner), g = numbers.array<T>(s.outer * m * s.inner);
  Ringed<int64_t> one(m), along(s.outer * m * s.inner);
  for (int64_t j = 0; j < m; ++j) one[j] = numbers.bits() % static_cast<uint32_t>(s.n);
  for (int64_t j = 0; j < along.size(); ++j) along[j] = numbers.bits() % static_cast<uint32_t>(s.n);
  for (bool each : {false, true}) {
    const auto at = [&](int64_t o, int64_t j, int64_t i) {
      return (o * s.n + (each ? along[(o * m + j) * s.inner + i] : one[j])) * s.inner + i;
    };
    Ringed<T> y(g.size()), gx(x.size()), gx1(x.size());
    const int64_t* index = each ? along.data() : one.data();
    (each ? table.take_along : table.take)(s, m, x.data(), index, y.data(), test::context());
    (each ? table.take_along_grad : table.take_grad)(s, m, g.data(), index, gx.data(), test::context());
    dc::set_thread_count(1);
    (each ? table.take_along_grad : table.take_grad)(s, m, g.data(), index, gx1.data(), test::context());
    dc::set_thread_count(2);
    CHECK(gx.same_bits(gx1));
    std::vector<double> expected(static_cast<size_t>(x.size()), 0.0);
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t j = 0; j < m; ++j)
        for (int64_t i = 0; i < s.inner; ++i) {
          CHECK(y[(o * m + j) * s.inner + i] == x[at(o, j, i)]);
          expected[static_cast<size_t>(at(o, j, i))] += g[(o * m + j) * s.inner + i];
        }
    for (int64_t i = 0; i < gx.size(); ++i) CHECK(close<T>(gx[i], expected[static_cast<size_t>(i)], 8, 16));
  }
}

template <class T>
void check_extremes(const AxisShape& s, bool with_nan, const dc::IndexKernels<T>& table) {
  Numbers numbers(17);
  Ringed<T> x(s.outer * s.n * s.inner), y(x.size());
  for (int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(static_cast<int>(numbers.bits() % 7) - 3);
  for (int64_t i = 5; with_nan && i < x.size(); i += 13) x[i] = std::numeric_limits<T>::quiet_NaN();
  Ringed<int64_t> most(s.outer * s.inner), least(s.outer * s.inner);
  table.argmax(s, x.data(), most.data(), test::context());
  table.argmin(s, x.data(), least.data(), test::context());
  for (bool reverse : {false, true}) {
    table.cumsum(s, reverse, x.data(), y.data(), test::context());
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t i = 0; i < s.inner; ++i) {
        double sum = 0;
        for (int64_t step = 0; step < s.n; ++step) {
          const int64_t at = (o * s.n + (reverse ? s.n - 1 - step : step)) * s.inner + i;
          sum += x[at];
          CHECK(close<T>(y[at], sum, 1, 4));
        }
      }
  }
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i) {
      int64_t hi = 0, lo = 0;
      for (int64_t k = 1; k < s.n; ++k) {
        const T v = x[(o * s.n + k) * s.inner + i], a = x[(o * s.n + hi) * s.inner + i],
                b = x[(o * s.n + lo) * s.inner + i];
        if (!std::isnan(a) && (v > a || std::isnan(v))) hi = k;
        if (!std::isnan(b) && (v < b || std::isnan(v))) lo = k;
      }
      CHECK(most[o * s.inner + i] == hi);
      CHECK(least[o * s.inner + i] == lo);
    }
}

template <class T>
void check_order(int64_t rows, int64_t n, bool ties, const dc::IndexKernels<T>& table) {
  Numbers numbers(23);
  Ringed<T> x = numbers.array<T>(rows * n);
  for (int64_t i = 0; ties && i < x.size(); ++i)
    x[i] = i % 6 == 4   ? std::numeric_limits<T>::quiet_NaN()
           : i % 6 == 2 ? T(-0.0)
                        : static_cast<T>(static_cast<int>(numbers.bits() % 5) - 2);
  for (bool descending : {false, true}) {
    Ringed<T> values(rows * n), few_values(rows * std::min<int64_t>(n, 5));
    Ringed<int64_t> index(rows * n), few(few_values.size());
    table.sort(rows, n, descending, x.data(), values.data(), index.data(), test::context());
    table.top_k(rows, n, std::min<int64_t>(n, 5), descending, x.data(), few_values.data(), few.data(), test::context());
    std::vector<int64_t> order(static_cast<size_t>(n));
    for (int64_t row = 0; row < rows; ++row) {
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return before(x[row * n + a], x[row * n + b], descending); });
      for (int64_t i = 0; i < n; ++i) {
        CHECK(index[row * n + i] == order[static_cast<size_t>(i)]);
        CHECK(close<T>(values[row * n + i], x[row * n + order[static_cast<size_t>(i)]], 0, 0));
        if (i < 5) CHECK(few[row * std::min<int64_t>(n, 5) + i] == order[static_cast<size_t>(i)]);
      }
    }
    if (n > 60) {
      Ringed<T> many(rows * 60);
      table.top_k(rows, n, 60, descending, x.data(), many.data(), nullptr, test::context());
      for (int64_t row = 0; row < rows; ++row)
        CHECK(std::memcmp(&many[row * 60], &values[row * n], 60 * sizeof(T)) == 0);
    }
  }
}

template <class T>
void check(const dc::IndexKernels<T>& table) {
  for (int64_t outer : {1, 3})
    for (int64_t n : {1, 2, 17, 40})
      for (int64_t inner : {1, 5, 16, 100})
        for (int64_t m : {0, 1, 13, 300}) check_take<T>({outer, n, inner}, m, table);
  check_take<T>({0, 4, 4}, 3, table);
  check_take<T>({2, 4, 0}, 3, table);
  check_take<T>({1, 2000, 64}, 5000, table);
  for (int64_t outer : {0, 1, 3, 200})
    for (int64_t n : {1, 2, 15, 16, 33, 100, 1003})
      for (int64_t inner : {1, 3, 8, 16, 21})
        for (bool with_nan : {false, true}) check_extremes<T>({outer, n, inner}, with_nan, table);
  for (int64_t rows : {0, 1, 7})
    for (int64_t n : {0, 1, 2, 10, 47, 48, 49, 100, 1000})
      for (bool ties : {false, true}) check_order<T>(rows, n, ties, table);
  check_order<T>(1, 70000, false, table);
  Ringed<int64_t> labels(4);
  labels[0] = 2, labels[1] = 0, labels[2] = -1, labels[3] = 7;
  Ringed<T> hot(4 * 3);
  table.one_hot(4, 3, T(1), T(0.25), labels.data(), hot.data(), test::context());
  const double expected[] = {0.25, 0.25, 1, 1, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25};
  for (int64_t i = 0; i < 12; ++i) CHECK(hot[i] == static_cast<T>(expected[i]));
}

}  // namespace

int main() {
  dc::set_thread_count(2);
  FOR_TABLES(index, check);
  return test::finish("index");
}
