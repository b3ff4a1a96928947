// What is remembered of every few bytes of device and shared memory: the last write and two of the reads since.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "emulation/observer.h"

namespace dc::emulation {

struct Stamp {
  const void* code = nullptr;  // null: no access yet
  uint32_t block = 0;
  uint32_t thread : 10 = 0;
  uint32_t atomic : 1 = 0;
  uint32_t epoch : 21 = 0;
};

struct Cell {
  Stamp write, reads[2];
};

// An allocation of device memory or a variable of shared memory. One cell stands for `granule` bytes: 4, until smaller
// accesses show that elements are smaller.
struct Region {
  uintptr_t base;
  size_t bytes;
  MemoryKind kind;
  size_t granule = 4;
  uint64_t launch = 0;  // the cells' launch; those of an earlier one are forgotten
  std::vector<Cell> cells;

  void begin(uint64_t this_launch);
  void refine(size_t new_granule);
};

class RegionMap {
 public:
  void add(const void* base, size_t bytes, MemoryKind kind);
  void remove(const void* base);
  // The region that holds `address`; or, if none does, the one it lies within 256 bytes of, and `outside` is set.
  Region* find(uintptr_t address, bool& outside);

 private:
  std::map<uintptr_t, std::unique_ptr<Region>> regions_;
  Region* last_ = nullptr;
};

}  // namespace dc::emulation
