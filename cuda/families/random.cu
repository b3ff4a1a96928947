// Random arrays; kernels/random.h says which bits make which element, so that no launch shape shows in them.
// Split: a thread makes 16 bytes of neighbouring elements at a time from its Philox block. Bound: memory (4 bytes an
// element, dropout 8); the ten rounds cost about 25 instructions an element, less than its bytes do.
//
// The permutation is that of Fisher and Yates, without their order of steps. Step i = n - 1 .. 1 swaps cell i with cell
// j(i) <= i, and cell i is final afterwards. Let T(p) be the steps i > p with j(i) = p: before its own step, cell p has
// been changed by them alone, last by the smallest. Hence
//   held(p), the value in cell p before step p, is p where T(p) is empty, else held(min T(p)), and
//   y[i] = held(i) where j(i) = i; else held(m), m = the smallest step above i in T(j(i)); else, there is none, j(i).
// Lists T(p) are short (ln(n / p) on average), and the walks of held() grow by a factor of e a step on average, so four
// launches of n threads each replace n dependent swaps. Bound: memory, a few accesses at random places an element.
#include <cmath>

#include "families/families.h"
#include "families/lane.cuh"
#include "families/turn.cuh"
#include "families/unit.cuh"
#include "families/walk.cuh"
#include "kernels/random.h"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;

DC_DEVICE double unit53(uint32_t low, uint32_t high) {
  const uint64_t bits = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// Word i of a block without an index into registers.
DC_DEVICE uint32_t word_of(const PhiloxBlock& b, int i) {
  return i < 2 ? (i == 0 ? b.word[0] : b.word[1]) : (i == 2 ? b.word[2] : b.word[3]);
}

// Makers fill 16 bytes of values at a time; kUnits of these share a block of four words, which each of their threads
// computes: that costs less than stores out of order.
struct Bits {
  static constexpr int kUnits = 1;
  DC_DEVICE void operator()(const PhiloxBlock& b, int, uint32_t (&v)[4]) const {
    DC_UNROLL
    for (int i = 0; i < 4; ++i) v[i] = b.word[i];
  }
};

template <class T>
struct Uniform {
  static constexpr int kUnits = 1;
  T low, range, most;
  DC_DEVICE void operator()(const PhiloxBlock& b, int, T (&v)[kWidth<T>]) const {
    DC_UNROLL
    for (int i = 0; i < kWidth<T>; ++i) {
      T u;
      if constexpr (sizeof(T) == sizeof(float))
        u = unit_float(b.word[i]);
      else
        u = unit53(b.word[2 * i], b.word[2 * i + 1]);
      // Product and sum are rounded apart, as on the CPU.
      const T x = multiply_rounded(u, range) + low;
      v[i] = x < most ? x : most;
    }
  }
};

template <class T>
struct Normal {
  static constexpr int kUnits = 1;
  T mean, deviation;
  DC_DEVICE void operator()(const PhiloxBlock& b, int, T (&v)[kWidth<T>]) const {
    DC_UNROLL
    for (int i = 0; i < kWidth<T>; i += 2) {
      T radius_bits, angle;
      if constexpr (sizeof(T) == sizeof(float)) {
        // 31 bits and a half, never 0: radii up to 6.66.
        radius_bits = ::fmaf(static_cast<float>(b.word[i] >> 1), 0x1p-31f, 0x1p-32f);
        angle = unit_float(b.word[i + 1]);
      } else {
        radius_bits = unit53(b.word[0], b.word[1]) + 0x1p-54;
        angle = unit53(b.word[2], b.word[3]);
      }
      const T r = sqrt_of(log_of(radius_bits) * T(-2));
      const Turn<T> at = turn(angle);
      v[i] = fma_of(r * at.cosine, deviation, mean);
      v[i + 1] = fma_of(r * at.sine, deviation, mean);
    }
  }
};

// One probability for all, or one for each element, which stands in v.
template <class T, bool kEach>
struct Bernoulli {
  static constexpr int kUnits = 4 / kWidth<T>;
  T p;
  DC_DEVICE void operator()(const PhiloxBlock& b, int unit, T (&v)[kWidth<T>]) const {
    DC_UNROLL
    for (int i = 0; i < kWidth<T>; ++i)
      v[i] = static_cast<T>(unit_float(word_of(b, unit * kWidth<T> + i))) < (kEach ? v[i] : p) ? T(1) : T(0);
  }
};

template <class T>
struct Dropout {
  static constexpr int kUnits = 8 / kWidth<T>;
  unsigned keep;
  T scale;
  DC_DEVICE void operator()(const PhiloxBlock& b, int unit, T (&v)[kWidth<T>]) const {
    DC_UNROLL
    for (int i = 0; i < kWidth<T>; i += 2) {
      const uint32_t word = word_of(b, (unit * kWidth<T> + i) / 2);
      v[i] = (word & 0xFFFFu) < keep ? v[i] * scale : T(0);
      v[i + 1] = word >> 16 < keep ? v[i + 1] * scale : T(0);
    }
  }
};

// make(block, unit of the block, values): kReads: the values are x's before. x may be y.
template <class T, class Make, bool kReads>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    random_kernel(RandomKey passed, const RandomKey* recorded, long long n, bool vector, Make make, const T* x, T* y) {
  constexpr int W = kWidth<T>;
  RandomKey key = passed;
  if (recorded) key = *recorded;
  const long long units = (n + W - 1) / W;
  for (long long u = first_index(kThreads); u < units; u += grid_step(kThreads)) {
    const long long i = u * W;
    const bool whole = vector && i + W <= n;
    T v[W];
    if constexpr (kReads) {
      if (whole) {
        load_unit(x + i, v);
      } else {
        DC_UNROLL
        for (int k = 0; k < W; ++k) v[k] = i + k < n ? x[i + k] : T(0);
      }
    }
    make(philox(key.seed, key.stream, key.offset + static_cast<uint64_t>(u / Make::kUnits)),
         static_cast<int>(u % Make::kUnits), v);
    if (whole) {
      store_unit(y + i, v);
    } else {
      DC_UNROLL
      for (int k = 0; k < W; ++k)
        if (i + k < n) y[i + k] = v[k];
    }
  }
}

template <bool kReads, class T, class Make>
void make_random(const char* op, const RandomKey& key, int64_t n, const Make& make, const T* x, T* y, Context& context,
                 bool may_be_recorded = false) {
  if (!may_be_recorded) refuse_recording(op, context);
  const bool vector = aligned(x) && aligned(y);
  run(op, context, random_kernel<T, Make, kReads>, dim3(blocks_for(n, kThreads, kWidth<T>)), dim3(kThreads), 0, key,
      recorded_key(op, context, key), n, vector, make, x, y);
}

void bits(const RandomKey& key, int64_t n, uint32_t* y, Context& context) {
  const uint32_t* none = nullptr;
  make_random<false>("bits", key, n, Bits(), none, y, context);
}

template <class T>
void uniform(const RandomKey& key, int64_t n, T low, T high, T* y, Context& context) {
  const T* none = nullptr;
  make_random<false>("uniform", key, n, Uniform<T>{low, high - low, std::nextafter(high, low)}, none, y, context);
}

template <class T>
void normal(const RandomKey& key, int64_t n, T mean, T deviation, T* y, Context& context) {
  const T* none = nullptr;
  make_random<false>("normal", key, n, Normal<T>{mean, deviation}, none, y, context);
}

template <class T>
void bernoulli(const RandomKey& key, int64_t n, T p, T* y, Context& context) {
  const T* none = nullptr;
  make_random<false>("bernoulli", key, n, Bernoulli<T, false>{p}, none, y, context);
}

template <class T>
void bernoulli_each(const RandomKey& key, int64_t n, const T* p, T* y, Context& context) {
  make_random<true>("bernoulli", key, n, Bernoulli<T, true>{}, p, y, context);
}

template <class T>
void dropout(const RandomKey& key, int64_t n, double p, const T* x, T* y, Context& context) {
  long keep = std::lrint((1.0 - p) * 65536.0);
  if (keep < 1 && p < 1.0) keep = 1;
  const Dropout<T> make{static_cast<unsigned>(keep),
                        keep > 0 ? static_cast<T>(65536.0 / static_cast<double>(keep)) : T(0)};
  make_random<true>("dropout", key, n, make, x, y, context, true);
}

// ---- permutation ----

using Step = unsigned long long;
constexpr Step kNone = ~0ull;

__extension__ typedef unsigned __int128 Wide;

// j(i) = floor(u (i + 1) / 2^64) for a 64-bit u.
DC_DEVICE Step partner(const RandomKey& key, Step i) {
  const PhiloxBlock b = philox(key.seed, key.stream, key.offset + i / 2);
  const uint64_t u =
      i % 2 ? static_cast<uint64_t>(b.word[3]) << 32 | b.word[2] : static_cast<uint64_t>(b.word[1]) << 32 | b.word[0];
  return static_cast<Step>(static_cast<Wide>(u) * (i + 1) >> 64);
}

DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) empty_lists(long long n, Step* head) {
  for (long long p = first_index(kThreads); p < n; p += grid_step(kThreads)) head[p] = kNone;
}

// T(p) begins with head[p] and goes on with link, in the order in which threads came.
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) list_steps(RandomKey key, long long n, Step* head, Step* link) {
  for (long long i = first_index(kThreads); i < n; i += grid_step(kThreads)) {
    const Step j = partner(key, static_cast<Step>(i));
    if (j != static_cast<Step>(i)) link[i] = atomic_exchange(head + j, static_cast<Step>(i));
  }
}

// Each list in ascending order, by insertion: head[p] = min T(p), and link[i] is the step above i in its list.
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) sort_lists(long long n, Step* head, Step* link) {
  for (long long p = first_index(kThreads); p < n; p += grid_step(kThreads)) {
    Step sorted = kNone;
    for (Step node = head[p]; node != kNone;) {
      const Step following = link[node];
      if (node < sorted) {  // kNone is above all
        link[node] = sorted;
        sorted = node;
      } else {
        Step before = sorted;
        while (link[before] < node) before = link[before];
        link[node] = link[before];
        link[before] = node;
      }
      node = following;
    }
    head[p] = sorted;
  }
}

DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) place_values(RandomKey key, long long n, const Step* DC_RESTRICT head,
                                                     const Step* DC_RESTRICT link, int64_t* DC_RESTRICT y) {
  for (long long i = first_index(kThreads); i < n; i += grid_step(kThreads)) {
    const Step own = static_cast<Step>(i), j = partner(key, own);
    Step at = j == own ? own : link[own];
    if (at == kNone)
      at = j;  // untouched
    else
      while (head[at] != kNone) at = head[at];
    y[i] = static_cast<int64_t>(at);
  }
}

void permutation(const RandomKey& key, int64_t n, int64_t* y, Context& context) {
  const char* op = "permutation";
  refuse_recording(op, context);
  const Scratch memory(op, context, 2 * static_cast<size_t>(n) * sizeof(Step));
  Step *head = memory.as<Step>(), *link = head + n;
  const dim3 grid(blocks_for(n, kThreads)), block(kThreads);
  run(op, context, empty_lists, grid, block, 0, n, head);
  run(op, context, list_steps, grid, block, 0, key, n, head, link);
  run(op, context, sort_lists, grid, block, 0, n, head, link);
  run(op, context, place_values, grid, block, 0, key, n, head, link, y);
}

template <class T>
inline constexpr RandomKernels<T> kRandom = {bits,        uniform<T>, normal<T>, bernoulli<T>, bernoulli_each<T>,
                                             permutation, dropout<T>};

}  // namespace

const RandomKernels<float> random_f32 = kRandom<float>;
const RandomKernels<double> random_f64 = kRandom<double>;

}  // namespace dc::cuda
