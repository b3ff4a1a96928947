// cp.async. Where `valid` is false zeros are written and the global address, which must still be one, is not read.
#pragma once
#include "device/nvcc/memory.cuh"

namespace dc {

DC_DEVICE void cp_async16(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(nvcc::shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
DC_DEVICE void cp_async4(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(nvcc::shared_address(shared)), "l"(global),
               "r"(valid ? 4 : 0)
               : "memory");
}
DC_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most N groups of this thread are under way.
template <int N>
DC_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace dc
