// What nvcc's qualifiers become for other compilers.
#pragma once
#include <source_location>

#define DC_KERNEL
#define DC_DEVICE inline __attribute__((always_inline))
#define DC_HOST_DEVICE inline __attribute__((always_inline))
#define DC_LAUNCH_BOUNDS(threads, blocks)
#define DC_RESTRICT __restrict
#define DC_UNROLL _Pragma("GCC unroll 64")
#define DC_NO_UNROLL
// For device functions that wait: reports then name the caller's line.
#define DC_PLACE_PARAMETER , const std::source_location& place = std::source_location::current()
#define DC_PLACE_ARGUMENT , place
#define DC_PLACE_ONLY place
#define DC_REQUIRE_COOPERATIVE(blocks) ::dc::emulation::require_cooperative(blocks, place)

namespace dc {

// v, in a way that nvcc cannot see through: what follows from it is not kept in registers over a loop.
DC_DEVICE int opaque(int v) { return v; }

}  // namespace dc
