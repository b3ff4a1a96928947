#include "emulation/block_state.h"

#include "emulation/scheduler.h"

namespace dc::emulation {

void* shared_variable(const void* tag, size_t bytes, size_t alignment, const char* name, const Place& place) {
  // On the device arrays of 16-byte vectors are read from variables of smaller types as well.
  void* address = current->block->shared.variable(tag, bytes, alignment < 16 ? 16 : alignment);
  if (!address)
    fail(std::string("shared variable ") + name + " of " + std::to_string(bytes) +
             " bytes: a block has 48 KB for static variables and 227 KB for all",
         place);
  return address;
}

void require_cooperative(unsigned blocks, const Place& place) {
  const dim3& grid = grid_in_progress.grid;
  if (!grid_in_progress.cooperative)
    fail("grid_sync in a launch that is not cooperative: blocks that have not begun cannot arrive", place);
  if (blocks != grid.x * grid.y * grid.z)
    fail("grid_sync of " + std::to_string(blocks) + " blocks in a grid of " + std::to_string(grid.x * grid.y * grid.z),
         place);
}

}  // namespace dc::emulation
