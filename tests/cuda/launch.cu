// Launches: what the device refuses, what reports say, threads of the operating system, and what is left behind.
#include "device/primitives.cuh"

namespace dc {

DC_KERNEL void touch(int* out) { out[block_index().x * block_size().x + thread_index().x] = 1; }

#ifndef __CUDACC__  // ptxas refuses it as well
DC_KERNEL void large_static_shared(float* out) {
  DC_SHARED(float[13000], values);  // 52,000 bytes
  values[thread_index().x] = 1.0f;
  sync_block();
  out[thread_index().x] = values[thread_index().x];
}
#endif

// Every thread needs a stack of its own: all wait, many times over, with data on their stacks.
DC_KERNEL void sum_neighbours(unsigned* out, int rounds) {
  DC_SHARED(unsigned[256], values);
  const unsigned t = thread_index().x;
  unsigned sum = t;
  for (int i = 0; i < rounds; ++i) {
    values[t] = sum;
    sync_block();
    sum += values[(t + 1) % 256];
    sync_block();
  }
  out[block_index().x * 256 + t] = sum;
}

DC_KERNEL void take_arguments(float* out, double a, char b, bf16 c) {
  b = static_cast<char>(b + 1);  // of this thread only
  out[thread_index().x] = static_cast<float>(a) + static_cast<float>(b) + to_float(c);
}

}  // namespace dc

#ifndef __CUDACC__
#include <thread>

#include "harness.h"

using namespace harness;

namespace {

void test_refusals() {
  DeviceArray<int> out(2048);
  DeviceArray<float> floats(32);
  int* p = out.data();
  failed_with(dc::launch(dc::touch, 1, 1025, 0, nullptr, p), {"touch(int*)", "more than 1024 threads"});
  failed_with(dc::launch(dc::touch, 1, dc::dim3(1, 1, 65), 0, nullptr, p), {"64 along z"});
  failed_with(dc::launch(dc::touch, 0, 32, 0, nullptr, p), {"a size is 0"});
  failed_with(dc::launch(dc::touch, 1, 0, 0, nullptr, p), {"a size is 0"});
  failed_with(dc::launch(dc::touch, dc::dim3(1, 65536), 32, 0, nullptr, p), {"65535 along y"});
  failed_with(dc::launch(dc::touch, 1, 32, (227 << 10) + 1, nullptr, p), {"shared memory"});
  failed_with(dc::launch_coop(dc::touch, 132 * 2 + 1, 1024, 0, nullptr, p), {"at most 264"});
  failed_with(dc::launch_coop(dc::touch, 132 + 1, 32, 120 << 10, nullptr, p), {"at most 132"});
  failed_with(dc::launch(dc::large_static_shared, 1, 32, 0, nullptr, floats.data()), {"values", "48 KB", "launch.cu:"});
  CHECK(out[0] == -1, "a launch that was refused has run");
  succeeded(dc::launch(dc::touch, 2, 1024, 227 << 10, nullptr, p));
}

void test_arguments() {
  DeviceArray<float> out(32);
  succeeded(dc::launch(dc::take_arguments, 1, 32, 0, nullptr, out.data(), 0.5f, 2, dc::to_bf16(8)));
  for (size_t i = 0; i < 32; ++i) CHECK(out[i] == 11.5f, "%g", out[i]);
}

void check_neighbours(const DeviceArray<unsigned>& out, int rounds) {
  std::vector<unsigned> sum(256), next(256);
  for (unsigned t = 0; t < 256; ++t) sum[t] = t;
  for (int i = 0; i < rounds; ++i) {
    for (unsigned t = 0; t < 256; ++t) next[t] = sum[t] + sum[(t + 1) % 256];
    sum.swap(next);
  }
  for (unsigned i = 0; i < out.size(); ++i) CHECK(out[i] == sum[i % 256], "element %u", i);
}

void test_os_threads() {
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([] {
      for (int i = 0; i < 20; ++i) {
        DeviceArray<unsigned> out(3 * 256);
        const dc::Status status = dc::launch(dc::sum_neighbours, 3, 256, 0, nullptr, out.data(), 5);
        if (!status) std::printf("%s\n", status.error);
        const dc::Status failed = dc::launch(dc::touch, 0, 32, 0, nullptr, nullptr);
        if (!status || failed) std::abort();
        std::vector<unsigned> copy(out.data(), out.data() + out.size());
        for (unsigned j = 256; j < copy.size(); ++j)
          if (copy[j] != copy[j - 256]) std::abort();
      }
    });
  for (std::thread& t : threads) t.join();
}

void test_many_fibers() {
#ifdef DC_EMULATION_ASAN
  const unsigned blocks = 8;  // 256 KB of stack per thread
#else
  const unsigned blocks = 132;
#endif
  DeviceArray<unsigned> out(blocks * 256);
  if (succeeded(dc::launch_coop(dc::sum_neighbours, blocks, 256, 0, nullptr, out.data(), 3))) check_neighbours(out, 3);
}

dc::emulation::LaunchDescription kept;
dc::Stream kept_stream;

void test_launcher() {
  dc::emulation::set_launcher([](dc::Stream stream, const dc::emulation::LaunchDescription& d) {
    kept = d;
    kept_stream = stream;
    return dc::Status{};
  });
  DeviceArray<int> out(64);
  int stream = 0;
  succeeded(dc::launch(dc::touch, 2, 32, 0, &stream, out.data()));
  dc::emulation::set_launcher(nullptr);
  CHECK(out[0] == -1 && kept_stream == &stream, "the launcher was not asked");
  succeeded(dc::emulation::run(kept));
  for (size_t i = 0; i < 64; ++i) CHECK(out[i] == 1, "element %zu", i);
}

void test_memory() {
  DeviceArray<float> fresh(3);
  CHECK(std::isnan(fresh[0]) && std::isnan(fresh[2]), "fresh memory is not NaN");
  fresh.fill(1);
  dc::emulation::poison_device(fresh.data(), 8);
  CHECK(std::isnan(fresh[1]) && fresh[2] == 1.0f, "poisoned %g %g", fresh[1], fresh[2]);
  DeviceArray<float> none(0);
  CHECK(none.data() != nullptr, "an allocation of no bytes");
  CHECK(dc::emulation::allocate_device(~size_t{0} - 5) == nullptr, "an allocation of all bytes there could be");
}

void test_configuration() {
  using namespace dc::emulation;
  Configuration c;
  CHECK(parse_configuration(nullptr, nullptr, c).empty() && c.order == Order::forward && c.async == Async::late, "%s",
        to_text(c).c_str());
  CHECK(parse_configuration("random:17", "early", c).empty() && to_text(c) == "order random:17, async early", "%s",
        to_text(c).c_str());
  for (const char* wrong : {"backward", "random", "random:", "random:1x", "random:-1", "forward "})
    CHECK(!parse_configuration(wrong, nullptr, c).empty(), "'%s' was understood", wrong);
  CHECK(!parse_configuration(nullptr, "later", c).empty() && c.seed == 17, "'later' was understood");
}

}  // namespace

int main() {
  test_configuration();
  for (const Mode& mode : kModes) {
    set_mode(mode);
    test_refusals();
    test_arguments();
    test_launcher();
    test_memory();
    test_os_threads();
  }
  set_mode(kModes[0]);
  test_many_fibers();
  return check::finish("launch");
}
#endif
