// Threads that can run, in a ring: both ends and, for random orders, any place are reached in constant time.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

namespace dc::emulation {

struct Thread;

class ReadyQueue {
 public:
  void reserve(size_t n) {
    size_t capacity = 64;
    while (capacity < n) capacity *= 2;
    if (capacity > ring_.size()) ring_.resize(capacity);
    clear();
  }
  void clear() { head_ = size_ = 0; }
  size_t size() const { return size_; }
  void push_back(Thread* thread) { at(size_++) = thread; }
  void push_front(Thread* thread) {
    head_ = (head_ - 1) & (ring_.size() - 1);
    ++size_;
    at(0) = thread;
  }
  Thread* pop_front() {
    Thread* thread = at(0);
    head_ = (head_ + 1) & (ring_.size() - 1);
    --size_;
    return thread;
  }
  Thread* pop_back() { return at(--size_); }
  Thread* pop_at(size_t i) {
    std::swap(at(i), at(size_ - 1));
    return pop_back();
  }

 private:
  Thread*& at(size_t i) { return ring_[(head_ + i) & (ring_.size() - 1)]; }
  std::vector<Thread*> ring_ = std::vector<Thread*>(64);
  size_t head_ = 0, size_ = 0;
};

}  // namespace dc::emulation
