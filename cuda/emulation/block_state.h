// Where a thread is, and the shared memory of its block.
#pragma once
#include "emulation/qualifiers.h"
#include "emulation/thread.h"

namespace dc::emulation {

struct Grid {
  dim3 grid, block;
  bool cooperative = false;
};
extern Grid grid_in_progress;

// The running thread; null outside of launches. One emulated device serves one OS thread at a time, so that a plain
// global does; a thread_local could be cached across a switch.
extern Thread* current;

void* shared_variable(const void* tag, size_t bytes, size_t alignment, const char* name, const Place& place);
void require_cooperative(unsigned blocks, const Place& place);

template <class T>
struct Identity {
  using type = T;
};

}  // namespace dc::emulation

// A variable of shared memory, uninitialised (0xFF bytes). Never a plain static: sanitizers must see its end.
#define DC_SHARED(type_, name_)                                                                                  \
  static char dc_tag_##name_ = 0;                                                                                \
  auto& name_ = *static_cast<typename ::dc::emulation::Identity<type_>::type*>(::dc::emulation::shared_variable( \
      &dc_tag_##name_, sizeof(typename ::dc::emulation::Identity<type_>::type),                                  \
      alignof(typename ::dc::emulation::Identity<type_>::type), #name_, ::dc::emulation::Place::current()))
// The dynamic part, aligned to 1024 bytes.
#define DC_DYNAMIC_SHARED(name_) unsigned char* const name_ = ::dc::emulation::current->block->shared.dynamic()

namespace dc {

DC_DEVICE uint3 thread_index() { return emulation::current->index; }
DC_DEVICE uint3 block_index() { return emulation::current->block->index; }
DC_DEVICE uint3 block_size() {
  const dim3& d = emulation::grid_in_progress.block;
  return {d.x, d.y, d.z};
}
DC_DEVICE uint3 grid_size() {
  const dim3& d = emulation::grid_in_progress.grid;
  return {d.x, d.y, d.z};
}
DC_DEVICE unsigned lane() { return emulation::current->lane; }
DC_DEVICE unsigned warp() { return emulation::current->linear / emulation::kWarpSize; }

}  // namespace dc
