// Pooling kernels against loops over taps in double.
#include "kernels/pool.h"

#include "kernel_test.h"

DECLARE_TABLES(PoolKernels, pool)

using dc::PoolDivisor;
using dc::PoolShape;
using test::close;
using test::Numbers;
using test::Ringed;

namespace {

struct Taps {
  int64_t origin, count, step, limit, padded_limit;
  bool inside(int64_t t) const { return origin + t * step >= 0 && origin + t * step < limit; }
};

Taps taps(bool adaptive, int64_t o, int64_t in, int64_t out, int64_t window, int64_t stride, int64_t pad,
          int64_t pad_end, int64_t dilation) {
  if (adaptive) {
    const int64_t begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
    return {begin, end - begin, 1, in, in};
  }
  return {o * stride - pad, window, dilation, in, in + pad_end};
}

template <class T, class I, class Max, class Scatter, class Gather>
void check_max(const PoolShape& s, const Ringed<T>& x, Max max, Scatter scatter, Gather gather) {
  const int64_t outs = s.n * s.p * s.q * s.c;
  Ringed<T> y(outs), y_alone(outs), gx(x.size()), back(outs), gx1(x.size());
  Ringed<I> index(outs);
  max(s, x.data(), y.data(), index.data(), test::context());
  max(s, x.data(), y_alone.data(), nullptr, test::context());
  CHECK(y.same_bits(y_alone));
  Numbers numbers(9);
  const Ringed<T> g = numbers.array<T>(outs);
  std::vector<double> expected(static_cast<size_t>(x.size()), 0.0);
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p; ++p)
      for (int64_t q = 0; q < s.q; ++q)
        for (int64_t c = 0; c < s.c; ++c) {
          const Taps r = taps(s.adaptive, p, s.h, s.p, s.r, s.stride_h, s.pad_top, s.pad_bottom, s.dilation_h);
          const Taps k = taps(s.adaptive, q, s.w, s.q, s.s, s.stride_w, s.pad_left, s.pad_right, s.dilation_w);
          double best = -INFINITY;
          int64_t tap = 0, at = -1;
          for (int64_t i = 0; i < r.count; ++i)
            for (int64_t j = 0; j < k.count; ++j) {
              if (!r.inside(i) || !k.inside(j)) continue;
              const int64_t here = ((n * s.h + r.origin + i * r.step) * s.w + k.origin + j * k.step) * s.c + c;
              const double v = x[here];
              if (at < 0 || v > best || (std::isnan(v) && !std::isnan(best))) best = v, tap = i * s.s + j, at = here;
            }
          const int64_t o = ((n * s.p + p) * s.q + q) * s.c + c;
          CHECK(close<T>(y[o], best, 0, 0));
          CHECK(static_cast<int64_t>(index[o]) == tap);
          if (at >= 0) expected[static_cast<size_t>(at)] += g[o];
        }
  scatter(s, g.data(), index.data(), gx.data(), test::context());
  for (int64_t i = 0; i < x.size(); ++i) CHECK(close<T>(gx[i], expected[static_cast<size_t>(i)], 1, 8));
  gather(s, x.data(), index.data(), back.data(), test::context());
  for (int64_t i = 0; i < outs; ++i) CHECK(close<T>(back[i], std::isinf(y[i]) ? 0.0 : y[i], 0, 0));
  dc::set_thread_count(1);
  scatter(s, g.data(), index.data(), gx1.data(), test::context());
  dc::set_thread_count(2);
  CHECK(gx.same_bits(gx1));
}

template <class T>
void check_average(const PoolShape& s, const Ringed<T>& x, const dc::PoolKernels<T>& table) {
  const int64_t outs = s.n * s.p * s.q * s.c;
  Ringed<T> y(outs), gx(x.size());
  table.average(s, x.data(), y.data(), test::context());
  const Ringed<T> g = Numbers(5).array<T>(outs);
  table.average_grad(s, g.data(), gx.data(), test::context());
  std::vector<double> expected(static_cast<size_t>(x.size()), 0.0);
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p; ++p)
      for (int64_t q = 0; q < s.q; ++q) {
        const Taps r = taps(s.adaptive, p, s.h, s.p, s.r, s.stride_h, s.pad_top, s.pad_bottom, s.dilation_h);
        const Taps k = taps(s.adaptive, q, s.w, s.q, s.s, s.stride_w, s.pad_left, s.pad_right, s.dilation_w);
        int64_t inside = 0, padded = 0;
        for (int64_t i = 0; i < r.count; ++i)
          for (int64_t j = 0; j < k.count; ++j) {
            inside += r.inside(i) && k.inside(j);
            padded += r.origin + i * r.step < r.padded_limit && k.origin + j * k.step < k.padded_limit;
          }
        const double count = s.divisor == PoolDivisor::one           ? 1.0
                             : s.divisor == PoolDivisor::taps_inside ? static_cast<double>(inside)
                                                                     : static_cast<double>(padded);
        for (int64_t c = 0; c < s.c; ++c) {
          const int64_t o = ((n * s.p + p) * s.q + q) * s.c + c;
          double sum = 0;
          for (int64_t i = 0; i < r.count; ++i)
            for (int64_t j = 0; j < k.count; ++j) {
              if (!r.inside(i) || !k.inside(j)) continue;
              const int64_t here = ((n * s.h + r.origin + i * r.step) * s.w + k.origin + j * k.step) * s.c + c;
              sum += x[here];
              expected[static_cast<size_t>(here)] += g[o] / count;
            }
          CHECK(close<T>(y[o], count ? sum / count : 0.0, count == 1 ? 30 : 1, 8));
        }
      }
  for (int64_t i = 0; i < x.size(); ++i) CHECK(close<T>(gx[i], expected[static_cast<size_t>(i)], 4, 8));
}

template <class T>
void check(const dc::PoolKernels<T>& table) {
  std::vector<PoolShape> shapes;
  for (int64_t c : {1, 3, 7, 8, 9, 15, 16, 17, 33, 50})
    for (int64_t stride : {1, 2, 3}) shapes.push_back({2, 7, 6, c, 0, 0, 2, 2, stride, stride, 0, 0, 0, 0, 1, 1});
  for (int64_t c : {1, 16, 19}) {
    shapes.push_back({2, 8, 8, c, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1});
    shapes.push_back({3, 9, 8, c, 0, 0, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1});
    shapes.push_back({1, 9, 8, c, 0, 0, 3, 2, 3, 2, 1, 0, 0, 1, 1, 1});
    shapes.push_back({1, 11, 10, c, 0, 0, 3, 2, 1, 2, 2, 1, 2, 1, 2, 1});
    shapes.push_back({1, 11, 10, c, 0, 0, 2, 2, 3, 4, 0, 0, 0, 0, 3, 2});
    shapes.push_back({2, 5, 5, c, 0, 0, 5, 5, 5, 5, 0, 0, 0, 0, 1, 1});
    shapes.push_back({2, 1, 1, c, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1});
    shapes.push_back({2, 3, 3, c, 0, 0, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1});
  }
  shapes.push_back({0, 3, 3, 4, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1});
  shapes.push_back({2, 3, 3, 0, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1});
  shapes.push_back({6, 40, 40, 16, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1});
  shapes.push_back({6, 40, 40, 16, 0, 0, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1});
  for (PoolShape& s : shapes) {
    s.p = (s.h + s.pad_top + s.pad_bottom - (s.r - 1) * s.dilation_h - 1) / s.stride_h + 1;
    s.q = (s.w + s.pad_left + s.pad_right - (s.s - 1) * s.dilation_w - 1) / s.stride_w + 1;
  }
  for (int64_t p : {1, 2, 3, 5, 6, 7, 9}) {
    PoolShape s{2, 6, 7, 17, p, p, (6 + p - 1) / p + 1, (7 + p - 1) / p + 1, 1, 1, 0, 0, 0, 0, 1, 1};
    s.adaptive = true;
    if (6 % p == 0) s.r = 6 / p;
    if (7 % p == 0) s.s = 7 / p;
    shapes.push_back(s);
  }
  Numbers numbers(1);
  for (PoolShape s : shapes) {
    Ringed<T> x = numbers.array<T>(s.n * s.h * s.w * s.c);
    for (int64_t i = 0; i < x.size(); i += 3) x[i] = static_cast<T>(0.5);  // ties
    check_max<T, uint8_t>(s, x, table.max, table.scatter, table.gather);
    check_max<T, int32_t>(s, x, table.max_wide, table.scatter_wide, table.gather_wide);
    for (PoolDivisor d : {PoolDivisor::taps_inside, PoolDivisor::taps_padded, PoolDivisor::one}) {
      s.divisor = d;
      check_average<T>(s, x, table);
    }
    for (int64_t i = 0; i < x.size(); i += 11) x[i] = std::numeric_limits<T>::quiet_NaN();
    Ringed<T> y(s.n * s.p * s.q * s.c);
    Ringed<uint8_t> index(y.size());
    table.max(s, x.data(), y.data(), index.data(), test::context());
    Ringed<T> back(y.size());
    table.gather(s, x.data(), index.data(), back.data(), test::context());
    for (int64_t i = 0; i < y.size(); ++i) CHECK(close<T>(back[i], y[i], 0, 0) || std::isinf(y[i]));
  }
  PoolShape whole{2, 28, 28, 5, 1, 1, 28, 28, 1, 1, 0, 0, 0, 0, 1, 1};
  check_max<T, int32_t>(whole, numbers.array<T>(2 * 28 * 28 * 5), table.max_wide, table.scatter_wide,
                        table.gather_wide);
  check_average<T>(whole, numbers.array<T>(2 * 28 * 28 * 5), table);
}

}  // namespace

int main() {
  dc::set_thread_count(2);
  FOR_TABLES(pool, check);
  return test::finish("pool");
}
