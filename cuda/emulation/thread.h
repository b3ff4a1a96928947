// The state of emulated threads, warps and blocks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "emulation/copy_queue.h"
#include "emulation/fiber.h"
#include "emulation/limits.h"
#include "emulation/shared_memory.h"
#include "emulation/types.h"

namespace dc::emulation {

// The line of a kernel that called a primitive.
using Place = std::source_location;

struct Block;
struct Thread;
struct Warp;

enum class State : uint8_t { ready, waiting, spinning, done };

// One CUDA thread. It owns a fiber only from its first instruction on, and most threads pass theirs on when they end.
struct Thread {
  uint3 index;
  unsigned linear;  // within its block
  unsigned lane;
  Warp* warp;
  Block* block;
  Fiber* fiber = nullptr;
  std::unique_ptr<CopyQueue> copies;  // made at the first asynchronous copy
  State state = State::ready;
  const char* waits_in = "";
  Place place;
};

// Lanes of a warp that meet: each leaves pointers to its argument and result, and the last to arrive computes for all.
struct Meeting {
  const char* name = nullptr;
  unsigned arrived = 0, mask = 0;
  Place place;
  const void* argument[kWarpSize];
  void* result[kWarpSize];
};

struct Warp {
  unsigned live = 0;            // lanes that have not ended
  unsigned in_meetings = 0;     // bit i: meetings[i] has begun
  Thread* threads[kWarpSize];   // null beyond the block's last thread
  Meeting meetings[kWarpSize];  // a lane waits in one at a time
};

struct Votes {
  bool all = true, any = false;
  int count = 0;
};

struct Barrier {
  unsigned arrived = 0;
  const char* name = nullptr;
  Place place;
  Votes votes, result;
  std::vector<Thread*> waiting;
};

struct Block {
  uint3 index;
  unsigned linear = 0;  // within the grid
  unsigned live = 0;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barrier;
  SharedMemory shared;
};

inline bool same_text(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
inline bool same_line(const Place& a, const Place& b) {
  return a.line() == b.line() && same_text(a.file_name(), b.file_name());
}

inline std::string to_text(const uint3& v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

}  // namespace dc::emulation
