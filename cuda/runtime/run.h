// How the functions of a kernel table launch.
#pragma once
#include <cstdint>

#include "device/primitives.cuh"
#include "runtime/support.h"

namespace dc {

template <class... P, class... A>
void run(const char* op, Context& context, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
         A... arguments) {
  if (!before_launch(op, context)) return;
  check_launch(launch(kernel, grid, block, shared_bytes, static_cast<Stream>(context.stream), arguments...), op,
               context);
  after_launch(op, context);
}
template <class... P, class... A>
void run_coop(const char* op, Context& context, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
              A... arguments) {
  if (!before_launch(op, context)) return;
  check_launch(launch_coop(kernel, grid, block, shared_bytes, static_cast<Stream>(context.stream), arguments...), op,
               context);
  after_launch(op, context);
}

// Whether 16-byte accesses may start here.
inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// Blocks of `threads` threads that cover n elements, `each` per thread, at most `most`: kernels step by the grid.
inline unsigned blocks_for(long long n, int threads, int each = 1, unsigned most = 2112) {
  const long long per_block = static_cast<long long>(threads) * each;
  const long long blocks = (n + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

}  // namespace dc
