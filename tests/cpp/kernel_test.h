// Checks for kernel tests: arrays ringed by sentinels, tables of every instruction set this CPU has, a result code.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/parallel.h"

namespace test {

inline int failures = 0;

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      if (++test::failures < 20) std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                                        \
  } while (0)

inline dc::Context& context() {
  static int64_t memory[256];
  return *reinterpret_cast<dc::Context*>(memory);  // kernels only pass it on
}

// n elements between two rings: NaN (or a pattern) that kernels must neither use nor change.
template <class T>
class Ringed {
 public:
  explicit Ringed(int64_t n) : size_(n), all_(static_cast<size_t>(n + 2 * kRing)) {
    for (T& v : all_) v = sentinel();
  }
  Ringed(int64_t n, T fill) : Ringed(n) {
    for (int64_t i = 0; i < n; ++i) (*this)[i] = fill;
  }
  Ringed(const Ringed&) = default;
  ~Ringed() { CHECK(intact()); }
  T* data() { return all_.data() + kRing; }
  const T* data() const { return all_.data() + kRing; }
  T& operator[](int64_t i) { return all_[static_cast<size_t>(i + kRing)]; }
  const T& operator[](int64_t i) const { return all_[static_cast<size_t>(i + kRing)]; }
  int64_t size() const { return size_; }
  bool same_bits(const Ringed& other) const {
    return size_ == other.size_ && std::memcmp(data(), other.data(), static_cast<size_t>(size_) * sizeof(T)) == 0;
  }

 private:
  static constexpr int64_t kRing = 37;
  static T sentinel() {
    if constexpr (std::is_floating_point_v<T>)
      return std::numeric_limits<T>::quiet_NaN();
    else
      return static_cast<T>(0x5A5A5A5A5A5A5A5All);
  }
  bool intact() const {
    const T s = sentinel();
    for (int64_t i = 0; i < kRing; ++i) {
      if (std::memcmp(&all_[static_cast<size_t>(i)], &s, sizeof(T))) return false;
      if (std::memcmp(&all_[static_cast<size_t>(size_ + kRing + i)], &s, sizeof(T))) return false;
    }
    return true;
  }
  int64_t size_;
  std::vector<T> all_;
};

// Small deterministic numbers in [-1, 1).
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed * 2654435761u + 12345u) {}
  uint32_t bits() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<uint32_t>(state_ >> 33);
  }
  double unit() { return bits() * (2.0 / 2147483648.0) - 1.0; }
  template <class T>
  Ringed<T> array(int64_t n) {
    Ringed<T> a(n);
    for (int64_t i = 0; i < n; ++i) a[i] = static_cast<T>(unit());
    return a;
  }

 private:
  uint64_t state_;
};

template <class T>
bool close(T got, double expected, double scale, double ulps) {
  if (std::isnan(expected)) return std::isnan(got);
  if (std::isinf(expected)) return static_cast<double>(got) == expected;
  const double eps = std::numeric_limits<T>::epsilon();
  return std::fabs(static_cast<double>(got) - expected) <= ulps * eps * std::fmax(scale, std::fabs(expected)) + 1e-37;
}

inline int finish(const char* name) {
  std::printf("%s: %s\n", name, failures ? "FAILED" : "ok");
  return failures ? 1 : 0;
}

}  // namespace test

// DECLARE_TABLES(PoolKernels, pool) then FOR_TABLES(pool, check): check<T>(table) on each table this CPU can run.
#if defined(__x86_64__)
#define DECLARE_TABLES(Kernels, family)      \
  namespace dc::scalar {                     \
  extern const Kernels<float> family##_f32;  \
  extern const Kernels<double> family##_f64; \
  }                                          \
  namespace dc::avx2 {                       \
  extern const Kernels<float> family##_f32;  \
  }                                          \
  namespace dc::avx512 {                     \
  extern const Kernels<float> family##_f32;  \
  }
#define FOR_TABLES(family, check)                                                                              \
  do {                                                                                                         \
    check<double>(dc::scalar::family##_f64);                                                                   \
    check<float>(dc::scalar::family##_f32);                                                                    \
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) check<float>(dc::avx2::family##_f32); \
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&                            \
        __builtin_cpu_supports("avx512vl"))                                                                    \
      check<float>(dc::avx512::family##_f32);                                                                  \
  } while (0)
#else
#define DECLARE_TABLES(Kernels, family)      \
  namespace dc::scalar {                     \
  extern const Kernels<float> family##_f32;  \
  extern const Kernels<double> family##_f64; \
  }
#define FOR_TABLES(family, check)            \
  do {                                       \
    check<double>(dc::scalar::family##_f64); \
    check<float>(dc::scalar::family##_f32);  \
  } while (0)
#endif
