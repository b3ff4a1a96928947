#include "ops/range.h"

#include "core/accelerator.h"
#include "core/error.h"

namespace dc::ops {

Array in_range(const char* op, const char* what, const Array& values, const Range& r) {
  const int64_t n = values.size();
  if (values.device().kind != DeviceKind::cpu) {
    Array checked(values.shape(), DType::int64, values.device());
    const RangeCheck check{op, what, r.place, n, r.low, r.high, r.ignore, r.from_end};
    if (n > 0)
      accelerator_of(values.device())
          .check_range(values.device().index, check, values.data<int64_t>(), checked.data<int64_t>());
    return checked;
  }
  const int64_t* v = values.data<int64_t>();
  bool negative = false;
  for (int64_t i = 0; i < n; ++i) {
    DC_CHECK((v[i] >= r.low && v[i] < r.high) || r.ignore == v[i], ArgumentError, op, ": expected ", what, " in [",
             r.low, ", ", r.high, "), got ", v[i], r.place, i);
    negative |= v[i] < 0;
  }
  if (!r.from_end || !negative) return values;
  Array positive(values.shape(), DType::int64, values.device());
  for (int64_t i = 0; i < n; ++i) positive.data<int64_t>()[i] = v[i] < 0 ? v[i] + r.high : v[i];
  return positive;
}

}  // namespace dc::ops
