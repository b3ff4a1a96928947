// Units of a restricted Boltzmann machine from their summed inputs: kernels/rbm.h has distributions and random bits.
// They come in quads, units 4q .. 4q + 3 of a chain, which share one block of random words. Softmax units get their
// total input here, and their states from rbm_rows.cuh, as a group may lie in several tiles.
#pragma once
#include <cstring>

#include "families/gemm.cuh"
#include "families/turn.cuh"
#include "kernels/rbm.h"

namespace dc::cuda {

template <class T>
DC_DEVICE Lane<T> apart(Lane<T> a, Lane<T> b) {
  return {multiply_rounded(a.value, b.value)};
}
DC_DEVICE Lane<float> pow2i(Lane<float> n) {
  return {bits_float(static_cast<uint32_t>(static_cast<int>(n.value) + 127) << 23)};
}
DC_DEVICE Lane<double> pow2i(Lane<double> n) {
  const int64_t bits = (static_cast<int64_t>(n.value) + 1023) << 52;
  double r;
  memcpy(&r, &bits, sizeof r);
  return {r};
}

}  // namespace dc::cuda

#include "kernels/exact.h"

namespace dc::cuda {

// Standard normals of a quad: of each pair of units the cosine and the sine.
DC_DEVICE void normals(const PhiloxBlock& b, float (&v)[4]) {
  DC_UNROLL
  for (int i = 0; i < 4; i += 2) {
    const float r = ::sqrtf(::logf(::fmaf(static_cast<float>(b.word[i] >> 1), 0x1p-31f, 0x1p-32f)) * -2.0f);
    const Turn<float> at = turn(unit_float(b.word[i + 1]));
    v[i] = r * at.cosine, v[i + 1] = r * at.sine;
  }
}
DC_DEVICE void normals(const PhiloxBlock& b, double (&v)[4]) {
  DC_UNROLL
  for (int i = 0; i < 4; i += 2) {
    const double r = ::sqrt(-2.0 * ::log((b.word[i] >> 1) * 0x1p-31 + 0x1p-32));
    const Turn<double> at = turn(static_cast<double>(unit_float(b.word[i + 1])));
    v[i] = r * at.cosine, v[i + 1] = r * at.sine;
  }
}

// One side of chains: what a half step reads besides its products, and what it writes, each (rows, count) or null.
template <class T>
struct UnitStep {
  long long count;
  const T *bias, *variance, *beta;  // (count), (count) or null, (rows) or null
  const T *keep, *where, *value;
  T *mean, *sample, *fed;  // mean: never null
  // Annealing. base (count): the total input is b + cold (bias - b + sum), b of the base. terms: hidden units, whose
  // means nobody asks for; softplus(cold z) - softplus(warm z) goes here.
  const T* base;
  T* terms;
  T cold, warm;
  uint64_t seed, stream;
  RbmUnit unit;
  int quads;  // all arrays are aligned and count is a multiple of four

  DC_DEVICE void get(const T* p, int n, T absent, T (&v)[4]) const {
    if (quads) {
      load4(p, v);
    } else {
      DC_UNROLL
      for (int i = 0; i < 4; ++i) v[i] = i < n ? p[i] : absent;
    }
  }
  DC_DEVICE void put(T* p, int n, const T (&v)[4]) const {
    if (quads) {
      store4(p, v);
    } else {
      DC_UNROLL
      for (int i = 0; i < 4; ++i)
        if (i < n) p[i] = v[i];
    }
  }

  // z: sums over the inputs for units column .. column + 3 of a chain, as far as they exist.
  template <bool kExact>
  DC_DEVICE void finish(long long row, long long column, T (&z)[4]) const {
    const int n = count - column < 4 ? static_cast<int>(count - column) : 4;
    const long long at = row * count + column;
    T v[4], drawn[4] = {};
    get(bias + column, n, T(0), v);
    if (base) {
      T b[4];
      get(base + column, n, T(0), b);
      DC_UNROLL
      for (int i = 0; i < 4; ++i) z[i] = b[i] + cold * (v[i] - b[i] + z[i]);
    } else {
      DC_UNROLL
      for (int i = 0; i < 4; ++i) z[i] = z[i] + v[i];
    }
    const T heat = beta ? beta[row] : T(1);
    if (beta && unit != RbmUnit::gaussian) {
      DC_UNROLL
      for (int i = 0; i < 4; ++i) z[i] = z[i] * heat;
    }
    if (unit == RbmUnit::softmax) return put(mean + at, n, z);
    PhiloxBlock words{};
    if (sample) words = philox(seed, stream, static_cast<uint64_t>(row) << 24 | static_cast<uint64_t>(column) / 4);
    if (terms) {
      DC_UNROLL
      for (int i = 0; i < 4; ++i) {
        const Lane<T> cool = {z[i] * cold};
        v[i] = softplus(cool).value - softplus(Lane<T>{z[i] * warm}).value;
        drawn[i] = static_cast<T>(unit_float(words.word[i])) < sigmoid(cool).value ? T(1) : T(0);
      }
      put(terms + at, n, v);
      return put(sample + at, n, drawn);
    }
    if (unit == RbmUnit::bernoulli) {
      DC_UNROLL
      for (int i = 0; i < 4; ++i) {
        if constexpr (kExact)
          z[i] = exact_sigmoid(Lane<T>{z[i]}).value;
        else
          z[i] = sigmoid(Lane<T>{z[i]}).value;
        drawn[i] = static_cast<T>(unit_float(words.word[i])) < z[i] ? T(1) : T(0);
      }
    } else if constexpr (!kExact) {
      if (sample) noisy(words, column, n, heat, z, drawn);
      if (unit == RbmUnit::relu) {
        DC_UNROLL
        for (int i = 0; i < 4; ++i) z[i] = z[i] < 0 ? T(0) : z[i];
      }
    }
    hold_and_write(at, column, n, z, drawn);
  }

  DC_DEVICE void noisy(const PhiloxBlock& words, long long column, int n, T heat, const T (&z)[4],
                       T (&drawn)[4]) const {
    normals(words, drawn);
    T v[4] = {T(1), T(1), T(1), T(1)};
    if (unit == RbmUnit::gaussian && variance) get(variance + column, n, T(1), v);
    DC_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (unit == RbmUnit::gaussian) {
        drawn[i] = fma_of(sqrt_of(beta ? v[i] / heat : v[i]), drawn[i], z[i]);
      } else {
        const T x = fma_of(sqrt_of(sigmoid(Lane<T>{z[i]}).value), drawn[i], z[i]);
        drawn[i] = x < 0 ? T(0) : x;
      }
    }
  }

  DC_DEVICE void hold_and_write(long long at, long long column, int n, T (&m)[4], T (&drawn)[4]) const {
    T v[4];
    if (keep) {
      get(keep + at, n, T(0), v);
      DC_UNROLL
      for (int i = 0; i < 4; ++i) m[i] *= v[i], drawn[i] *= v[i];
    }
    if (where) {
      T held[4];
      get(where + at, n, T(0), held);
      get(value + at, n, T(0), v);
      DC_UNROLL
      for (int i = 0; i < 4; ++i)
        if (held[i] != T(0)) m[i] = drawn[i] = v[i];
    }
    put(mean + at, n, m);
    if (sample) put(sample + at, n, drawn);  // may be the same array
    if (!fed) return;
    DC_UNROLL
    for (int i = 0; i < 4; ++i) m[i] = sample ? drawn[i] : m[i];
    if (variance) {
      get(variance + column, n, T(1), v);
      DC_UNROLL
      for (int i = 0; i < 4; ++i) m[i] /= v[i];
    }
    put(fed + at, n, m);
  }
};

// What products do with whole tiles (gemm.cuh). exact: sums in order, each product and sum rounded on its own.
// kShortLeft_: inputs are 0 and 1.
template <class T, bool kExact, bool kShortLeft_>
struct UnitFinish {
  static constexpr bool kPresent = true, kApart = kExact, kShortLeft = kShortLeft_;
  UnitStep<T> step;

  // From sums that the block has written to `mean`.
  DC_DEVICE void tile(long long m0, long long n0, int rows, int columns, int threads DC_PLACE_PARAMETER) const {
    sync_block(DC_PLACE_ONLY);
    const int across = (columns + 3) / 4;
    DC_NO_UNROLL
    for (int e = static_cast<int>(thread_index().x); e < rows * across; e += threads) {
      const long long row = m0 + e / across, column = n0 + e % across * 4;
      T z[4];
      step.get(step.mean + row * step.count + column,
               static_cast<int>(step.count - column < 4 ? step.count - column : 4), T(0), z);
      step.template finish<kExact>(row, column, z);
    }
  }
  // From those in shared memory, in the order of write_results.
  template <int kThreads, int kM, int kN>
  DC_DEVICE void results(const float (&sums)[kM][kN], long long m0, long long n0, int rows, int columns) const {
    constexpr int kAcross = kN / 4, kRows = kThreads / kAcross;
    const int tid = static_cast<int>(thread_index().x), c = tid % kAcross * 4;
    DC_NO_UNROLL
    for (int row = tid / kAcross; row < rows && c < columns; row += kRows) {
      float z[4];
      load4(&sums[row][c ^ (row & 3) << 3], z);
      step.template finish<false>(m0 + row, n0 + c, z);
    }
  }
};

constexpr int kUnitThreads = 128;

// From the parts of the sums over the inputs, added in their order: (parts, rows, count).
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(kUnitThreads, 4)
    finish_parts(UnitStep<T> step, long long rows, const T* partial, int parts) {
  const long long across = (step.count + 3) / 4, size = rows * step.count;
  const long long stride = static_cast<long long>(grid_size().x) * kUnitThreads;
  for (long long e = static_cast<long long>(block_index().x) * kUnitThreads + thread_index().x; e < rows * across;
       e += stride) {
    long long row, quad;
    divide(e, across, &row, &quad);
    const int n = static_cast<int>(step.count - 4 * quad < 4 ? step.count - 4 * quad : 4);
    const T* part = partial + row * step.count + 4 * quad;
    T z[4];
    step.get(part, n, T(0), z);
    for (int s = 1; s < parts; ++s) {
      T v[4];
      step.get(part + s * size, n, T(0), v);
      DC_UNROLL
      for (int i = 0; i < 4; ++i) z[i] += v[i];
    }
    step.template finish<false>(row, 4 * quad, z);
  }
}

}  // namespace dc::cuda
