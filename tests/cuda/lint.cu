// Counts of bank conflicts and of sectors, per source line, against what is known of the access patterns.
#include "device/primitives.cuh"

namespace dc {

// Every line that ends in a name is looked up by test_emulation.py.
DC_KERNEL void patterns(const float* x, float* y) {
  DC_SHARED(float[32][32], square);
  DC_SHARED(float[32][33], padded);
  const unsigned t = thread_index().x;
  for (unsigned i = 0; i < 32; ++i) {
    square[i][t] = x[i * 32 + t];  // rows: coalesced, no conflicts
    padded[i][t] = x[t * 32 + i];  // columns of x: one sector per lane
  }
  sync_block();
  float sum = 0;
  for (unsigned i = 0; i < 32; ++i) {
    sum += square[t][i];                           // 32 lanes in one bank
    sum += padded[t][i];                           // padding: each lane in its own bank
    sum += square[0][i];                           // one word for all lanes
    sum += load<float4>(&square[i][t / 8 * 4]).x;  // eight lanes share a vector
    y[2 * (i * 32 + t)] = sum;                     // every second word
  }
}

}  // namespace dc

#ifndef __CUDACC__
#include "emulation/hooks/lint.h"
#include "harness.h"

using namespace harness;

int main() {
  DeviceArray<float> x(random_floats(1024, 1)), y(2048);
  dc::emulation::count_traffic(true);
  for (const Mode& mode : kModes) {
    set_mode(mode);
    succeeded(dc::launch(dc::patterns, 1, 32, 0, nullptr, x.data(), y.data()));
    for (const auto& line : dc::emulation::take_traffic())
      std::printf("%s:%u %s %s %llu %llu %llu\n", line.file.c_str(), line.line,
                  line.kind == dc::emulation::MemoryKind::shared ? "shared" : "global", line.write ? "write" : "read",
                  static_cast<unsigned long long>(line.requests), static_cast<unsigned long long>(line.actual),
                  static_cast<unsigned long long>(line.ideal));
    const dc::emulation::MovedBytes moved = dc::emulation::take_moved_bytes();
    std::printf("moved %llu %llu %llu %llu %llu\n", static_cast<unsigned long long>(moved.launches),
                static_cast<unsigned long long>(moved.read), static_cast<unsigned long long>(moved.written),
                static_cast<unsigned long long>(moved.read_once), static_cast<unsigned long long>(moved.written_once));
    std::printf("mode\n");
  }
  return check::failures != 0;
}
#endif
