// Integers that must lie in a range before a kernel may use them as positions.
#pragma once
#include <optional>

#include "core/array.h"

namespace dc::ops {

struct Range {
  int64_t low, high;                             // values in [low, high)
  bool from_end = false;                         // negative values count from `high`: low is -high
  std::optional<int64_t> ignore = std::nullopt;  // let through as it is
  const char* place = " at ";                    // before the position of an offender
};

// values (contiguous int64) with negative ones made positive where they count from the end. ArgumentError for a value
// outside: at once on the CPU, at the next synchronisation on a device, whose kernels see a clamped value meanwhile.
Array in_range(const char* op, const char* what, const Array& values, const Range& range);

}  // namespace dc::ops
