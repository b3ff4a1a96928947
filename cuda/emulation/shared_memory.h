// The shared memory of one emulated block. Every variable is filled with 0xFF bytes (NaN in every floating type) when
// a block starts, and is followed by memory that AddressSanitizer and the access hooks know to be out of bounds.
#pragma once
#include <cstddef>
#include <vector>

namespace dc::emulation {

class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  // A new block begins with `dynamic_bytes` of dynamic memory; false when there is no memory for it.
  bool begin(size_t dynamic_bytes);
  // The variable that `tag` stands for, made at the first request. Null when the block has no room left.
  void* variable(const void* tag, size_t bytes, size_t alignment);
  unsigned char* dynamic() const { return base_; }
  size_t dynamic_bytes() const { return dynamic_bytes_; }
  bool contains(const void* address, size_t bytes) const;

 private:
  struct Variable {
    const void* tag;
    unsigned char* address;
    size_t bytes;
  };
  unsigned char* open(size_t bytes);
  void close_all();

  unsigned char* base_ = nullptr;
  size_t used_ = 0;  // of the buffer, with gaps
  size_t dynamic_bytes_ = 0, static_bytes_ = 0;
  std::vector<Variable> variables_;
};

}  // namespace dc::emulation
