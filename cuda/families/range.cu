// checked[i] = values[i] clamped into [low, high), negative ones counted from the end where the check says so; the
// first offender is noted. Split: threads over elements. The last block to end writes the offender's value: the lowest
// position does not depend on the order of blocks. Bound: 16 bytes an element.
#include "families/range.h"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;

DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    check_range_kernel(const int64_t* DC_RESTRICT values, int64_t* DC_RESTRICT checked, long long n, int64_t low,
                       int64_t high, bool ignoring, int64_t ignore, bool from_end, RangeNote* note) {
  const long long step = static_cast<long long>(grid_size().x) * kThreads;
  unsigned long long first = kNoPosition;
  for (long long i = static_cast<long long>(block_index().x) * kThreads + thread_index().x; i < n; i += step) {
    int64_t v = values[i];
    if (!(ignoring && v == ignore)) {
      const bool outside = v < low || v >= high;
      if (outside && static_cast<unsigned long long>(i) < first) first = static_cast<unsigned long long>(i);
      if (outside) v = low;
      if (from_end && v < 0) v += high;
    }
    checked[i] = v;
  }
  if (first != kNoPosition) atomic_min(&note->position, first);
  sync_block();
  if (thread_index().x == 0 && add_release(&note->blocks_done, 1u) == grid_size().x - 1) {
    const unsigned long long position = load_acquire(&note->position);
    if (position != kNoPosition) note->value = values[position];
  }
}

}  // namespace

void check_range(Context& context, const RangeCheck& check, const int64_t* values, int64_t* checked, RangeNote* note) {
  run(check.op, context, check_range_kernel, dim3(blocks_for(check.n, kThreads)), dim3(kThreads), 0, values, checked,
      static_cast<long long>(check.n), check.low, check.high, check.ignore.has_value(), check.ignore.value_or(0),
      check.from_end, note);
}

}  // namespace dc::cuda
