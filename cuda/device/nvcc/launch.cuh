// Launches. Errors that the device finds while the kernel runs appear at a later call, as usual.
#pragma once
#include <cstddef>
#include <tuple>
#include <utility>

#include "device/nvcc/qualifiers.cuh"
#include "device/status.cuh"

namespace dc {

using Stream = cudaStream_t;

namespace nvcc {

// A block gets more dynamic shared memory than this only when its kernel was told so.
inline constexpr size_t kSharedWithoutAsking = 48 << 10;

inline Status status_of(cudaError_t error) { return {error == cudaSuccess ? nullptr : cudaGetErrorString(error)}; }

template <class... P, size_t... I>
Status launch_with(bool cooperative, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream stream,
                   std::tuple<P...> values, std::index_sequence<I...>) {
  if (shared_bytes > kSharedWithoutAsking) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes));
    if (error != cudaSuccess) {
      cudaGetLastError();  // reported here, and not once more by whoever asks next
      return status_of(error);
    }
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = grid;
  configuration.blockDim = block;
  configuration.dynamicSmemBytes = shared_bytes;
  configuration.stream = stream;
  configuration.attrs = &attribute;
  configuration.numAttrs = cooperative ? 1 : 0;
  void* arguments[sizeof...(P) + 1] = {const_cast<void*>(static_cast<const void*>(&std::get<I>(values)))...};
  const cudaError_t error = cudaLaunchKernelExC(&configuration, reinterpret_cast<const void*>(kernel), arguments);
  if (error != cudaSuccess) cudaGetLastError();
  return status_of(error);
}

}  // namespace nvcc

template <class... P, class... A>
Status launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream stream, A... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "a kernel takes as many arguments as it has parameters");
  return nvcc::launch_with(false, kernel, grid, block, shared_bytes, stream,
                           std::tuple<P...>(static_cast<P>(arguments)...), std::index_sequence_for<P...>());
}
// All blocks are resident at once, or the launch fails.
template <class... P, class... A>
Status launch_coop(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream stream, A... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "a kernel takes as many arguments as it has parameters");
  return nvcc::launch_with(true, kernel, grid, block, shared_bytes, stream,
                           std::tuple<P...>(static_cast<P>(arguments)...), std::index_sequence_for<P...>());
}

}  // namespace dc
