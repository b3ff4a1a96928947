// The few things a C++ test needs: CHECK, arrays whose surroundings are guarded, and the instruction sets of this CPU.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/kernel.h"

namespace check {

inline int64_t failures = 0, checks = 0;

#define CHECK(condition, ...)                                     \
  do {                                                            \
    ++check::checks;                                              \
    if (!(condition) && ++check::failures <= 20) {                \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                   \
      std::printf("\n");                                          \
    }                                                             \
  } while (0)

inline int finish(const char* name) {
  std::printf("%s: %lld checks, %lld failures\n", name, static_cast<long long>(checks),
              static_cast<long long>(failures));
  return failures || !checks;
}

// SplitMix64: the same numbers everywhere.
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed) {}
  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-52 - 1.0; }  // [-1, 1)
};

// size values between two rings: NaN around an input, so that a value read from outside shows in the result; a fixed
// bit pattern around an output, so that a value written outside is seen. The first value is not 64-byte aligned.
template <class T>
struct Ringed {
  static constexpr int64_t kRing = 67;
  std::vector<T> all;
  int64_t size;
  T guard;
  Ringed(int64_t n, T ring) : all(static_cast<size_t>(n + 2 * kRing), ring), size(n), guard(ring) {}
  static Ringed input(int64_t n, Random& random) {
    Ringed r(n, std::numeric_limits<T>::quiet_NaN());
    for (int64_t i = 0; i < n; ++i) r.data()[i] = static_cast<T>(random.uniform());
    return r;
  }
  static Ringed output(int64_t n) { return Ringed(n, static_cast<T>(-12345.5)); }
  T* data() { return all.data() + kRing; }
  const T* data() const { return all.data() + kRing; }
  T operator[](int64_t i) const { return data()[i]; }
  bool intact() const {
    for (int64_t i = 0; i < kRing; ++i)
      if (std::memcmp(&all[static_cast<size_t>(i)], &guard, sizeof(T)) ||
          std::memcmp(&all[static_cast<size_t>(kRing + size + i)], &guard, sizeof(T)))
        return false;
    return true;
  }
};

}  // namespace check
