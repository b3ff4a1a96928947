// Normalisation kernels against two-pass formulas in double.
#include "kernels/norm.h"

#include "kernel_test.h"

DECLARE_TABLES(NormKernels, norm)

using dc::SlabNormShape;
using test::close;
using test::Numbers;
using test::Ringed;

namespace {

constexpr double kEpsilon = 1e-5;

// Element i of x belongs to statistic `group_of(i)` of `groups` and to channel `i % c`.
template <class T, class GroupOf>
struct Expected {
  std::vector<double> mean, rstd, variance, y, gx, ggamma, gbeta;
  Expected(const Ringed<T>& x, const Ringed<T>& g, const T* gamma, const T* beta, int64_t c, int64_t groups,
           GroupOf group_of) {
    const size_t n = static_cast<size_t>(x.size()), m = static_cast<size_t>(groups);
    mean.assign(m, 0), rstd = variance = mean;
    y.assign(n, 0), gx = y;
    ggamma.assign(static_cast<size_t>(c), 0), gbeta = ggamma;
    std::vector<double> count(m, 0), a(m, 0), b(m, 0);
    for (size_t i = 0; i < n; ++i) mean[group_of(i)] += x[i], count[group_of(i)] += 1;
    for (size_t j = 0; j < m; ++j) mean[j] /= count[j];
    for (size_t i = 0; i < n; ++i) variance[group_of(i)] += std::pow(x[i] - mean[group_of(i)], 2);
    for (size_t j = 0; j < m; ++j) variance[j] /= count[j], rstd[j] = 1 / std::sqrt(variance[j] + kEpsilon);
    const auto hat = [&](size_t i) { return (x[i] - mean[group_of(i)]) * rstd[group_of(i)]; };
    for (size_t i = 0; i < n; ++i) {
      const size_t k = i % static_cast<size_t>(c);
      const double weight = gamma ? gamma[k] : 1.0;
      y[i] = hat(i) * weight + (beta ? beta[k] : 0.0);
      ggamma[k] += g[i] * hat(i), gbeta[k] += g[i];
      a[group_of(i)] += g[i] * weight, b[group_of(i)] += g[i] * weight * hat(i);
    }
    for (size_t i = 0; i < n; ++i) {
      const size_t j = group_of(i);
      const double weight = gamma ? gamma[i % static_cast<size_t>(c)] : 1.0;
      gx[i] = rstd[j] * (g[i] * weight - a[j] / count[j] - hat(i) * b[j] / count[j]);
    }
  }
};

template <class T>
void compare(const Ringed<T>& got, const std::vector<double>& expected, double scale, double ulps) {
  for (int64_t i = 0; i < got.size(); ++i) CHECK(close<T>(got[i], expected[static_cast<size_t>(i)], scale, ulps));
}

template <class T>
void check(const dc::NormKernels<T>& table) {
  Numbers numbers(3);
  const std::vector<SlabNormShape> shapes = {{1, 1, 1, 1},     {1, 2, 3, 3},      {1, 17, 8, 8},   {1, 1000, 16, 16},
                                             {1, 533, 33, 33}, {3, 25, 12, 4},    {3, 25, 12, 12}, {3, 25, 12, 1},
                                             {2, 49, 48, 8},   {2, 1, 6, 2},      {1, 40, 7, 1},   {1, 5000, 5, 5},
                                             {0, 5, 5, 5},     {1, 700, 130, 130}};
  for (SlabNormShape s : shapes) {
    for (bool affine : {false, true}) {
      s.relu = false;
      const int64_t size = s.slabs * s.rows * s.c, groups = s.slabs * s.groups;
      Ringed<T> x = numbers.array<T>(size), g = numbers.array<T>(size);
      for (int64_t i = 0; i < size; ++i) x[i] += static_cast<T>(i % s.c % 3) * T(20);  // means far from zero
      Ringed<T> gamma = numbers.array<T>(s.c), beta = numbers.array<T>(s.c);
      const T *ga = affine ? gamma.data() : nullptr, *be = affine ? beta.data() : nullptr;
      const auto group_of = [&](size_t i) {
        const int64_t at = static_cast<int64_t>(i);
        return static_cast<size_t>(at / (s.rows * s.c) * s.groups + at % s.c / (s.c / s.groups));
      };
      const Expected<T, decltype(group_of)> expected(x, g, ga, be, s.c, groups, group_of);
      std::vector<Ringed<T>> results;
      for (int threads : {1, 2}) {
        dc::set_thread_count(threads);
        Ringed<T> y(size), mean(groups), rstd(groups), variance(groups), gx(size), gg(s.c), gb(s.c), again(size);
        table.slab(s, static_cast<T>(kEpsilon), x.data(), ga, be, y.data(), mean.data(), rstd.data(), variance.data(),
                   test::context());
        table.slab_apply(s, x.data(), mean.data(), rstd.data(), ga, be, again.data(), test::context());
        CHECK(y.same_bits(again));
        table.slab_grad(s, x.data(), g.data(), mean.data(), rstd.data(), ga, be, gx.data(), gg.data(), gb.data(),
                        test::context());
        const double weight = std::sqrt(static_cast<double>(s.rows) + 1), span = s.rows == 1 ? 400 : 1;
        compare(mean, expected.mean, 1, 8);
        compare(variance, expected.variance, 1, 32);
        compare(y, expected.y, 30 * span, 32);
        compare(gx, expected.gx, 30 * span, 64);
        compare(gb, expected.gbeta, weight, 32);
        compare(gg, expected.ggamma, 30 * weight, 32);
        results.push_back(y), results.push_back(gx), results.push_back(gg), results.push_back(gb);
      }
      for (size_t i = 0; i < 4; ++i) CHECK(results[i].same_bits(results[i + 4]));
    }
  }
  const std::vector<std::pair<int64_t, int64_t>> sizes = {{1, 1},  {3, 5},    {7, 16},    {5, 17},
                                                          {9, 64}, {300, 33}, {40, 1000}, {0, 4}};
  for (const auto& [rows, c] : sizes) {
    for (bool affine : {false, true}) {
      Ringed<T> x = numbers.array<T>(rows * c), g = numbers.array<T>(rows * c);
      for (int64_t i = 0; i < x.size(); ++i) x[i] += T(3);
      Ringed<T> gamma = numbers.array<T>(c), beta = numbers.array<T>(c);
      const T *ga = affine ? gamma.data() : nullptr, *be = affine ? beta.data() : nullptr;
      const auto group_of = [c = c](size_t i) { return i / static_cast<size_t>(c); };
      const Expected<T, decltype(group_of)> expected(x, g, ga, be, c, rows, group_of);
      std::vector<Ringed<T>> results;
      for (int threads : {1, 2}) {
        dc::set_thread_count(threads);
        Ringed<T> y(rows * c), mean(rows), rstd(rows), gx(rows * c), gg(c), gb(c);
        table.row(rows, c, static_cast<T>(kEpsilon), x.data(), ga, be, y.data(), mean.data(), rstd.data(),
                  test::context());
        table.row_grad(rows, c, x.data(), g.data(), mean.data(), rstd.data(), ga, gx.data(), gg.data(), gb.data(),
                       test::context());
        const double weight = std::sqrt(static_cast<double>(rows) + 1), span = c == 1 ? 400 : 1;
        compare(mean, expected.mean, 3, 8);
        compare(y, expected.y, 10 * span, 16);
        compare(gx, expected.gx, 10 * span, 16);
        compare(gb, expected.gbeta, weight, 8);
        compare(gg, expected.ggamma, 10 * weight, 16);
        results.push_back(y), results.push_back(gx), results.push_back(gg), results.push_back(gb);
      }
      for (size_t i = 0; i < 4; ++i) CHECK(results[i].same_bits(results[i + 4]));
    }
  }
  const int64_t c = 3;
  Ringed<T> mean(c, T(2)), variance(c, T(4)), running_mean(c, T(0)), running_variance(c, T(1));
  table.update_running(c, 5, T(0.25), mean.data(), variance.data(), running_mean.data(), running_variance.data(),
                       test::context());
  CHECK(close<T>(running_mean[1], 0.5, 1, 2));
  CHECK(close<T>(running_variance[2], 1 + 0.25 * (5 - 1), 1, 2));
}

}  // namespace

int main() {
  FOR_TABLES(norm, check);
  return test::finish("norm");
}
