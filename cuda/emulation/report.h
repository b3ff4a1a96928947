// Texts of reports: where a thread is, and which threads wait where.
#pragma once
#include <string>
#include <vector>

#include "emulation/thread.h"

namespace dc::emulation {

// "file.cu:12 (void kernel(float*))", without the folders of the file.
std::string to_text(const Place& place);
// Threads that have not ended, grouped by block, primitive and line:
// "block (0,0,0): 32 threads, first (0,0,0), in sync_block at k.cu:12 (...); ..."
std::string describe_waiting(const std::vector<Block*>& blocks);

}  // namespace dc::emulation
