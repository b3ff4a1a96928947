// The one header that kernels include: every access to the hardware, defined twice. nvcc gets PTX and intrinsics
// (device/nvcc), any other compiler the emulated device (emulation), with the same names and the same results.
// docs/cuda.md says how to write a kernel with them.
#pragma once

#include "device/bf16.cuh"
#include "device/status.cuh"

#ifdef __CUDACC__
#include "device/nvcc/async_copy.cuh"
#include "device/nvcc/atomics.cuh"
#include "device/nvcc/launch.cuh"
#include "device/nvcc/math.cuh"
#include "device/nvcc/matrix.cuh"
#include "device/nvcc/memory.cuh"
#include "device/nvcc/qualifiers.cuh"
#include "device/nvcc/warp_sync.cuh"
#else
#include "emulation/async_copy.h"
#include "emulation/atomics.h"
#include "emulation/barrier.h"
#include "emulation/block_state.h"
#include "emulation/launch.h"
#include "emulation/math.h"
#include "emulation/matrix.h"
#include "emulation/memory.h"
#include "emulation/shuffle.h"
#endif

#include "core/philox.h"

namespace dc {

using DC_PHILOX_NAMESPACE::philox;
using DC_PHILOX_NAMESPACE::PhiloxBlock;
using DC_PHILOX_NAMESPACE::unit_float;

inline constexpr unsigned kFullMask = 0xFFFFFFFFu;

}  // namespace dc

#include "device/grid.cuh"
