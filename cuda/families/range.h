// The range check of ops/range.h on a device.
#pragma once
#include <cstdint>

#include "core/accelerator.h"
#include "core/context.h"

namespace dc::cuda {

// Filled by a check that found an offender. `position` starts at kNoPosition, `blocks_done` at 0.
struct RangeNote {
  unsigned long long position;
  int64_t value;
  unsigned blocks_done;
};
inline constexpr unsigned long long kNoPosition = ~0ull;

void check_range(Context& context, const RangeCheck& check, const int64_t* values, int64_t* checked, RangeNote* note);

}  // namespace dc::cuda
