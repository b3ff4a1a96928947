// Random kernels against the scalar Philox of core/philox.h, and the moments of what they make.
#include "kernels/random.h"

#include "core/philox.h"
#include "kernel_test.h"

DECLARE_TABLES(RandomKernels, random)

using dc::RandomKey;
using test::close;
using test::Numbers;
using test::Ringed;

namespace {

uint32_t word(const RandomKey& key, int64_t i) {
  return dc::host::philox(key.seed, key.stream, key.offset + static_cast<uint64_t>(i / 4)).word[i % 4];
}

double unit53(const RandomKey& key, int64_t i) {
  return static_cast<double>((static_cast<uint64_t>(word(key, 2 * i + 1)) << 32 | word(key, 2 * i)) >> 11) * 0x1p-53;
}

template <class T>
void check(const dc::RandomKernels<T>& table) {
  // Known answers of Random123's kat_vectors: all zero, all ones.
  const dc::host::PhiloxBlock zero = dc::host::philox(0, 0, 0), ones = dc::host::philox(~0ull, ~0ull, ~0ull);
  CHECK(zero.word[0] == 0x6627e8d5u && zero.word[1] == 0xe169c58du && zero.word[3] == 0x9b00dbd8u);
  CHECK(ones.word[0] == 0x408f276du && ones.word[3] == 0x6d5451fdu);
  Numbers numbers(2);
  const RandomKey keys[] = {{0, 0, 0}, {0x123456789abcdefull, 0xfedcba9876543210ull, 0xfffffffdull}, {7, 9, ~0ull - 5}};
  for (const RandomKey& key : keys)
    for (int64_t n : {0, 1, 3, 4, 5, 31, 127, 128, 129, 1000, 40001}) {
      Ringed<uint32_t> b(n);
      Ringed<T> u(n), y(n), each(n), normal(n), x = numbers.array<T>(n), p = numbers.array<T>(n), z(n);
      for (int64_t i = 0; i < n; i += 7) x[i] = static_cast<T>(INFINITY);
      table.bits(key, n, b.data(), test::context());
      table.uniform(key, n, T(-1), T(3), u.data(), test::context());
      table.bernoulli(key, n, T(0.3), y.data(), test::context());
      table.bernoulli_each(key, n, p.data(), each.data(), test::context());
      table.normal(key, n, T(2), T(3), normal.data(), test::context());
      for (int64_t i = 0; i < n; ++i) {
        const float w = dc::host::unit_float(word(key, i));
        CHECK(b[i] == word(key, i));
        if (sizeof(T) == 4) {
          const float product = w * 4.0f;
          CHECK(u[i] == static_cast<T>(product - 1.0f));
        } else {
          CHECK(static_cast<double>(u[i]) == unit53(key, i) * 4.0 - 1.0);
        }
        CHECK(y[i] == static_cast<T>(static_cast<T>(w) < T(0.3)));
        CHECK(each[i] == static_cast<T>(static_cast<T>(w) < p[i]));
        double radius, angle;
        if (sizeof(T) == 4) {
          radius = (static_cast<double>(static_cast<float>(word(key, i / 2 * 2) >> 1)) + 0.5) * 0x1p-31;
          angle = dc::host::unit_float(word(key, i / 2 * 2 + 1));
        } else {
          radius = unit53(key, i / 2 * 2) + 0x1p-54;
          angle = unit53(key, i / 2 * 2 + 1);
        }
        const double r = std::sqrt(-2 * std::log(radius)), a = 2 * M_PI * angle;
        CHECK(close<T>(normal[i], 2 + 3 * r * (i % 2 ? std::sin(a) : std::cos(a)), 20, 8));
      }
      for (double drop : {0.0, 0.1, 0.5, 0.999999, 1.0}) {
        table.dropout(key, n, drop, x.data(), z.data(), test::context());
        const double keep = std::fmax(std::rint((1 - drop) * 65536), drop < 1 ? 1 : 0);
        for (int64_t i = 0; i < n; ++i) {
          const uint32_t half = i % 2 ? word(key, i / 2) >> 16 : word(key, i / 2) & 0xffff;
          const bool kept = half < keep;
          CHECK(kept ? close<T>(z[i], x[i] * 65536.0 / keep, 0, 2) : z[i] == T(0));
        }
      }
      std::vector<Ringed<T>> all = {u, normal};
      dc::set_thread_count(1);
      table.uniform(key, n, T(-1), T(3), u.data(), test::context());
      table.normal(key, n, T(2), T(3), normal.data(), test::context());
      dc::set_thread_count(2);
      CHECK(all[0].same_bits(u) && all[1].same_bits(normal));
    }
  const int64_t n = 1 << 18;
  Ringed<T> normal(n), kept(n), ones_in(n, T(1));
  table.normal(keys[1], n, T(0), T(1), normal.data(), test::context());
  table.dropout(keys[1], n, 0.25, ones_in.data(), kept.data(), test::context());
  double m1 = 0, m2 = 0, m4 = 0, mean = 0;
  for (int64_t i = 0; i < n; ++i) {
    m1 += normal[i], m2 += std::pow(normal[i], 2), m4 += std::pow(normal[i], 4);
    mean += kept[i];
  }
  const double scale = 1.0 / static_cast<double>(n), s = std::sqrt(scale);
  CHECK(std::fabs(m1 * scale) < 4 * s && std::fabs(m2 * scale - 1) < 6 * s && std::fabs(m4 * scale - 3) < 40 * s);
  CHECK(std::fabs(mean * scale - 1) < 4 * s);
  for (int64_t size : {0, 1, 2, 5, 1000}) {
    Ringed<int64_t> order(size), again(size);
    table.permutation(keys[0], size, order.data(), test::context());
    table.permutation(keys[0], size, again.data(), test::context());
    CHECK(order.same_bits(again));
    std::vector<int> seen(static_cast<size_t>(size), 0);
    for (int64_t i = 0; i < size; ++i) seen[static_cast<size_t>(order[i])]++;
    for (int count : seen) CHECK(count == 1);
  }
  // Each value is equally likely at each place: 3! orders of 3 over many keys.
  int counts[27] = {};
  for (uint64_t k = 0; k < 6000; ++k) {
    Ringed<int64_t> order(3);
    table.permutation({k, 1, 0}, 3, order.data(), test::context());
    counts[order[0] * 9 + order[1] * 3 + order[2]]++;
  }
  for (int c : counts) CHECK(c == 0 || (c > 850 && c < 1150));
}

}  // namespace

int main() {
  dc::set_thread_count(2);
  FOR_TABLES(random, check);
  return test::finish("random");
}
