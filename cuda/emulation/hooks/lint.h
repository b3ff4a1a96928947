// Counts of memory traffic per source line, from the same hooks. Lanes of a warp are lined up by instruction: the k-th
// time each of them passes it counts as one request, as the device would make it if the warp did not diverge.
//   shared memory   wavefronts, which exceed the ideal number by bank conflicts
//   global memory   sectors of 32 bytes, which exceed the ideal number by uncoalesced addresses
// Beside the lines stand the bytes of global memory that all launches moved.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "emulation/observer.h"

namespace dc::emulation {

struct LintLine {
  std::string file, function;
  unsigned line;
  MemoryKind kind;
  bool write;
  uint64_t requests, actual, ideal;
  double ratio() const { return ideal ? static_cast<double>(actual) / static_cast<double>(ideal) : 1.0; }
};

// Counting is off until asked for: it slows every access.
void count_traffic(bool on);
// What was counted since the last call, by line; instructions of one line are added up.
std::vector<LintLine> take_traffic();

// Bytes of whole sectors of global memory, all launches together; atomics are not among them.
struct MovedBytes {
  uint64_t launches = 0;
  uint64_t read = 0, written = 0;            // by every request of a warp: caches that keep nothing
  uint64_t read_once = 0, written_once = 0;  // each sector once a launch: caches that keep everything until it ends
};
// What was moved since the last call.
MovedBytes take_moved_bytes();

// For the hooks.
bool counting_traffic();
void count_access(const Thread& thread, uintptr_t address, size_t bytes, MemoryKind kind, bool write, const void* code);
void count_launch();
// The block's threads have ended: requests that not all lanes made are counted.
void close_requests(const Block& block);

}  // namespace dc::emulation
