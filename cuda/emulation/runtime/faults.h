// What tests of the emulated runtime set and ask.
#pragma once
#include <cstdint>

#include "emulation/configuration.h"

namespace dc::emulation {

// After `skip` more allocations of device or pinned memory, `count` fail.
void fail_allocations(int64_t skip, int64_t count);
// After `skip` more launches, `count` fail when their turn comes. With `lose_context` nothing runs after the first one.
void fail_launches(int64_t skip, int64_t count, bool lose_context);
uint64_t allocations();       // asked for so far
uint64_t live_allocations();  // not freed; frees that are still queued count as done
uint64_t launches_run();

}  // namespace dc::emulation
