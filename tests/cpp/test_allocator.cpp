// The caching pool: size classes, alignment, reuse, statistics, behaviour when memory is out, many threads.
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/allocator.h"
#include "core/error.h"
#include "core/storage.h"

using namespace dc;

namespace {

// Counts what reaches the system, and refuses when told to.
class Counting final : public RawAllocator {
 public:
  explicit Counting(int64_t& blocks, int64_t& refusals) : blocks_(blocks), refusals_(refusals) {}
  void* allocate(size_t bytes) override {
    if (refusals_ > 0) {
      --refusals_;
      return nullptr;
    }
    ++blocks_;
    return inner_.allocate(bytes);
  }
  void release(void* p, size_t bytes) override {
    --blocks_;
    inner_.release(p, bytes);
  }
  void hand_out(void* p, size_t bytes, size_t block) override { inner_.hand_out(p, bytes, block); }
  void take_back(void* p, size_t block) override { inner_.take_back(p, block); }

 private:
  CpuAllocator inner_;
  int64_t& blocks_;
  int64_t& refusals_;
};

void size_classes() {
  size_t last = 0;
  for (size_t bytes = 0; bytes < 100000; ++bytes) {
    const size_t size = CachingPool::size_class(bytes);
    CHECK(size >= bytes && size >= 64, "%zu -> %zu", bytes, size);
    CHECK(size % 64 == 0, "%zu -> %zu", bytes, size);
    CHECK(size >= last, "%zu -> %zu after %zu", bytes, size, last);
    CHECK(CachingPool::size_class(size) == size, "%zu -> %zu", bytes, size);
    if (bytes > 512) CHECK(size - bytes <= bytes / 8, "slack of %zu: %zu", bytes, size);
    last = size;
  }
  for (int shift = 17; shift < 62; ++shift)
    for (int64_t off : {-1, 0, 1}) {
      const size_t bytes = (size_t{1} << shift) + static_cast<size_t>(off), size = CachingPool::size_class(bytes);
      CHECK(size >= bytes && size - bytes <= bytes / 8, "%zu -> %zu", bytes, size);
    }
}

void reuse_and_statistics() {
  int64_t blocks = 0, refusals = 0;
  {
    CachingPool pool(Device{}, std::make_unique<Counting>(blocks, refusals));
    void* a = pool.allocate(1000);
    CHECK(reinterpret_cast<uintptr_t>(a) % 64 == 0, "alignment");
    std::memset(a, 1, 1000);
    const size_t size = CachingPool::size_class(1000);
    CHECK(pool.statistics().current == size && pool.statistics().peak == size, "current %llu",
          static_cast<unsigned long long>(pool.statistics().current));
    pool.release(a, 1000);
    CHECK(pool.statistics().current == 0 && pool.statistics().cached == size, "released");
    void* b = pool.allocate(size);  // the same class, another size
    CHECK(a == b && pool.statistics().cache_hits == 1 && pool.statistics().cached == 0, "reuse");
    void* c = pool.allocate(3 << 20);
    CHECK(reinterpret_cast<uintptr_t>(c) % (2 << 20) == 0, "huge pages");
    CHECK(pool.statistics().allocations == 3 && blocks == 2, "counts");
    pool.release(c, 3 << 20);
    pool.reset_peak();
    CHECK(pool.statistics().peak == size, "reset peak");
    pool.empty_cache();
    CHECK(pool.statistics().cached == 0 && blocks == 1, "empty cache");
    pool.set_cache_limit(512);
    pool.release(b, size);
    CHECK(blocks == 0 && pool.statistics().cached == 0, "blocks over the limit go back");
  }
}

void out_of_memory() {
  int64_t blocks = 0, refusals = 0;
  CachingPool pool(Device{}, std::make_unique<Counting>(blocks, refusals));
  pool.release(pool.allocate(4096), 4096);
  refusals = 1;  // the cached block goes back, the second try succeeds
  void* p = pool.allocate(100000);
  CHECK(p && pool.statistics().cached == 0 && blocks == 1, "second try");
  refusals = 2;
  bool thrown = false;
  try {
    pool.allocate(5000);
  } catch (const OutOfMemoryError& e) {
    thrown = std::string(e.what()).find("memory") != std::string::npos;
  }
  CHECK(thrown, "no OutOfMemoryError");
  CHECK(pool.statistics().current == CachingPool::size_class(100000), "a failed request counts nothing");
  pool.release(p, 100000);
  thrown = false;
  try {
    pool.allocate(size_t{1} << 63);
  } catch (const OutOfMemoryError&) {
    thrown = true;
  }
  CHECK(thrown, "absurd size");
  pool.empty_cache();
}

void many_threads() {
  const MemoryStatistics before = pool(Device{}).statistics();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      check::Random random(t);
      std::vector<std::shared_ptr<Storage>> held(16);
      for (int i = 0; i < 2000; ++i) {
        auto& slot = held[static_cast<size_t>(random.below(16))];
        const auto bytes = static_cast<size_t>(random.below(20000));
        slot = Storage::allocate(bytes, Device{});
        std::memset(slot->data(), static_cast<int>(t), bytes);
      }
    });
  for (auto& t : threads) t.join();
  CHECK(pool(Device{}).statistics().current == before.current, "everything came back");
}

}  // namespace

int main() {
  size_classes();
  reuse_and_statistics();
  out_of_memory();
  many_threads();
  return check::finish("allocator");
}
