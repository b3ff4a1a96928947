// The kernels of conformance.cu: each primitive of cuda/device, with results that depend on no order of threads.
#pragma once
#include <type_traits>

#include "device/block.cuh"

namespace dc {

DC_DEVICE unsigned number_in_grid() { return block_index().x * block_size().x + thread_index().x; }

// out[thread of the grid][8]: where it is, the sizes, lane, warp, count_bits, opaque.
DC_KERNEL void places(unsigned* out) {
  const uint3 t = thread_index(), b = block_index(), n = block_size(), g = grid_size();
  const unsigned thread = t.x + n.x * (t.y + n.y * t.z), block = b.x + g.x * (b.y + g.y * b.z);
  unsigned* const mine = out + (block * n.x * n.y * n.z + thread) * 8;
  mine[0] = t.x | t.y << 8 | t.z << 16;
  mine[1] = b.x | b.y << 8 | b.z << 16;
  mine[2] = n.x | n.y << 8 | n.z << 16;
  mine[3] = g.x | g.y << 8 | g.z << 16;
  mine[4] = lane();
  mine[5] = warp();
  mine[6] = static_cast<unsigned>(count_bits(thread * 2654435761u));
  mine[7] = static_cast<unsigned>(opaque(static_cast<int>(thread)));
}

inline constexpr unsigned kShuffleRows = 20;

// out[kShuffleRows][32]
template <class T>
DC_KERNEL void shuffles(T* out) {
  const int i = static_cast<int>(lane());
  const T v = static_cast<T>(i * i + 3);
  const unsigned half = i < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  T* row = out + i;
  const auto put = [&](T value) {
    *row = value;
    row += 32;
  };
  put(shuffle(kFullMask, v, (i * 7 + 5) % 32));
  put(shuffle(kFullMask, v, 13));  // a broadcast
  put(shuffle(kFullMask, v, i + 40));
  DC_UNROLL
  for (int distance = 1; distance < 32; distance *= 2) {
    put(shuffle_xor(kFullMask, v, distance));
    put(shuffle_up(kFullMask, v, static_cast<unsigned>(distance)));
    put(shuffle_down(kFullMask, v, static_cast<unsigned>(distance)));
  }
  put(shuffle_xor(half, v, 11));
  put(shuffle(half, v, i < 16 ? 15 - i : 47 - i));
}

DC_KERNEL void votes(unsigned* of_warps, unsigned* of_blocks) {
  const int t = static_cast<int>(thread_index().x), b = static_cast<int>(block_index().x);
  const unsigned half = lane() < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  const unsigned votes = ballot(kFullMask, t % 3 == b) ^ ballot(half, t % 5 == 1);
  const bool some = any(kFullMask, t == 37 * b), every = all(kFullMask, t >= 32 * b);
  const bool half_some = any(half, t == 20), half_every = all(half, t % 32 < 16);
  of_warps[number_in_grid()] = votes * 16 + some + every * 2u + half_some * 4u + half_every * 8u;
  const bool block_some = sync_block_or(t == 37 * b), block_every = sync_block_and(t >= b);
  const int count = sync_block_count(t % 3 == b);
  of_blocks[number_in_grid()] = block_some + block_every * 2u + static_cast<unsigned>(count) * 4u;
}

inline constexpr unsigned kAtomicCells = 9;

// What is returned depends on the order of threads; its sum does not.
template <class T>
DC_DEVICE void exercise_atomics(T* cells, unsigned i) {
  const T v = static_cast<T>(i) * (sizeof(T) == 8 ? T(1) << (sizeof(T) * 4) : T(3)) - T(std::is_signed_v<T> ? 500 : 0);
  const T before = atomic_add(&cells[0], T(2));
  atomic_add(&cells[5], before);
  atomic_max(&cells[1], v);
  atomic_min(&cells[2], v);
  const T exchanged = atomic_exchange(&cells[3], v);
  atomic_add(&cells[6], exchanged);
  T seen = atomic_add(&cells[4], T(0));
  for (T now = atomic_cas(&cells[4], seen, seen + 3); now != seen; now = atomic_cas(&cells[4], seen, seen + 3)) {
    seen = now;
    spin_wait();
  }
  const T released = add_release(&cells[7], T(5));
  atomic_add(&cells[8], released);
}
// The last of those exchanged counts as returned.
template <class T>
DC_DEVICE void settle(T* cells) {
  cells[6] += cells[3];
  cells[3] = 0;
}

template <class T>
DC_KERNEL void atomics(T* cells, T* of_blocks) {
  DC_SHARED(T[kAtomicCells], own);
  const unsigned t = thread_index().x;
  if (t < kAtomicCells) own[t] = T(100);
  sync_block();
  exercise_atomics(cells, number_in_grid());
  exercise_atomics(own, number_in_grid());
  sync_block();
  if (t == 0) settle(own);
  sync_block();
  if (t < kAtomicCells) of_blocks[block_index().x * kAtomicCells + t] = own[t];
}
template <class T>
DC_KERNEL void settle_atomics(T* cells) {
  settle(cells);
}

// Blocks take turns: each makes new data from what the block before it wrote. Cooperative.
template <class T>
DC_KERNEL void baton(T* flag, unsigned* data, unsigned rounds) {
  const unsigned t = thread_index().x, b = block_index().x, blocks = grid_size().x;
  for (unsigned round = 0; round < rounds; ++round) {
    const T turn = static_cast<T>(round * blocks + b);
    if (t == 0)
      while (load_acquire(flag) != turn) spin_wait();
    sync_block();
    const unsigned before = data[(t + 1) % block_size().x];
    sync_block();
    data[t] = before * 1664525u + b * 64 + t;
    sync_block();
    if (t == 0) store_release(flag, turn + 1);
  }
}

// The block that finishes last adds up what all have written.
DC_KERNEL void last_block(const unsigned* x, unsigned* partial, unsigned* count, unsigned* out) {
  DC_SHARED(unsigned[1], before);
  const unsigned t = thread_index().x;
  const unsigned sum = block_sum(x[number_in_grid()]);
  if (t == 0) {
    partial[block_index().x] = sum;
    threadfence();
    before[0] = add_release(count, 1u);
  }
  sync_block();
  if (before[0] == grid_size().x - 1 && t == 0) {
    unsigned all = 0;
    for (unsigned b = 0; b < grid_size().x; ++b) all += partial[b];
    *out = all;
  }
}

// Four sums over the grid in rounds, read by every block. Cooperative.
DC_KERNEL void sum_of_grid(const unsigned* x, unsigned* partial, unsigned* out, unsigned* counter) {
  const unsigned blocks = grid_size().x, t = thread_index().x;
  for (unsigned round = 0; round < 4; ++round) {
    unsigned* const sums = partial + round % 2 * blocks;
    if (t == 0) sums[block_index().x] = x[block_index().x * 64 + round] * (round + 1);
    grid_sync(counter, blocks);
    if (t == 1) {
      unsigned sum = 0;
      for (unsigned b = 0; b < blocks; ++b) sum += sums[b];
      out[round * blocks + block_index().x] = sum;
    }
  }
}

DC_KERNEL void transpose(const float* x, float* y, int rows, int columns) {
  DC_SHARED(float[32][33], tile);
  const int tx = static_cast<int>(thread_index().x), ty = static_cast<int>(thread_index().y);
  const int row0 = static_cast<int>(block_index().y) * 32, column0 = static_cast<int>(block_index().x) * 32;
  for (int i = ty; i < 32; i += 8)
    if (row0 + i < rows && column0 + tx < columns) tile[i][tx] = x[(row0 + i) * columns + column0 + tx];
  sync_block();
  for (int i = ty; i < 32; i += 8)
    if (column0 + i < columns && row0 + tx < rows) y[(column0 + i) * rows + row0 + tx] = tile[tx][i];
}
DC_KERNEL void reverse_blocks(unsigned* x, unsigned n) {
  DC_DYNAMIC_SHARED(bytes);
  unsigned* const values = reinterpret_cast<unsigned*>(bytes);
  unsigned* const mine = x + block_index().x * n;
  for (unsigned i = thread_index().x; i < n; i += block_size().x) values[i] = mine[i];
  sync_block();
  for (unsigned i = thread_index().x; i < n; i += block_size().x) mine[i] = values[n - 1 - i];
}
DC_KERNEL void exchange_in_warps(unsigned* out) {
  DC_SHARED(unsigned[96], values);
  const unsigned t = thread_index().x;
  values[t] = t * t;
  sync_warp();
  const unsigned other = values[t ^ 5];
  sync_warp();
  values[t] = other + t;
  sync_warp();
  out[t] = values[t ^ 9];
}

template <class V>
DC_KERNEL void copy_vectors(const void* from, void* to, unsigned n) {
  const unsigned i = number_in_grid();
  if (i >= n) return;
  const V* const x = static_cast<const V*>(from) + i;
  store(static_cast<V*>(to) + i, i % 2 ? load<V>(x) : ld_global_streaming<V>(x));
}

// Four groups under way at once, read one after the other: first what the thread copied, then what others did.
DC_KERNEL void copies_of_16(const float* x, float* own, float* others) {
  DC_SHARED(float4[4][128], stages);
  const unsigned t = thread_index().x;
  for (unsigned s = 0; s < 4; ++s) stages[s][t] = {-1.0f, -2.0f, -3.0f, -4.0f};
  sync_block();
  DC_UNROLL
  for (unsigned s = 0; s < 4; ++s) {
    const bool valid = (t + s) % 5 != 0;
    cp_async16(&stages[s][t], x + (valid ? (s * 128 + (t ^ 3)) * 4 : 0), valid);
    cp_async_commit();
  }
  const auto put = [&](float* out, unsigned s, unsigned from) { store(out + (s * 128 + t) * 4, stages[s][from]); };
  cp_async_wait<3>();
  put(own, 0, t);
  cp_async_wait<2>();
  put(own, 1, t);
  cp_async_wait<1>();
  put(own, 2, t);
  cp_async_wait<0>();
  put(own, 3, t);
  sync_block();
  for (unsigned s = 0; s < 4; ++s) put(others, s, 127 - t);
}
DC_KERNEL void copies_of_4(const float* x, float* out, unsigned n) {
  DC_SHARED(float[128], values);
  const unsigned t = thread_index().x, i = number_in_grid();
  values[t] = -1.0f;
  sync_block();
  cp_async4(&values[t], x + (i < n ? i : 0), i < n && i % 7 != 0);
  cp_async_commit();
  cp_async_wait<0>();
  sync_block();
  out[i] = values[127 - t];
}

// out[14][32]: the registers of each form of ldmatrix, of rows 48 bytes apart in a scattered order.
DC_KERNEL void fragments(unsigned* out) {
  DC_SHARED(uint4[32 * 3], storage);
  bf16* const values = reinterpret_cast<bf16*>(storage);
  const unsigned l = lane();
  for (unsigned i = l; i < 32 * 24; i += 32) values[i].bits = static_cast<uint16_t>(i * 37 + 11);
  sync_warp();
  const bf16* row = values + 24 * ((l * 5 + 3) % 32);
  uint32_t r1[1], r2[2], r4[4];
  unsigned* to = out + l;
  const auto put = [&](const uint32_t* r, int n) {
    DC_UNROLL
    for (int i = 0; i < n; ++i, to += 32) *to = r[i];
  };
  ldmatrix_x1(r1, row), put(r1, 1);
  ldmatrix_x2(r2, row), put(r2, 2);
  ldmatrix_x4(r4, row), put(r4, 4);
  ldmatrix_x1_trans(r1, row), put(r1, 1);
  ldmatrix_x2_trans(r2, row), put(r2, 2);
  ldmatrix_x4_trans(r4, row), put(r4, 4);
}

// One warp: three products added up, registers as they are. Integers up to 7 (bf16) and 50 (tf32): every sum is exact.
// With `junk` the bits that tf32 ignores are set.
DC_KERNEL void products(const unsigned* x, float* of_bf16, float* of_tf32, int junk) {
  const unsigned* const mine = x + number_in_grid() * 6;
  const auto small = [](unsigned bits, unsigned n) {
    return static_cast<float>(bits % (2 * n + 1)) - static_cast<float>(n);
  };
  float d16[4], d32[4];
  DC_UNROLL
  for (int i = 0; i < 4; ++i) d16[i] = d32[i] = small(mine[i] >> 3, 99);
  DC_UNROLL
  for (unsigned step = 0; step < 3; ++step) {
    uint32_t a16[4], b16[2], a32[4], b32[2];
    DC_UNROLL
    for (int i = 0; i < 6; ++i) {
      const unsigned bits = mine[i] >> step;
      const uint32_t pair = pack_bf16(small(bits, 7), small(bits >> 8, 7));
      const uint32_t one = float_bits(small(bits, 50)) | (junk ? 0x1FFFu : 0u);
      (i < 4 ? a16[i % 4] : b16[i % 2]) = pair;
      (i < 4 ? a32[i % 4] : b32[i % 2]) = one;
    }
    mma_bf16(d16, a16, b16);
    mma_tf32(d32, a32, b32);
  }
  DC_UNROLL
  for (unsigned i = 0; i < 4; ++i) {
    of_bf16[number_in_grid() * 4 + i] = d16[i];
    of_tf32[number_in_grid() * 4 + i] = d32[i];
  }
}

// out[6][n]. Instructions make one NaN of all, which is allowed: it is written as 0x7FFF or 0x7FFFFFFF here.
DC_KERNEL void conversions(const unsigned* x, unsigned* out, unsigned n) {
  const unsigned i = number_in_grid();
  const float v = bits_float(x[i]), w = bits_float(x[(i + 1) % n]);
  const bool v_nan = v != v, w_nan = w != w;
  out[i] = to_bf16(v).bits;
  out[n + i] = float_bits(to_float(bf16{static_cast<uint16_t>(x[i])}));
  out[2 * n + i] = pack_bf16(v, w);
  const uint32_t rounded = round_bf16x2(v, w);
  out[3 * n + i] = (v_nan ? 0x7FFFu : rounded & 0xFFFFu) | (w_nan ? 0x7FFF0000u : rounded & 0xFFFF0000u);
  out[4 * n + i] = v_nan ? 0x7FFFFFFFu : to_tf32(v);
  out[5 * n + i] = float_bits(unit_float(x[i]));
}

// What a fused multiply-add would round otherwise.
template <class T>
DC_KERNEL void rounded_products(const T* x, T* out) {
  const unsigned i = thread_index().x;
  const T third = T(1) / T(3);
  out[i] = multiply_rounded(x[i] * third, x[256 + i]) + x[512 + i] * T(0.125);
}

DC_KERNEL void random_numbers(unsigned* words, float* units) {
  const unsigned i = number_in_grid(), b = block_index().x;
  const uint64_t seed = b == 0 ? 0 : b == 1 ? 12345 : ~uint64_t{0};
  const PhiloxBlock random = philox(seed, uint64_t{b} << 33 | b, (uint64_t{b} << 32) + i);
  for (unsigned k = 0; k < 4; ++k) {
    words[4 * i + k] = random.word[k];
    units[4 * i + k] = unit_float(random.word[k]);
  }
}

inline constexpr unsigned kReductionRows = 7;

// out[kReductionRows][thread of the grid], indices[2][thread of the grid]. Sums of floats are in a fixed order.
template <class T>
DC_KERNEL void reductions(const T* x, T* out, int* indices) {
  const unsigned i = number_in_grid(), n = grid_size().x * block_size().x;
  const T v = x[i], sums = v == v ? v : T(0);
  const T lowest = T(-1e9), highest = T(1e9);
  const auto put = [&](unsigned row, T value) { out[row * n + i] = value == value ? value : T(12345); };
  put(0, warp_sum(sums));
  put(1, warp_max(v));
  put(2, warp_min(v));
  put(3, warp_running_sum(sums));
  put(4, block_sum(sums));
  put(5, block_max(v, lowest));
  put(6, block_min(v, highest));
  const Indexed<T> mine = {v, static_cast<int>(thread_index().x)};
  indices[i] = warp_max_index(mine).index;
  indices[n + i] = block_max_index(mine, lowest).index;
}

// out[6][n]
DC_KERNEL void mathematics(const float* x, float* out, int n) {
  const int i = static_cast<int>(number_in_grid());
  const float v = x[i], positive = (v < 0 ? -v : v) + 0.125f;
  out[i] = fast_exp(v);
  out[n + i] = fast_log(positive);
  out[2 * n + i] = fast_tanh(v);
  out[3 * n + i] = fast_sigmoid(v);
  out[4 * n + i] = fast_divide(v, positive);
  out[5 * n + i] = fast_rsqrt(positive);
}

}  // namespace dc
