// What machines need beside products: softmax units, sums of rows and columns, swaps. All sums have a fixed order.
#pragma once
#include "device/block.cuh"
#include "families/lane.cuh"
#include "families/rbm_units.cuh"
#include "families/walk.cuh"

namespace dc::cuda {

constexpr int kRowThreads = 128;

// `mean` holds total inputs. `lanes` neighbouring lanes (a power of two) take a group of a chain, each every lanes-th
// unit; groups of a warp go through the same loops.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRowThreads, 4)
    softmax_units(UnitStep<T> s, long long rows, long long group, int lanes) {
  const long long groups = s.count / group, all = rows * groups;
  const int rank = static_cast<int>(lane()) % lanes, together = 32 / lanes;
  const long long warps = static_cast<long long>(grid_size().x) * (kRowThreads / 32);
  for (long long base = (static_cast<long long>(block_index().x) * (kRowThreads / 32) + warp()) * together; base < all;
       base += warps * together) {
    const long long item = base + static_cast<long long>(lane()) / lanes;
    const bool live = item < all;
    long long row, g;
    divide(live ? item : 0, groups, &row, &g);
    const long long first = g * group, at = row * s.count + first, n = live ? group : 0;
    T* mean = s.mean + at;
    const auto reduce = [&](auto v, const auto& combine) {
      for (int distance = lanes / 2; distance > 0; distance /= 2) v = combine(v, shuffle_xor(kFullMask, v, distance));
      return v;
    };
    T top = -static_cast<T>(HUGE_VALF), sum = 0;
    for (long long k = rank; k < n; k += lanes) top = Maximum()(top, mean[k]);
    top = reduce(top, Maximum());
    for (long long k = rank; k < n; k += lanes) {
      const T e = exp_of(mean[k] - top);
      mean[k] = e;
      sum += e;
    }
    sum = reduce(sum, Sum());
    // Chosen is the first unit whose running sum is above u, or the last.
    const uint64_t block = static_cast<uint64_t>(row) << 24 | static_cast<uint64_t>(first) / 4;
    const PhiloxBlock words = philox(s.seed, s.stream, block);
    const int word = static_cast<int>(first % 4);
    const uint32_t bits =
        word < 2 ? (word == 0 ? words.word[0] : words.word[1]) : (word == 2 ? words.word[2] : words.word[3]);
    const T u = static_cast<T>(unit_float(bits));
    T below = 0;
    int passed = 0;
    for (long long k0 = 0; k0 < group; k0 += lanes) {
      const long long k = k0 + rank;
      T running = k < n ? mean[k] / sum : T(0);
      if (k < n) mean[k] = running;
      for (int distance = 1; distance < lanes; distance *= 2) {
        const T before = shuffle_up(kFullMask, running, static_cast<unsigned>(distance));
        if (rank >= distance) running += before;
      }
      running += below;
      passed += k + 1 < n && u >= running;
      below = shuffle(kFullMask, running, static_cast<int>(lane()) / lanes * lanes + lanes - 1);
    }
    passed = reduce(passed, Sum());
    for (long long k = rank; k < n; k += lanes) {
      T m = mean[k], x = k == passed ? T(1) : T(0);
      if (s.keep) m *= s.keep[at + k], x *= s.keep[at + k];
      if (s.where && s.where[at + k] != T(0)) m = x = s.value[at + k];
      mean[k] = m;
      if (s.sample) s.sample[at + k] = x;
      if (s.fed) s.fed[at + k] = s.sample ? x : m;
    }
  }
}

// f[row] = -x[row] . bias - sum softplus(z[row]). A block a row.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRowThreads, 4)
    free_energies(long long rows, long long visible, long long hidden, const T* DC_RESTRICT x,
                  const T* DC_RESTRICT bias, const T* DC_RESTRICT z, T* DC_RESTRICT f) {
  for (long long row = block_index().x; row < rows; row += grid_size().x) {
    T sum = 0;
    for (long long k = thread_index().x; k < visible; k += kRowThreads)
      sum = fma_of(x[row * visible + k], bias[k], sum);
    for (long long k = thread_index().x; k < hidden; k += kRowThreads)
      sum += softplus(Lane<T>{z[row * hidden + k]}).value;
    sum = block_sum(sum);
    if (thread_index().x == 0) f[row] = -sum;
  }
}

// log_weight[row] += step v[row] . (bias - base) + sum terms[row]. A block a row.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRowThreads, 4)
    add_weights(long long rows, long long visible, long long hidden, double step, const T* DC_RESTRICT v,
                const T* DC_RESTRICT bias, const T* DC_RESTRICT base, const T* DC_RESTRICT terms, double* log_weight) {
  for (long long row = block_index().x; row < rows; row += grid_size().x) {
    double field = 0, rest = 0;
    for (long long k = thread_index().x; k < visible; k += kRowThreads)
      field +=
          static_cast<double>(v[row * visible + k]) * (static_cast<double>(bias[k]) - static_cast<double>(base[k]));
    for (long long k = thread_index().x; k < hidden; k += kRowThreads)
      rest += static_cast<double>(terms[row * hidden + k]);
    const double sum = block_sum(step * field + rest);
    if (thread_index().x == 0) log_weight[row] += sum;
  }
}

// The phases of learning, one below the other: rows of data with weight `down`, of chains with weight `up`.
template <class T>
struct Phases {
  long long rows, chains, visible, hidden;
  const T *v0, *h0, *v1, *h1;
  T down, up;
  T *v, *h;  // (rows + chains, visible), and (rows + chains, hidden) times its weight

  DC_DEVICE long long all() const { return rows + chains; }
};

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) join_phases(Phases<T> p) {
  const long long of_v = p.all() * p.visible, both = of_v + p.all() * p.hidden;
  for (long long e = first_index(256); e < both; e += grid_step(256)) {
    const bool visible = e < of_v;
    const long long i = visible ? e : e - of_v, split = p.rows * (visible ? p.visible : p.hidden);
    const T* from = i < split ? (visible ? p.v0 : p.h0) + i : (visible ? p.v1 : p.h1) + (i - split);
    if (visible)
      p.v[i] = *from;
    else
      p.h[i] = *from * (i < split ? p.down : p.up);
  }
}

constexpr int kSumRows = 16;

// Weighted sums of the columns of v, then of h. A block of 32 x 16 threads takes 32 columns; thread row y adds rows y,
// y + 16, ..., and the rows' sums are added in their order.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(32 * kSumRows, 2) sum_phases(Phases<T> p, T* DC_RESTRICT gb, T* DC_RESTRICT gc) {
  DC_SHARED(T[kSumRows][32], sums);
  const int x = static_cast<int>(thread_index().x), y = static_cast<int>(thread_index().y);
  const long long of_v = (p.visible + 31) / 32, tile = block_index().x;
  const bool visible = tile < of_v;
  const long long width = visible ? p.visible : p.hidden, column = (visible ? tile : tile - of_v) * 32 + x;
  T sum = 0;
  if (column < width)
    for (long long i = y; i < p.all(); i += kSumRows)
      sum += visible ? p.v[i * width + column] * (i < p.rows ? p.down : p.up) : p.h[i * width + column];
  sums[y][x] = sum;
  sync_block();
  if (y == 0 && column < width) {
    for (int k = 1; k < kSumRows; ++k) sum += sums[k][x];
    (visible ? gb : gc)[column] = sum;
  }
}

// A block for each chain: that of the lower one of a pair decides and swaps, that of the upper one has nothing to do.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kRowThreads, 4)
    swap_states(long long chains, long long copies, long long parity, long long width, const T* DC_RESTRICT beta,
                const T* DC_RESTRICT energy, T* DC_RESTRICT h, T* DC_RESTRICT swapped, uint64_t seed, uint64_t stream) {
  const long long temperatures = chains / copies;
  for (long long a = block_index().x; a < chains; a += grid_size().x) {
    const long long t = a / copies, b = a + copies;
    const bool lower = t >= parity && (t - parity) % 2 == 0;
    bool moves = false;
    if (lower && t + 1 < temperatures) {
      const double gain = (static_cast<double>(beta[a]) - static_cast<double>(beta[b])) *
                          (static_cast<double>(energy[a]) - static_cast<double>(energy[b]));
      const PhiloxBlock words = philox(seed, stream, static_cast<uint64_t>(a));
      moves = !(static_cast<double>(unit_float(words.word[0])) >= ::exp(gain));
      if (thread_index().x == 0) swapped[b] = moves ? T(1) : T(0);
    }
    if (thread_index().x == 0 && (lower || t < parity)) swapped[a] = moves ? T(1) : T(0);
    if (moves)
      for (long long k = thread_index().x; k < width; k += kRowThreads) {
        const T held = h[a * width + k];
        h[a * width + k] = h[b * width + k];
        h[b * width + k] = held;
      }
  }
}

}  // namespace dc::cuda
