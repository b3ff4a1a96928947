// Qualifiers of functions and variables, and where a thread is.
#pragma once
#include <cuda_runtime.h>

#define DC_KERNEL __global__
#define DC_DEVICE __device__ __forceinline__
#define DC_HOST_DEVICE __host__ __device__ __forceinline__
// At most `threads` per block, and registers for at least `blocks` of them on a multiprocessor; code for 10.0 and later
// takes a few registers more, and spills where it is held to as many blocks as that for 8.0 and 9.0.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
#define DC_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, (blocks) > 1 ? (blocks) - 1 : 1)
#else
#define DC_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#endif
#define DC_RESTRICT __restrict__
#define DC_UNROLL _Pragma("unroll")
#define DC_NO_UNROLL _Pragma("unroll 1")
// Places are the emulated device's.
#define DC_PLACE_PARAMETER
#define DC_PLACE_ARGUMENT
#define DC_PLACE_ONLY
#define DC_REQUIRE_COOPERATIVE(blocks)

namespace dc::nvcc {

template <class T>
struct Identity {
  using type = T;
};

}  // namespace dc::nvcc

#define DC_SHARED(type_, name_) __shared__ typename ::dc::nvcc::Identity<type_>::type name_
#define DC_DYNAMIC_SHARED(name_) extern __shared__ __align__(1024) unsigned char name_[]

namespace dc {

// dim3 has no name here: code of this namespace finds the global one, and of an alias nvcc's front end makes
// `struct ::dim3(...)` for the host compiler, which no compiler takes.
using double2 = ::double2;
using float2 = ::float2;
using float4 = ::float4;
using uint2 = ::uint2;
using uint3 = ::uint3;
using uint4 = ::uint4;

DC_DEVICE uint3 thread_index() { return threadIdx; }
DC_DEVICE uint3 block_index() { return blockIdx; }
DC_DEVICE uint3 block_size() { return {blockDim.x, blockDim.y, blockDim.z}; }
DC_DEVICE uint3 grid_size() { return {gridDim.x, gridDim.y, gridDim.z}; }
// v, in a way that the compiler cannot see through: what follows from it is not kept in registers over a loop.
DC_DEVICE int opaque(int v) {
  asm volatile("" : "+r"(v));
  return v;
}
DC_DEVICE unsigned lane() {
  unsigned l;
  asm("mov.u32 %0, %%laneid;" : "=r"(l));
  return l;
}
DC_DEVICE unsigned warp() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) / 32; }

}  // namespace dc
