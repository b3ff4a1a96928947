// Kernels with one bug each, beside the same kernel without it. Every bug must be found, and no correct kernel blamed;
// test_emulation.py says in which build and how.
#include "device/primitives.cuh"

namespace dc {

// y[t] = sum over tiles of x[tile][t + 1]. Bug: no barrier between reading a tile and writing the next.
template <bool kBug>
DC_KERNEL void trailing_barrier(const float* x, float* y, int tiles) {
  DC_SHARED(float[64], tile);
  const unsigned t = thread_index().x;
  float sum = 0;
  for (int i = 0; i < tiles; ++i) {
    tile[t] = x[static_cast<unsigned>(i) * 64 + t];
    sync_block();
    sum += tile[(t + 1) % 64];
    if (!kBug) sync_block();
  }
  y[t] = sum;
}

// y[t] = x[t ^ 1] through shared memory. Bug: lanes rely on running in step.
template <bool kBug>
DC_KERNEL void warp_exchange(const float* x, float* y) {
  DC_SHARED(float[32], values);
  const unsigned t = thread_index().x;
  values[t] = x[t];
  if (!kBug) sync_warp();
  y[t] = values[t ^ 1];
}

// y = x through an asynchronous copy. Bug: nobody waits for it.
template <bool kBug>
DC_KERNEL void copy_wait(const float* x, float* y) {
  DC_SHARED(float[128], values);
  const unsigned t = thread_index().x;
  cp_async16(&values[4 * t], x + 4 * t);
  cp_async_commit();
  if (!kBug) cp_async_wait<0>();
  sync_block();
  for (unsigned i = 0; i < 4; ++i) y[t + 32 * i] = values[t + 32 * i];
}

// y = sum of x: a partial sum per block, then block 0 adds them. Bug: it does not wait for the others.
template <bool kBug>
DC_KERNEL void grid_barrier(const float* x, float* partial, float* y, unsigned* counter) {
  const unsigned b = block_index().x, blocks = grid_size().x;
  if (thread_index().x == 0) partial[b] = x[2 * b] + x[2 * b + 1];
  if (!kBug) grid_sync(counter, blocks);
  if (b == 0 && thread_index().x == 0) {
    float sum = 0;
    for (unsigned i = 0; i < blocks; ++i) sum += partial[i];
    *y = sum;
  }
}

// A ring of two slots: warp 0 fills them by asynchronous copies, warp 1 adds them up; counts of fills and of releases
// per slot say when. Bug 1: the producer does not wait for an empty slot. Bug 2: the consumer releases a slot before
// its lanes have read it.
template <int kBug>
DC_KERNEL void ring(const float* x, float* y, unsigned steps) {
  DC_SHARED(float[2][128], slots);
  DC_SHARED(unsigned[2], full);
  DC_SHARED(unsigned[2], empty);
  const unsigned l = lane();
  if (thread_index().x < 2) full[l] = empty[l] = 0;
  sync_block();
  float sum = 0;
  for (unsigned i = 0; i < steps; ++i) {
    const unsigned s = i % 2, round = i / 2;
    if (warp() == 0) {
      if (kBug != 1) {
        if (l == 0)
          while (load_acquire(&empty[s]) < round) spin_wait();
        sync_warp();
      }
      cp_async16(&slots[s][4 * l], x + i * 128 + 4 * l);
      cp_async_commit();
      cp_async_wait<0>();
      sync_warp();
      if (l == 0) add_release(&full[s], 1u);
    } else {
      if (l == 0)
        while (load_acquire(&full[s]) <= round) spin_wait();
      sync_warp();
      if (kBug == 2 && l == 0) add_release(&empty[s], 1u);
      for (unsigned k = 0; k < 4; ++k) sum += slots[s][l + 32 * k];
      sync_warp();
      if (kBug != 2 && l == 0) add_release(&empty[s], 1u);
    }
  }
  if (warp() == 1) y[l] = sum;
}

// y[m][n] = 1. Bug: row m is written as well.
template <bool kBug>
DC_KERNEL void row_past_the_end(float* y, unsigned m, unsigned n) {
  const unsigned row = thread_index().y, column = thread_index().x;
  if ((kBug ? row <= m : row < m) && column < n) y[row * n + column] = 1.0f;
}

// Reads a neighbour. Bug: the last thread's is past the end of the shared array.
template <bool kBug>
DC_KERNEL void shared_past_the_end(float* y) {
  DC_SHARED(float[32], values);
  const unsigned t = thread_index().x;
  values[t] = 1.0f;
  sync_block();
  y[t] = values[kBug ? t + 1 : (t + 1) % 32];
}

// Bug: half of a warp waits in a barrier of the block, the other half in a shuffle of the warp.
template <bool kBug>
DC_KERNEL void barrier_or_shuffle(float* y) {
  const unsigned t = thread_index().x;
  float v = static_cast<float>(t);
  if (!kBug || t < 16) sync_block();
  if (!kBug || t >= 16) v = shuffle(kFullMask, v, 3);
  y[t] = v;
}

// Bug: lanes of a warp meet in different collectives.
template <bool kBug>
DC_KERNEL void mixed_collectives(float* y) {
  const unsigned t = thread_index().x;
  float v = 1.0f;
  if (kBug && t < 16)
    v = any(kFullMask, true) ? 1.0f : 0.0f;
  else
    v = shuffle_xor(kFullMask, v, 1);
  y[t] = v;
}

// Bug: a barrier in both branches of a condition that differs within the block.
template <bool kBug>
DC_KERNEL void barrier_in_branches(float* y) {
  const unsigned t = thread_index().x;
  if (!kBug || t < 32)
    sync_block();
  else
    sync_block();
  y[t] = 1.0f;
}

// Bug: a lane has left before a collective of the whole warp.
template <bool kBug>
DC_KERNEL void lane_left(float* y) {
  const unsigned t = thread_index().x;
  if (kBug && t == 31) return;
  y[t] = shuffle(kFullMask, 1.0f, 0);
}

// Thread 1 waits for thread 0's flag. Bug: which is never set.
template <bool kBug>
DC_KERNEL void flag_never_set(float* y, unsigned* flag) {
  if (thread_index().x == 0 && !kBug) store_release(flag, 1u);
  if (thread_index().x == 1)
    while (load_acquire(flag) == 0) spin_wait();
  y[thread_index().x] = 1.0f;
}

// Data handed over by a flag. Bug: the flag is written and read by relaxed atomics, which order nothing.
template <bool kBug>
DC_KERNEL void relaxed_flag(float* y, float* data, unsigned* flag) {
  if (block_index().x == 0) {
    *data = 5.0f;
    if (kBug)
      atomic_exchange(flag, 1u);
    else
      store_release(flag, 1u);
  } else {
    while ((kBug ? atomic_max(flag, 0u) : load_acquire(flag)) == 0) spin_wait();
    *y = *data;
  }
}

// A count by atomics, then read. Bug: without a barrier between.
template <bool kBug>
DC_KERNEL void count_then_read(float* y, unsigned* count) {
  DC_SHARED(unsigned[1], total);
  if (thread_index().x == 0) *total = 0;
  sync_block();
  atomic_add(total, 1u);
  if (!kBug) sync_block();
  if (thread_index().x == 0) *y = static_cast<float>(*total + *count);
}

// Bug: all blocks write the same element.
template <bool kBug>
DC_KERNEL void blocks_collide(float* y) {
  y[kBug ? 0 : block_index().x] = static_cast<float>(block_index().x);
}

// Bug: sums into an output that nobody set to zero.
template <bool kBug>
DC_KERNEL void fresh_memory(float* y) {
  y[thread_index().x] = (kBug ? y[thread_index().x] : 0.0f) + 1.0f;
}

// Bug: a vector load from an address that is not a multiple of 16.
template <bool kBug>
DC_KERNEL void misaligned_vector(const float* x, float* y) {
  y[thread_index().x] = load<float4>(x + 4 * thread_index().x + (kBug ? 1 : 0)).w;
}

// Bug: rows of ldmatrix that do not begin at multiples of 16 bytes.
template <bool kBug>
DC_KERNEL void misaligned_matrix(float* y) {
  DC_DYNAMIC_SHARED(bytes);
  for (unsigned i = lane(); i < 512; i += 32) bytes[i] = 0;
  sync_warp();
  uint32_t r[4];
  ldmatrix_x4(r, bytes + lane() * (kBug ? 8 : 16));
  y[lane()] = bits_float(r[0] | r[1] | r[2] | r[3]);
}

// Bug: a second copy into memory whose first copy is not yet waited for; lanes wait for their own only.
template <bool kBug>
DC_KERNEL void copy_read_by_others(const float* x, float* y) {
  DC_SHARED(float[128], values);
  const unsigned t = thread_index().x;
  cp_async16(&values[4 * t], x + 4 * t);
  cp_async_commit();
  cp_async_wait<0>();
  if (!kBug) sync_block();
  y[t] = values[127 - t];
}

template <bool kBug>
DC_KERNEL void grid_sync_alone(unsigned* counter) {
  grid_sync(counter, grid_size().x);
}

#ifdef __CUDACC__  // every kernel once, with and without its bug
#define DC_BOTH(name, ...)                          \
  template DC_KERNEL void name<false>(__VA_ARGS__); \
  template DC_KERNEL void name<true>(__VA_ARGS__);
DC_BOTH(trailing_barrier, const float*, float*, int)
DC_BOTH(warp_exchange, const float*, float*)
DC_BOTH(copy_wait, const float*, float*)
DC_BOTH(grid_barrier, const float*, float*, float*, unsigned*)
template DC_KERNEL void ring<0>(const float*, float*, unsigned);
template DC_KERNEL void ring<1>(const float*, float*, unsigned);
template DC_KERNEL void ring<2>(const float*, float*, unsigned);
DC_BOTH(row_past_the_end, float*, unsigned, unsigned)
DC_BOTH(barrier_or_shuffle, float*)
DC_BOTH(flag_never_set, float*, unsigned*)
DC_BOTH(relaxed_flag, float*, float*, unsigned*)
DC_BOTH(count_then_read, float*, unsigned*)
DC_BOTH(misaligned_vector, const float*, float*)
DC_BOTH(copy_read_by_others, const float*, float*)
DC_BOTH(grid_sync_alone, unsigned*)
#endif

}  // namespace dc

#ifndef __CUDACC__
#include <functional>
#include <map>

#include "harness.h"

using namespace harness;

namespace {

using dc::Status;
using Values = std::vector<float>;

// "right", "wrong" or "error: " and the text.
std::string judge(const Status& status, const DeviceArray<float>& y, const Values& expected) {
  if (!status) return std::string("error: ") + status.error;
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(std::fabs(y[i] - expected[i]) <= 1e-4f)) return "wrong";
  return "right";
}

// Kernels with an output only.
std::string run_plain(void (*kernel)(float*), unsigned blocks, unsigned threads, size_t shared,
                      const Values& expected) {
  DeviceArray<float> y(expected.size());
  return judge(dc::launch(kernel, blocks, threads, shared, nullptr, y.data()), y, expected);
}
// Kernels from 128 inputs to outputs.
std::string run_mapped(void (*kernel)(const float*, float*), unsigned threads, size_t outputs,
                       const std::function<size_t(size_t)>& source) {
  const Values x = random_floats(128, 1);
  Values expected(outputs);
  for (size_t i = 0; i < outputs; ++i) expected[i] = x[source(i)];
  DeviceArray<float> in(x), y(outputs);
  return judge(dc::launch(kernel, 1, threads, 0, nullptr, in.data(), y.data()), y, expected);
}

template <int kBug>
std::string run_ring() {
  const unsigned steps = 8;
  const Values x = random_floats(steps * 128, 2);
  Values expected(32, 0.0f);
  for (size_t i = 0; i < x.size(); ++i) expected[i % 32] += x[i];
  DeviceArray<float> in(x), y(32);
  return judge(dc::launch(dc::ring<kBug>, 1, 64, 0, nullptr, in.data(), y.data(), steps), y, expected);
}

template <bool kBug>
std::map<std::string, std::function<std::string()>> kernels() {
  const Values ones(32, 1.0f), ones64(64, 1.0f);
  return {
      {"trailing_barrier",
       [] {
         const Values x = random_floats(5 * 64, 1);
         Values expected(64, 0.0f);
         for (size_t i = 0; i < x.size(); ++i) expected[(i + 63) % 64] += x[i];
         DeviceArray<float> in(x), y(64);
         return judge(dc::launch(dc::trailing_barrier<kBug>, 1, 64, 0, nullptr, in.data(), y.data(), 5), y, expected);
       }},
      {"warp_exchange", [] { return run_mapped(dc::warp_exchange<kBug>, 32, 32, [](size_t i) { return i ^ 1; }); }},
      {"copy_wait", [] { return run_mapped(dc::copy_wait<kBug>, 32, 128, [](size_t i) { return i; }); }},
      {"copy_read_by_others",
       [] { return run_mapped(dc::copy_read_by_others<kBug>, 32, 32, [](size_t i) { return 127 - i; }); }},
      {"grid_barrier",
       [] {
         const Values x = random_floats(16, 1);
         float sum = 0;
         for (float v : x) sum += v;
         DeviceArray<float> in(x), partial(8), y(1);
         DeviceArray<unsigned> counter(1);
         counter.fill(0);
         return judge(dc::launch_coop(dc::grid_barrier<kBug>, 8, 32, 0, nullptr, in.data(), partial.data(), y.data(),
                                      counter.data()),
                      y, {sum});
       }},
      {"slot_not_empty", run_ring < kBug ? 1 : 0 > },
      {"slot_released_early", run_ring < kBug ? 2 : 0 > },
      {"row_past_the_end",
       [] {
         DeviceArray<float> y(3 * 8);
         return judge(dc::launch(dc::row_past_the_end<kBug>, 1, dc::dim3(8, 4), 0, nullptr, y.data(), 3u, 8u), y,
                      Values(24, 1.0f));
       }},
      {"shared_past_the_end", [ones] { return run_plain(dc::shared_past_the_end<kBug>, 1, 32, 0, ones); }},
      {"barrier_or_shuffle", [] { return run_plain(dc::barrier_or_shuffle<kBug>, 1, 32, 0, Values(32, 3.0f)); }},
      {"mixed_collectives", [ones] { return run_plain(dc::mixed_collectives<kBug>, 1, 32, 0, ones); }},
      {"barrier_in_branches", [ones64] { return run_plain(dc::barrier_in_branches<kBug>, 1, 64, 0, ones64); }},
      {"lane_left", [ones] { return run_plain(dc::lane_left<kBug>, 1, 32, 0, ones); }},
      {"flag_never_set",
       [] {
         DeviceArray<float> y(2);
         DeviceArray<unsigned> flag(1);
         flag.fill(0);
         return judge(dc::launch(dc::flag_never_set<kBug>, 1, 2, 0, nullptr, y.data(), flag.data()), y, {1, 1});
       }},
      {"relaxed_flag",
       [] {
         DeviceArray<float> y(1), data(1);
         DeviceArray<unsigned> flag(1);
         flag.fill(0);
         return judge(dc::launch_coop(dc::relaxed_flag<kBug>, 2, 1, 0, nullptr, y.data(), data.data(), flag.data()), y,
                      {5});
       }},
      {"count_then_read",
       [] {
         DeviceArray<float> y(1);
         DeviceArray<unsigned> count(1);
         count.fill(0);
         return judge(dc::launch(dc::count_then_read<kBug>, 1, 64, 0, nullptr, y.data(), count.data()), y, {64});
       }},
      {"blocks_collide",
       [] { return run_plain(dc::blocks_collide<kBug>, 3, 1, 0, kBug ? Values{2} : Values{0, 1, 2}); }},
      {"fresh_memory", [ones] { return run_plain(dc::fresh_memory<kBug>, 1, 32, 0, ones); }},
      {"misaligned_vector",
       [] { return run_mapped(dc::misaligned_vector<kBug>, 31, 31, [](size_t i) { return 4 * i + 3; }); }},
      {"misaligned_matrix", [] { return run_plain(dc::misaligned_matrix<kBug>, 1, 32, 512, Values(32, 0.0f)); }},
      {"grid_sync_alone",
       [] {
         DeviceArray<unsigned> counter(1);
         DeviceArray<float> none(0);
         counter.fill(0);
         return judge(kBug ? dc::launch(dc::grid_sync_alone<kBug>, 2, 32, 0, nullptr, counter.data())
                           : dc::launch_coop(dc::grid_sync_alone<kBug>, 2, 32, 0, nullptr, counter.data()),
                      none, {});
       }},
  };
}

}  // namespace

// planted_bugs list | planted_bugs NAME: one line per mode, first of the kernel without its bug.
int main(int count, char** arguments) {
  const auto correct = kernels<false>(), wrong = kernels<true>();
  const std::string name = count > 1 ? arguments[1] : "list";
  if (name == "list") {
    for (const auto& entry : correct) std::printf("%s\n", entry.first.c_str());
    return 0;
  }
  if (!correct.count(name)) {
    std::printf("no planted bug is called %s\n", name.c_str());
    return 2;
  }
  for (const bool bug : {false, true})
    for (const Mode& mode : kModes) {
      set_mode(mode);
      std::printf("%s %s %s %s\n", bug ? "bug" : "correct", mode.order, mode.async,
                  (bug ? wrong : correct).at(name)().c_str());
      std::fflush(stdout);  // AddressSanitizer may end the program
    }
  return 0;
}
#endif
