// Loops that measure what this machine can do at best: the ceilings that benches compare with.
#pragma once
#include "kernel.h"

namespace dc {

struct PeakKernels {
  // `tasks` independent loops of `rounds` rounds of multiply-adds in registers; sink: (tasks).
  // Returns the floating-point operations of one task.
  Kernel<double(int64_t tasks, int64_t rounds, float* sink, Context&)> multiply_add;
  // Task i reads its part of x (n values) `rounds` times; sink: (tasks).
  Kernel<void(int64_t tasks, int64_t rounds, const float* x, int64_t n, float* sink, Context&)> read;
};

}  // namespace dc
