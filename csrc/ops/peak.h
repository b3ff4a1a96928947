// This machine's ceilings with the current instruction set and thread count.
#pragma once
#include <cstdint>

namespace dc::ops {

// Floating-point operations per second of multiply-adds in registers: the best of bursts over `seconds`.
double measure_peak_flops(double seconds);
// Bytes per second of reading `bytes` again and again, split over the threads.
double measure_read_bandwidth(int64_t bytes, double seconds);

}  // namespace dc::ops
