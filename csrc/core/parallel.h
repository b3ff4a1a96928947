// Work split for kernels. Chunks depend on the problem size only, never on the number of threads,
// so every result has the same bits for any thread count.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dc {

struct Context;

// Calls function(argument, i) once for each i in [0, tasks), on any thread, in any order; returns
// when all are done. Nested calls and calls while another thread holds the pool run inline.
void parallel_run(Context& context, int64_t tasks, void (*function)(void*, int64_t), void* argument);

// Memory of the calling thread, 64-byte aligned, contents undefined, valid until the next call
// with the same slot on the same thread. Slots 0-2 belong to GEMM and convolution, 3-7 to the rest.
void* thread_scratch(int slot, size_t bytes);

int thread_count();
void set_thread_count(int threads);

}  // namespace dc

#ifdef DC_ISA
namespace dc::DC_ISA {

// f(begin, end) over [0, n) in chunks of `grain`.
template <class F>
static inline void parallel_for(Context& context, int64_t n, int64_t grain, const F& f) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  if (n <= grain) {
    f(int64_t{0}, n);
    return;
  }
  struct Job {
    const F* f;
    int64_t n, grain;
  } job{&f, n, grain};
  parallel_run(
      context, (n + grain - 1) / grain,
      [](void* p, int64_t i) {
        const Job& j = *static_cast<const Job*>(p);
        const int64_t begin = i * j.grain;
        const int64_t end = begin + j.grain < j.n ? begin + j.grain : j.n;
        (*j.f)(begin, end);
      },
      &job);
}

}  // namespace dc::DC_ISA
#endif
