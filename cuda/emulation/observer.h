// What the access hooks (emulation/hooks) want to know. Null pointer, and no cost, in builds without them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace dc::emulation {

struct Thread;
struct Block;

enum class MemoryKind : uint8_t { global, shared };
// completion: a write that an earlier one announced.
enum class Access : uint8_t { read, write, atomic, completion };

struct Observer {
  void (*launch_begins)(unsigned threads_per_block);
  // What was found during the launch; empty when nothing was.
  std::string (*launch_ends)();
  void (*block_begins)(const Block& block);
  void (*block_ends)(const Block& block);
  void (*thread_ends)(const Thread& thread);
  // All threads of the block have met.
  void (*block_synchronised)(const Block& block);
  // The lanes of `mask` have met in sync_warp.
  void (*lanes_synchronised)(const Thread& any_of_them, unsigned mask);
  void (*release)(const Thread& thread, const void* flag);
  void (*acquire)(const Thread& thread, const void* flag);
  void (*add_region)(const void* base, size_t bytes, MemoryKind kind);
  void (*remove_region)(const void* base);
  void (*access)(const void* address, size_t bytes, Access access, const void* code);
};

extern const Observer* observer;

}  // namespace dc::emulation
