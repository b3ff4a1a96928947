// Threads, barriers, shuffles, votes, atomics, memory, Philox and fast mathematics of the primitives.
#include "device/primitives.cuh"

namespace dc {

// Every thread writes its number in the grid; sizes in three dimensions.
DC_KERNEL void write_indices(unsigned* out) {
  const uint3 t = thread_index(), b = block_index(), n = block_size(), g = grid_size();
  const unsigned thread = t.x + n.x * (t.y + n.y * t.z), block = b.x + g.x * (b.y + g.y * b.z);
  const unsigned threads = n.x * n.y * n.z;
  out[block * threads + thread] = block * threads + thread + (warp() * 32 + lane() == thread ? 0u : 1000000u);
}

// out[6][32]: the four shuffles, a shuffle of doubles within half warps, and votes.
DC_KERNEL void exercise_shuffles(double* out) {
  const int i = static_cast<int>(lane());
  out[i] = shuffle(kFullMask, i * 10, (i + 5) % 32);
  out[32 + i] = shuffle_xor(kFullMask, static_cast<float>(i), 3);
  out[64 + i] = shuffle_up(kFullMask, i, 2);
  out[96 + i] = shuffle_down(kFullMask, i, 7);
  const unsigned half = i < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  out[128 + i] = shuffle(half, i * 0.5, i < 16 ? 15 - i : 47 - i);
  const unsigned odd = ballot(kFullMask, i % 2 == 1);
  out[160 + i] = static_cast<double>(odd) + (any(half, i == 20) ? 0.25 : 0) + (all(half, i < 16) ? 0.5 : 0);
}

// out[0..2] per block: votes of the block.
DC_KERNEL void exercise_votes(int* out) {
  const int t = static_cast<int>(thread_index().x), b = static_cast<int>(block_index().x);
  const bool some = sync_block_or(t == 37 * b), every = sync_block_and(t >= b);
  const int count = sync_block_count(t % 3 == 0);
  if (t == 0) {
    out[3 * b] = some;
    out[3 * b + 1] = every;
    out[3 * b + 2] = count;
  }
}

// Transposes a rows x columns matrix through a tile of shared memory.
DC_KERNEL void transpose(const float* DC_RESTRICT x, float* DC_RESTRICT y, int rows, int columns) {
  DC_SHARED(float[32][33], tile);
  const int tx = static_cast<int>(thread_index().x), ty = static_cast<int>(thread_index().y);
  const int row0 = static_cast<int>(block_index().y) * 32, column0 = static_cast<int>(block_index().x) * 32;
  for (int i = ty; i < 32; i += 8)
    if (row0 + i < rows && column0 + tx < columns)
      tile[i][tx] = x[static_cast<long long>(row0 + i) * columns + column0 + tx];
  sync_block();
  for (int i = ty; i < 32; i += 8)
    if (column0 + i < columns && row0 + tx < rows)
      y[static_cast<long long>(column0 + i) * rows + row0 + tx] = tile[tx][i];
}

// Reverses each block's elements in dynamic shared memory.
DC_KERNEL void reverse_blocks(int* x) {
  DC_DYNAMIC_SHARED(bytes);
  int* const values = reinterpret_cast<int*>(bytes);
  const unsigned n = block_size().x, t = thread_index().x, base = block_index().x * n;
  values[t] = x[base + t];
  sync_block();
  x[base + t] = values[n - 1 - t];
}

// Counts, extremes, and a lock made of compare-and-swap.
DC_KERNEL void exercise_atomics(unsigned* counts, int* extremes, unsigned long long* wide, unsigned* lock,
                                int* guarded) {
  const unsigned i = block_index().x * block_size().x + thread_index().x;
  atomic_add(&counts[i % 7], 1u);
  atomic_max(&extremes[0], static_cast<int>(i) - 50);
  atomic_min(&extremes[1], static_cast<int>(i) - 50);
  atomic_add(&wide[0], 1ull << 33);
  atomic_exchange(&wide[2], 5ull);
  atomic_max(&wide[1], static_cast<unsigned long long>(i) << 40);
  if (lane() == 0) {
    while (atomic_cas(lock, 0u, 1u) != 0) spin_wait();
    load_acquire(lock);
    *guarded += 1;
    store_release(lock, 0u);
  }
}

template <class V>
DC_KERNEL void copy_vectors(const V* from, V* to, unsigned n) {
  const unsigned i = block_index().x * block_size().x + thread_index().x;
  if (i < n) store(to + i, i % 2 ? load<V>(from + i) : ld_global_streaming<V>(from + i));
}

// Four samples per thread; element i is word i % 4 of Philox block i / 4.
DC_KERNEL void bernoulli(const float* p, float* out, unsigned n, uint64_t seed, uint64_t offset) {
  const unsigned i = (block_index().x * block_size().x + thread_index().x) * 4;
  const PhiloxBlock random = philox(seed, 0, offset + i / 4);
  DC_UNROLL
  for (unsigned k = 0; k < 4; ++k)
    if (i + k < n) out[i + k] = unit_float(random.word[k]) < p[i + k] ? 1.0f : 0.0f;
}

// Threads beyond n leave early; the others go through barriers without them.
DC_KERNEL void leave_early(int* out, unsigned n) {
  DC_SHARED(int[64], values);
  const unsigned t = thread_index().x;
  if (t >= n) return;
  values[t] = static_cast<int>(t);
  sync_block();
  const int next = values[(t + 1) % n];
  sync_block();
  out[t] = next;
}

// A sum over the whole grid in two phases, then everyone reads it; run several times over.
DC_KERNEL void sum_grid(const float* x, float* partial, float* out, unsigned* counter, unsigned n) {
  const unsigned blocks = grid_size().x, t = thread_index().x;
  for (int round = 0; round < 3; ++round) {
    if (t == 0) {
      float sum = 0;
      for (unsigned i = block_index().x; i < n; i += blocks) sum += x[i];
      partial[block_index().x] = sum + static_cast<float>(round);
    }
    grid_sync(counter, blocks);
    if (t == 1) {
      float sum = 0;
      for (unsigned b = 0; b < blocks; ++b) sum += partial[b];
      out[static_cast<unsigned>(round) * blocks + block_index().x] = sum;
    }
    grid_sync(counter, blocks);
  }
}

DC_KERNEL void exercise_math(const float* x, float* out, int n) {
  for (int i = static_cast<int>(thread_index().x); i < n; i += static_cast<int>(block_size().x)) {
    const float v = x[i];
    out[i] = fast_exp(v);
    out[n + i] = fast_log(fabsf(v) + 0.1f);
    out[2 * n + i] = fast_tanh(v);
    out[3 * n + i] = fast_sigmoid(v);
    out[4 * n + i] = fast_divide(v, 3.0f);
    out[5 * n + i] = fast_rsqrt(fabsf(v) + 0.1f);
  }
}

template DC_KERNEL void copy_vectors<float2>(const float2*, float2*, unsigned);
template DC_KERNEL void copy_vectors<float4>(const float4*, float4*, unsigned);
template DC_KERNEL void copy_vectors<uint4>(const uint4*, uint4*, unsigned);
template DC_KERNEL void copy_vectors<double2>(const double2*, double2*, unsigned);

}  // namespace dc

#ifndef __CUDACC__
#include <numeric>

#include "harness.h"

using namespace harness;

namespace {

void test_indices() {
  DeviceArray<unsigned> out(24 * 84);
  succeeded(dc::launch(dc::write_indices, dc::dim3(4, 3, 2), dc::dim3(7, 4, 3), 0, nullptr, out.data()));
  for (unsigned i = 0; i < out.size(); ++i) CHECK(out[i] == i, "element %u is %u", i, out[i]);
}

void test_shuffles() {
  DeviceArray<double> out(192);
  succeeded(dc::launch(dc::exercise_shuffles, 1, 32, 0, nullptr, out.data()));
  for (int i = 0; i < 32; ++i) {
    const double expected[6] = {(i + 5) % 32 * 10.0,
                                double(i ^ 3),
                                double(i < 2 ? i : i - 2),
                                double(i > 24 ? i : i + 7),
                                (i < 16 ? 15 - i : 47 - i) * 0.5,
                                double(0xAAAAAAAAu) + (i < 16 ? 0.5 : 0.25)};
    for (int k = 0; k < 6; ++k) CHECK(out[32 * k + i] == expected[k], "row %d lane %d: %g", k, i, out[32 * k + i]);
  }
}

void test_votes() {
  DeviceArray<int> out(9);
  succeeded(dc::launch(dc::exercise_votes, 3, 50, 0, nullptr, out.data()));
  for (int b = 0; b < 3; ++b)
    CHECK(out[3 * b] == (b < 2) && out[3 * b + 1] == (b == 0) && out[3 * b + 2] == 17, "block %d: %d %d %d", b,
          out[3 * b], out[3 * b + 1], out[3 * b + 2]);
}

void test_transpose() {
  for (const auto& [rows, columns] : {std::pair{1, 1}, {32, 32}, {45, 70}, {33, 1}}) {
    DeviceArray<float> x(random_floats(size_t(rows * columns), 1)), y(size_t(rows * columns));
    succeeded(dc::launch(dc::transpose, dc::dim3(unsigned(columns + 31) / 32, unsigned(rows + 31) / 32),
                         dc::dim3(32, 8), 0, nullptr, x.data(), y.data(), rows, columns));
    for (int i = 0; i < rows * columns; ++i)
      CHECK(y[size_t(i % columns * rows + i / columns)] == x[size_t(i)], "%dx%d element %d", rows, columns, i);
  }
}

void test_dynamic_shared() {
  std::vector<int> values(4 * 100);
  std::iota(values.begin(), values.end(), 0);
  DeviceArray<int> x(values);
  succeeded(dc::launch(dc::reverse_blocks, 4, 100, 400, nullptr, x.data()));
  for (int i = 0; i < 400; ++i) CHECK(x[size_t(i)] == i / 100 * 100 + 99 - i % 100, "element %d", i);
}

void test_atomics() {
  DeviceArray<unsigned> counts(7), lock(1);
  DeviceArray<int> extremes(2), guarded(1);
  DeviceArray<unsigned long long> wide(3);
  counts.fill(0), lock.fill(0), extremes.fill(0), guarded.fill(0), wide.fill(0);
  succeeded(dc::launch(dc::exercise_atomics, 5, 96, 0, nullptr, counts.data(), extremes.data(), wide.data(),
                       lock.data(), guarded.data()));
  for (unsigned i = 0; i < 7; ++i) CHECK(counts[i] == 480 / 7 + (i < 480 % 7), "count %u: %u", i, counts[i]);
  CHECK(extremes[0] == 429 && extremes[1] == -50, "%d %d", extremes[0], extremes[1]);
  CHECK(wide[0] == 480ull << 33 && wide[1] == 479ull << 40 && wide[2] == 5, "%llx %llx", wide[0], wide[1]);
  CHECK(guarded[0] == 15 && lock[0] == 0, "%d", guarded[0]);
}

template <class V>
void test_vectors(const char* name) {
  const unsigned n = 77, words = n * sizeof(V) / 4;
  DeviceArray<V> from(n), to(n);
  const std::vector<float> values = random_floats(words, 2);
  std::memcpy(static_cast<void*>(from.data()), values.data(), words * 4);
  succeeded(dc::launch(dc::copy_vectors<V>, 2, 64, 0, nullptr, from.data(), to.data(), n));
  CHECK(std::memcmp(static_cast<void*>(to.data()), values.data(), words * 4) == 0, "%s", name);
  // The address of the second half of a vector is misaligned for it.
  const auto* shifted = reinterpret_cast<const V*>(reinterpret_cast<const char*>(from.data()) + sizeof(V) / 2);
  failed_with(dc::launch(dc::copy_vectors<V>, 1, 64, 0, nullptr, shifted, to.data(), 5u),
              {"copy_vectors", "past a multiple of", "primitives.cu:"});
}

void test_bernoulli() {
  const unsigned n = 1003;
  const std::vector<float> p = random_floats(n, 3);
  DeviceArray<float> in(p), out(n);
  succeeded(dc::launch(dc::bernoulli, 2, 128, 0, nullptr, in.data(), out.data(), n, 7, 3));
  for (unsigned i = 0; i < n; ++i) {
    const auto block = dc::philox(7, 0, 3 + i / 4);
    CHECK(out[i] == (dc::unit_float(block.word[i % 4]) < p[i] ? 1.0f : 0.0f), "element %u", i);
  }
}

void test_early_exits() {
  DeviceArray<int> out(64);
  succeeded(dc::launch(dc::leave_early, 1, 64, 0, nullptr, out.data(), 41u));
  for (int i = 0; i < 41; ++i) CHECK(out[size_t(i)] == (i + 1) % 41, "element %d: %d", i, out[size_t(i)]);
  CHECK(out[41] == -1, "an element nobody wrote: %d", out[41]);
}

void test_grid_sync() {
  const unsigned blocks = 9, n = 500;
  const std::vector<float> x = random_floats(n, 4);
  DeviceArray<float> in(x), partial(blocks), out(3 * blocks);
  DeviceArray<unsigned> counter(1);
  counter.fill(0);
  const double sum = std::accumulate(x.begin(), x.end(), 0.0);
  for (int again = 0; again < 2; ++again) {  // the counter is left ready for the next launch
    dc::emulation::poison_device(out.data(), out.size() * sizeof(float));
    succeeded(dc::launch_coop(dc::sum_grid, blocks, 64, 0, nullptr, in.data(), partial.data(), out.data(),
                              counter.data(), n));
    for (unsigned i = 0; i < out.size(); ++i)
      CHECK(std::fabs(out[i] - sum - blocks * double(i / blocks)) < 1e-4, "element %u: %g, sum %g", i, out[i], sum);
  }
}

void test_math() {
  const int n = 200;
  std::vector<float> x = random_floats(size_t(n), 5);
  for (float& v : x) v *= 8;
  DeviceArray<float> in(x), out(size_t(6 * n));
  succeeded(dc::launch(dc::exercise_math, 1, 64, 0, nullptr, in.data(), out.data(), n));
  for (int i = 0; i < n; ++i) {
    const double v = x[size_t(i)], a = double(fabsf(x[size_t(i)]) + 0.1f);
    const double expected[6] = {std::exp(v), std::log(a),     std::tanh(v), 1 / (1 + std::exp(-v)),
                                v / 3,       1 / std::sqrt(a)};
    for (int k = 0; k < 6; ++k)
      CHECK(std::fabs(out[size_t(k * n + i)] - expected[k]) <= 6e-4 * std::fmax(1, std::fabs(expected[k])),
            "function %d of %g: %g", k, v, out[size_t(k * n + i)]);
  }
}

}  // namespace

int main() {
  for (const Mode& mode : kModes) {
    set_mode(mode);
    test_indices();
    test_shuffles();
    test_votes();
    test_transpose();
    test_dynamic_shared();
    test_atomics();
    test_vectors<dc::float2>("float2");
    test_vectors<dc::float4>("float4");
    test_vectors<dc::uint4>("uint4");
    test_vectors<dc::double2>("double2");
    test_bernoulli();
    test_early_exits();
    test_grid_sync();
    test_math();
  }
  return check::finish("primitives");
}
#endif
