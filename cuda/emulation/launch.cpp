#include "emulation/launch.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>

#include "emulation/observer.h"
#include "emulation/scheduler.h"
#include "emulation/symbols.h"

namespace dc::emulation {

namespace {

std::atomic<Launcher> launcher_in_force{nullptr};
thread_local std::string last_error;
// The OS thread inside run(), to tell a launch from a kernel from a launch that waits for its turn.
thread_local bool inside_run = false;
uint64_t launches = 0;

// Blocks of the last launch, kept with their threads: most launches are like the one before.
std::vector<std::unique_ptr<Block>>& kept_blocks() {
  static auto* const kept = new std::vector<std::unique_ptr<Block>>;  // never destroyed, as the scheduler
  return *kept;
}

uint64_t count(const dim3& d) { return uint64_t{d.x} * d.y * d.z; }

std::string text_of(const dim3& d) { return to_text(uint3{d.x, d.y, d.z}); }

// What the device would refuse; empty when it would not.
std::string refuse(const LaunchDescription& d) {
  if (count(d.grid) == 0 || count(d.block) == 0)
    return "grid " + text_of(d.grid) + ", block " + text_of(d.block) + ": a size is 0";
  if (d.block.x > kMaxThreadsPerBlock || d.block.y > kMaxThreadsPerBlock || d.block.z > kMaxBlockZ ||
      count(d.block) > kMaxThreadsPerBlock)
    return "block " + text_of(d.block) + ": more than 1024 threads, or more than 64 along z";
  if (d.grid.x > kMaxGridX || d.grid.y > kMaxGridYZ || d.grid.z > kMaxGridYZ)
    return "grid " + text_of(d.grid) + ": more than 2^31 - 1 blocks along x, or 65535 along y or z";
  if (d.shared_bytes > kMaxSharedMemory)
    return std::to_string(d.shared_bytes) + " bytes of dynamic shared memory, the device has " +
           std::to_string(kMaxSharedMemory) + " per block";
  if (d.cooperative) {
    const uint64_t by_threads = kMaxThreadsPerMultiprocessor / count(d.block);
    const uint64_t by_shared = d.shared_bytes ? kMaxSharedMemory / d.shared_bytes : kMaxBlocksPerMultiprocessor;
    const uint64_t resident =
        kMultiprocessors * std::min<uint64_t>({by_threads, by_shared, kMaxBlocksPerMultiprocessor});
    if (count(d.grid) > resident)
      return "a cooperative launch of " + std::to_string(count(d.grid)) + " blocks, at most " +
             std::to_string(resident) + " of this size are resident at once";
  }
  return {};
}

void shape(Block& block, const dim3& d) {
  const unsigned n = static_cast<unsigned>(count(d));
  block.threads = std::vector<Thread>(n);
  block.warps.assign((n + kWarpSize - 1) / kWarpSize, Warp{});
  for (unsigned i = 0; i < n; ++i) {
    Thread& thread = block.threads[i];
    thread.index = {i % d.x, i / d.x % d.y, i / (d.x * d.y)};
    thread.linear = i;
    thread.lane = i % kWarpSize;
    thread.block = &block;
    thread.warp = &block.warps[i / kWarpSize];
    thread.warp->threads[thread.lane] = &thread;
  }
}

void prepare_blocks(size_t n, const dim3& d) {
  static dim3 last{0, 0, 0};
  auto& blocks = kept_blocks();
  if (last.x != d.x || last.y != d.y || last.z != d.z) blocks.clear();
  last = d;
  while (blocks.size() < n) {
    blocks.push_back(std::make_unique<Block>());
    shape(*blocks.back(), d);
  }
}

__extension__ using Wide = unsigned __int128;

// The k-th block to run. Random: a permutation k -> a k + b modulo the number of blocks.
class BlockOrder {
 public:
  BlockOrder(Scheduler& s, uint64_t blocks) : order_(s.configuration().order), blocks_(blocks) {
    if (order_ != Order::random) return;
    offset_ = s.random() % blocks;
    do factor_ = s.random() % blocks + 1;
    while (std::gcd(factor_, blocks) != 1);
  }
  uint64_t operator()(uint64_t k) const {
    if (order_ == Order::forward) return k;
    if (order_ == Order::reverse) return blocks_ - 1 - k;
    return static_cast<uint64_t>((Wide{factor_} * k + offset_) % blocks_);
  }

 private:
  Order order_;
  uint64_t blocks_, factor_ = 1, offset_ = 0;
};

bool place_block(Block& block, uint64_t linear, const LaunchDescription& d) {
  block.linear = static_cast<unsigned>(linear);
  block.index = {static_cast<unsigned>(linear % d.grid.x), static_cast<unsigned>(linear / d.grid.x % d.grid.y),
                 static_cast<unsigned>(linear / d.grid.x / d.grid.y)};
  return block.shared.begin(d.shared_bytes);
}

std::string run_blocks(const LaunchDescription& d) {
  Scheduler& s = scheduler();
  const uint64_t total = count(d.grid), threads = count(d.block);
  const uint64_t together = d.cooperative ? total : 1;
  prepare_blocks(together, d.block);
  const BlockOrder order(s, total);
  for (uint64_t k = 0; k < total; k += together) {
    s.begin(together * threads);
    for (uint64_t i = 0; i < together; ++i) {
      Block& block = *kept_blocks()[i];
      // Blocks that run together are put in order by the scheduler.
      if (!place_block(block, d.cooperative ? i : order(k), d))
        return "out of memory: no shared memory for another block";
      s.add(block);
      if (observer) observer->block_begins(block);
    }
    const std::string error =
        s.run([](const void* body) { (*static_cast<const std::function<void()>*>(body))(); }, &d.body);
    if (observer)
      for (uint64_t i = 0; i < together; ++i) observer->block_ends(*kept_blocks()[i]);
    if (!error.empty()) return error;
  }
  return {};
}

}  // namespace

Status failure(const char* text) {
  last_error = text;
  return {last_error.c_str()};
}

Status run(const LaunchDescription& d) {
  if (inside_run) return failure("a kernel launches another one: deepcore's kernels do not");
  Configuration configuration;
  std::string error = read_configuration(configuration);
  if (!error.empty()) return failure(error.c_str());
  const std::lock_guard<std::mutex> hold(device_lock());
  inside_run = true;
  Scheduler& s = scheduler();
  s.configure(configuration);
  s.seed(configuration.seed + 0x51ED2701 * ++launches);
  error = refuse(d);
  if (error.empty()) {
    grid_in_progress = {d.grid, d.block, d.cooperative};
    if (observer) observer->launch_begins(static_cast<unsigned>(count(d.block)));
    error = run_blocks(d);
    if (observer) {
      const std::string found = observer->launch_ends();
      if (error.empty()) error = found;
    }
  }
  inside_run = false;
  if (error.empty()) return {};
  const std::string number = configuration.order == Order::random ? ", launch " + std::to_string(launches) : "";
  return failure((function_name(d.kernel) + " (" + to_text(configuration) + number + "): " + error).c_str());
}

void set_launcher(Launcher launcher) { launcher_in_force = launcher; }

Status submit(Stream stream, const LaunchDescription& description) {
  const Launcher launcher = launcher_in_force;
  return launcher ? launcher(stream, description) : run(description);
}

}  // namespace dc::emulation
