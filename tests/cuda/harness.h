// What the programs of tests/cuda share: device arrays, modes of the emulated device, and the checks of tests/cpp.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "../cpp/check.h"
#include "device/primitives.cuh"
#include "emulation/configuration.h"

namespace harness {

// An array of the emulated device. New elements are 0xFF bytes.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n) : size_(n), data_(static_cast<T*>(dc::emulation::allocate_device(n * sizeof(T)))) {}
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    if (size_) std::memcpy(data_, values.data(), size_ * sizeof(T));
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { dc::emulation::free_device(data_); }
  T* data() { return data_; }
  size_t size() const { return size_; }
  T operator[](size_t i) const { return data_[i]; }
  void fill(T value) {
    for (size_t i = 0; i < size_; ++i) data_[i] = value;
  }

 private:
  size_t size_;
  T* data_;
};

inline std::vector<float> random_floats(size_t n, uint64_t seed) {
  check::Random random(seed);
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(random.uniform());
  return values;
}

struct Mode {
  const char *order, *async;
};
inline constexpr Mode kModes[] = {
    {"forward", "late"}, {"reverse", "late"}, {"random:1", "early"}, {"random:2", "late"}, {"forward", "early"}};

inline void set_mode(const Mode& mode) {
  dc::emulation::Configuration c;
  const std::string error = dc::emulation::parse_configuration(mode.order, mode.async, c);
  CHECK(error.empty(), "%s", error.c_str());
  dc::emulation::set_configuration(c);
}

inline bool succeeded(const dc::Status& status) {
  CHECK(bool(status), "%s", status.error);
  return bool(status);
}

// The launch failed and its text holds every one of `parts`.
inline void failed_with(const dc::Status& status, std::initializer_list<const char*> parts) {
  CHECK(!status, "a launch succeeded that should have failed with '%s'", *parts.begin());
  if (status) return;
  for (const char* part : parts) CHECK(std::strstr(status.error, part), "expected '%s' in: %s", part, status.error);
}

}  // namespace harness
