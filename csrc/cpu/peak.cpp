// Ceilings: multiply-adds in registers, and reading memory. One task per thread; nothing is shared but the input.
// multiply_add: kChains accumulators a <- a * x + y hide the latency of 4 to 5 cycles of two units; fewer than the 16
// registers of AVX2. The values converge to y / (1 - x), so neither denormals nor infinities disturb the clock.
// read: eight accumulators of loads, part of the task contiguous. The sums go to `sink`, so that nothing is left out.
#include "kernels/peak.h"

#include "core/parallel.h"
#include "cpu/families.h"
#include "cpu/simd/vec.h"

namespace dc::DC_ISA {

static double multiply_add(int64_t tasks, int64_t rounds, float* sink, Context& context) {
  constexpr int kChains = 12;
  parallel_for(context, tasks, 1, [&](int64_t task, int64_t) {
    VecF a[kChains];
    for (int c = 0; c < kChains; ++c) a[c] = VecF::set(static_cast<float>(c));
    const VecF x = VecF::set(0.5f), y = VecF::set(1.0f);
    for (int64_t i = 0; i < rounds; ++i)
      for (int c = 0; c < kChains; ++c) a[c] = fma(a[c], x, y);
    for (int c = 1; c < kChains; ++c) a[0] = a[0] + a[c];
    sink[task] = a[0].sum();
  });
  return 2.0 * kChains * VecF::W * static_cast<double>(rounds);
}

static void read(int64_t tasks, int64_t rounds, const float* x, int64_t n, float* sink, Context& context) {
  constexpr int kSums = 8;
  constexpr int64_t kStep = kSums * VecF::W;
  const int64_t steps = n / tasks / kStep;
  parallel_for(context, tasks, 1, [&](int64_t task, int64_t) {
    const float* part = x + task * steps * kStep;
    VecF a[kSums];
    for (int s = 0; s < kSums; ++s) a[s] = VecF::zero();
    for (int64_t round = 0; round < rounds; ++round)
      for (int64_t i = 0; i < steps; ++i)
        for (int s = 0; s < kSums; ++s) a[s] = a[s] + VecF::load(part + i * kStep + s * VecF::W);
    for (int s = 1; s < kSums; ++s) a[0] = a[0] + a[s];
    sink[task] = a[0].sum();
  });
}

extern const PeakKernels peak;
const PeakKernels peak = {multiply_add, read};

}  // namespace dc::DC_ISA
