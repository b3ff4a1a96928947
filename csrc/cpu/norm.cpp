// Normalisation: y = (x - mean) * rstd * gamma + beta; see kernels/norm.h for the two views of x.
// Slab kernels, lanes over channels. Rows are cut into chunks of about kChunkBytes, a size that fits L1/L2: a chunk is
// read from memory once, first for its means, then from cache for its squared deviations from them. The partial
// results of the chunks are merged in double, in the order of the chunks, with the formula of Chan, Golub and LeVeque
// (1979), so nothing cancels and no result depends on threads. The second sweep, y = x * scale + shift, visits the
// chunks last to first: what the first sweep left in cache is used before it is evicted.
// Gradient: one sweep for sum(g) and sum(g * xhat) per channel, one for gx = a * g + b * x + d.
// Row kernels: norm_rows.h.
// Bound: memory bandwidth (two reads and a write forward, four reads and a write backward).
#include "kernels/norm.h"

#include "core/parallel.h"
#include "cpu/norm_rows.h"

namespace dc::DC_ISA {

namespace {

template <int N>
struct Count {
  static constexpr int value = N;
};

// f(k, count, m) for blocks of `count` registers (4, 2 or 1) from column k on; m < W lanes in a last, partial register.
// Blocks let a pass over rows take whole cache lines and keep what belongs to the columns in registers.
template <class T, class F>
DC_INLINE void for_column_blocks(int64_t c, const F& f) {
  constexpr int W = Vec<T>::W;
  int64_t k = 0;
  for (; k + 4 * W <= c; k += 4 * W) f(k, Count<4>(), W);
  if (k + 2 * W <= c) {
    f(k, Count<2>(), W);
    k += 2 * W;
  }
  if (k + W <= c) {
    f(k, Count<1>(), W);
    k += W;
  }
  if (k < c) f(k, Count<1>(), static_cast<int>(c - k));
}

// add(row, k, b, m, sums): adds the terms of register b of the block at k to sums[0 .. kSums). out[i]: sum i, c values.
// Four additions are in flight: as many rows as the block leaves room for.
template <class T, int kSums, class Add>
DC_INLINE void column_sums(int64_t begin, int64_t end, int64_t c, T* const* out, const Add& add) {
  constexpr int W = Vec<T>::W;
  for_column_blocks<T>(c, [&](int64_t k, auto count, int m) {
    constexpr int B = decltype(count)::value, R = 4 / B;
    Vec<T> sums[R][B][kSums];
    for (int r = 0; r < R; ++r)
      for (int b = 0; b < B; ++b)
        for (int i = 0; i < kSums; ++i) sums[r][b][i] = Vec<T>::zero();
    int64_t row = begin;
    for (; row + R <= end; row += R)
      for (int r = 0; r < R; ++r)
        for (int b = 0; b < B; ++b) add(row + r, k + b * W, b, m, sums[r][b]);
    for (; row < end; ++row)
      for (int b = 0; b < B; ++b) add(row, k + b * W, b, m, sums[0][b]);
    for (int b = 0; b < B; ++b)
      for (int i = 0; i < kSums; ++i) {
        Vec<T> total = sums[0][b][i];
        for (int r = 1; r < R; ++r) total = total + sums[r][b][i];
        store_any(out[i] + k + b * W, total, m);
      }
  });
}

struct Chunks {
  int64_t rows, per_slab, all;
  template <class T>
  static Chunks of(const SlabNormShape& s) {
    const int64_t rows = chunk_rows<T>(s.c), per_slab = (s.rows + rows - 1) / rows;
    return {rows, per_slab, per_slab * s.slabs};
  }
};

// f(slab, chunk, first row, last row) with rows counted over all slabs.
template <class F>
void for_chunks(const SlabNormShape& s, const Chunks& chunks, bool backwards, Context& context, const F& f) {
  parallel_for(context, chunks.all, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t chunk = backwards ? chunks.all - 1 - i : i;
      const int64_t slab = chunk / chunks.per_slab, local = (chunk % chunks.per_slab) * chunks.rows;
      const int64_t stop = local + chunks.rows < s.rows ? local + chunks.rows : s.rows;
      f(slab, chunk, slab * s.rows + local, slab * s.rows + stop);
    }
  });
}

// y = x * scale + shift, scale and shift: (slabs, c).
template <bool kRelu, class T>
void scale_and_shift(const SlabNormShape& s, const T* x, const T* scale, const T* shift, T* y, Context& context) {
  for_chunks(s, Chunks::of<T>(s), true, context, [&](int64_t slab, int64_t, int64_t begin, int64_t end) {
    const T *a = scale + slab * s.c, *b = shift + slab * s.c;
    for_column_blocks<T>(s.c, [&](int64_t k, auto count, int m) {
      constexpr int B = decltype(count)::value, W = Vec<T>::W;
      Vec<T> scales[B], shifts[B];
      for (int i = 0; i < B; ++i) scales[i] = load_any(a + k + i * W, m), shifts[i] = load_any(b + k + i * W, m);
      for (int64_t row = begin; row < end; ++row)
        for (int i = 0; i < B; ++i) {
          const int64_t at = row * s.c + k + i * W;
          const Vec<T> v = fma(load_any(x + at, m), scales[i], shifts[i]);
          store_any(y + at, kRelu ? max(Vec<T>::zero(), v) : v, m);  // keeps NaN
        }
    });
  });
}

// The normalisation as x * scale + shift, in memory of slot 3.
template <class T>
struct Affine {
  const T *scale, *shift;
};
template <class T>
Affine<T> affine(const SlabNormShape& s, const T* mean, const T* rstd, const T* gamma, const T* beta) {
  T* scale = scratch<T>(3, 2 * s.slabs * s.c);
  T* shift = scale + s.slabs * s.c;
  const int64_t width = s.c / s.groups;
  for (int64_t slab = 0; slab < s.slabs; ++slab) {
    for (int64_t k = 0; k < s.c; ++k) {
      const int64_t at = slab * s.groups + k / width;
      const double a = (rstd ? static_cast<double>(rstd[at]) : 1.0) * (gamma ? static_cast<double>(gamma[k]) : 1.0);
      scale[slab * s.c + k] = static_cast<T>(a);
      shift[slab * s.c + k] = static_cast<T>((beta ? static_cast<double>(beta[k]) : 0.0) -
                                             (mean ? a * static_cast<double>(mean[at]) : 0.0));
    }
  }
  return {scale, shift};
}

template <class T>
void slab_apply(const SlabNormShape& s, const T* x, const T* mean, const T* rstd, const T* gamma, const T* beta, T* y,
                Context& context) {
  if (s.rows == 0 || s.c == 0) return;
  const Affine<T> map = affine(s, mean, rstd, gamma, beta);
  if (s.relu)
    scale_and_shift<true>(s, x, map.scale, map.shift, y, context);
  else
    scale_and_shift<false>(s, x, map.scale, map.shift, y, context);
}

// Merges (count, mean, m2) of the chunks of one slab and of the channels of each group.
struct Moments {
  double count = 0, mean = 0, m2 = 0;
  void add(double other_count, double other_mean, double other_m2) {
    const double total = count + other_count, d = other_mean - mean;
    mean += d * (other_count / total);
    m2 += other_m2 + d * d * (count * other_count / total);
    count = total;
  }
};

template <class T>
void slab(const SlabNormShape& s, T epsilon, const T* x, const T* gamma, const T* beta, T* y, T* mean, T* rstd,
          T* variance, Context& context) {
  if (s.rows == 0 || s.c == 0) return;
  const Chunks chunks = Chunks::of<T>(s);
  T* means = scratch<T>(4, 2 * chunks.all * s.c);
  T* squares = means + chunks.all * s.c;
  for_chunks(s, chunks, false, context, [&](int64_t, int64_t chunk, int64_t begin, int64_t end) {
    T* mu = means + chunk * s.c;
    T* m2 = squares + chunk * s.c;
    column_sums<T, 1>(begin, end, s.c, &mu, [&](int64_t row, int64_t k, int, int m, Vec<T>* sum) {
      sum[0] = sum[0] + load_any(x + row * s.c + k, m);
    });
    const T inverse = T(1) / static_cast<T>(end - begin);
    for (int64_t k = 0; k < s.c; ++k) mu[k] *= inverse;
    column_sums<T, 1>(begin, end, s.c, &m2, [&](int64_t row, int64_t k, int, int m, Vec<T>* sum) {
      const Vec<T> d = load_any(x + row * s.c + k, m) - load_any(mu + k, m);
      sum[0] = fma(d, d, sum[0]);
    });
  });
  const int64_t width = s.c / s.groups;
  parallel_for(context, s.slabs * s.groups, 1 + 4096 / (chunks.per_slab * width), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t which = at / s.groups, channel = at % s.groups * width;
      Moments all;
      for (int64_t i = 0; i < chunks.per_slab; ++i) {
        const int64_t rest = s.rows - i * chunks.rows;
        const double count = static_cast<double>(rest < chunks.rows ? rest : chunks.rows);
        const int64_t base = (which * chunks.per_slab + i) * s.c + channel;
        for (int64_t k = 0; k < width; ++k)
          all.add(count, static_cast<double>(means[base + k]), static_cast<double>(squares[base + k]));
      }
      const double v = all.m2 / all.count;
      mean[at] = static_cast<T>(all.mean);
      rstd[at] = static_cast<T>(1.0 / ::sqrt(v + static_cast<double>(epsilon)));
      if (variance) variance[at] = static_cast<T>(v);
    }
  });
  slab_apply(s, x, mean, rstd, gamma, beta, y, context);
}

template <class T>
DC_INLINE Vec<T> where_positive(Vec<T> y, Vec<T> g) {
  return select(gt(y, Vec<T>::zero()), g, Vec<T>::zero());
}

// With xhat = (x - mean) * rstd and, per group of N elements, A = mean(g gamma), B = mean(g gamma xhat):
// gx = rstd * (g gamma - A - xhat B); ggamma = sum g xhat, gbeta = sum g.
template <bool kRelu, class T>
void slab_gradient(const SlabNormShape& s, const T* x, const T* g, const T* mean, const T* rstd, const T* gamma,
                   const T* beta, T* gx, T* ggamma, T* gbeta, Context& context) {
  if (s.rows == 0 || s.c == 0) {
    for (int64_t k = 0; ggamma && k < s.c; ++k) ggamma[k] = gbeta[k] = T(0);
    return;
  }
  const Affine<T> map = kRelu ? affine(s, mean, rstd, gamma, beta) : Affine<T>{};
  const Chunks chunks = Chunks::of<T>(s);
  const int64_t width = s.c / s.groups, slab_c = s.slabs * s.c;
  T* partial = scratch<T>(4, 2 * chunks.all * s.c + 5 * slab_c);  // per chunk sum g, sum g * (x - mean)
  T* partial_x = partial + chunks.all * s.c;
  T* wide_mean = partial_x + chunks.all * s.c;  // mean of each (slab, channel)
  T *sum_g = wide_mean + slab_c, *sum_gx = sum_g + slab_c, *b = sum_gx + slab_c, *d = b + slab_c;
  for (int64_t i = 0; i < slab_c; ++i) wide_mean[i] = mean[i / s.c * s.groups + i % s.c / width];
  for_chunks(s, chunks, false, context, [&](int64_t which, int64_t chunk, int64_t begin, int64_t end) {
    const T *mu = wide_mean + which * s.c, *scale = map.scale + which * s.c, *shift = map.shift + which * s.c;
    T* const sums[2] = {partial + chunk * s.c, partial_x + chunk * s.c};
    column_sums<T, 2>(begin, end, s.c, sums, [&](int64_t row, int64_t k, int, int m, Vec<T>* sum) {
      const Vec<T> xv = load_any(x + row * s.c + k, m);
      Vec<T> gv = load_any(g + row * s.c + k, m);
      if (kRelu) gv = where_positive(fma(xv, load_any(scale + k, m), load_any(shift + k, m)), gv);
      sum[0] = sum[0] + gv;
      sum[1] = fma(gv, xv - load_any(mu + k, m), sum[1]);
    });
  });
  for (int64_t i = 0; i < slab_c; ++i) {
    const int64_t which = i / s.c, k = i % s.c;
    double sg = 0, sx = 0;
    for (int64_t j = 0; j < chunks.per_slab; ++j) {
      const int64_t at = (which * chunks.per_slab + j) * s.c + k;
      sg += static_cast<double>(partial[at]);
      sx += static_cast<double>(partial_x[at]);
    }
    sum_g[i] = static_cast<T>(sg);
    sum_gx[i] = static_cast<T>(sx * static_cast<double>(rstd[which * s.groups + k / width]));
  }
  for (int64_t k = 0; ggamma && k < s.c; ++k) {
    double sg = 0, sx = 0;
    for (int64_t which = 0; which < s.slabs; ++which) {
      sg += static_cast<double>(sum_g[which * s.c + k]);
      sx += static_cast<double>(sum_gx[which * s.c + k]);
    }
    gbeta[k] = static_cast<T>(sg);
    ggamma[k] = static_cast<T>(sx);
  }
  if (!gx) return;
  // gx = a * g + b * (x - mean) + d; `a` overwrites sum_g.
  const double inverse = 1.0 / (static_cast<double>(s.rows) * static_cast<double>(width));
  for (int64_t at = 0; at < s.slabs * s.groups; ++at) {
    const int64_t base = at / s.groups * s.c + at % s.groups * width, channel = at % s.groups * width;
    double mean_g = 0, mean_gx = 0;
    for (int64_t k = 0; k < width; ++k) {
      const double weight = gamma ? static_cast<double>(gamma[channel + k]) : 1.0;
      mean_g += weight * static_cast<double>(sum_g[base + k]);
      mean_gx += weight * static_cast<double>(sum_gx[base + k]);
    }
    const double r = static_cast<double>(rstd[at]);
    for (int64_t k = 0; k < width; ++k) {
      sum_g[base + k] = static_cast<T>(r * (gamma ? static_cast<double>(gamma[channel + k]) : 1.0));
      b[base + k] = static_cast<T>(-r * r * mean_gx * inverse);
      d[base + k] = static_cast<T>(-r * mean_g * inverse);
    }
  }
  const T* a = sum_g;
  for_chunks(s, chunks, true, context, [&](int64_t which, int64_t, int64_t begin, int64_t end) {
    const int64_t o = which * s.c;
    for_column_blocks<T>(s.c, [&](int64_t k, auto count, int m) {
      constexpr int B = decltype(count)::value, W = Vec<T>::W;
      Vec<T> as[B], bs[B], ds[B], mus[B], scales[B], shifts[B];
      for (int i = 0; i < B; ++i) {
        const int64_t at = o + k + i * W;
        as[i] = load_any(a + at, m), bs[i] = load_any(b + at, m), ds[i] = load_any(d + at, m);
        mus[i] = load_any(wide_mean + at, m);
        if (kRelu) scales[i] = load_any(map.scale + at, m), shifts[i] = load_any(map.shift + at, m);
      }
      for (int64_t row = begin; row < end; ++row)
        for (int i = 0; i < B; ++i) {
          const int64_t at = row * s.c + k + i * W;
          const Vec<T> xv = load_any(x + at, m), linear = fma(xv - mus[i], bs[i], ds[i]);
          Vec<T> gv = load_any(g + at, m);
          if (kRelu) gv = where_positive(fma(xv, scales[i], shifts[i]), gv);
          store_any(gx + at, fma(gv, as[i], linear), m);
        }
    });
  });
}

template <class T>
void slab_grad(const SlabNormShape& s, const T* x, const T* g, const T* mean, const T* rstd, const T* gamma,
               const T* beta, T* gx, T* ggamma, T* gbeta, Context& context) {
  (s.relu ? slab_gradient<true, T> : slab_gradient<false, T>)(s, x, g, mean, rstd, gamma, beta, gx, ggamma, gbeta,
                                                              context);
}

template <class T>
void update_running(int64_t c, int64_t rows, T momentum, const T* mean, const T* variance, T* running_mean,
                    T* running_variance, Context&) {
  const T unbias = rows > 1 ? static_cast<T>(rows) / static_cast<T>(rows - 1) : T(1);
  for (int64_t k = 0; k < c; ++k) {
    running_mean[k] += momentum * (mean[k] - running_mean[k]);
    running_variance[k] += momentum * (variance[k] * unbias - running_variance[k]);
  }
}

}  // namespace

extern const NormKernels<float> norm_f32;
const NormKernels<float> norm_f32 = {slab<float>,           slab_apply<float>, slab_grad<float>,
                                     update_running<float>, row_norm<float>,   row_norm_grad<float>};
#ifdef DC_ISA_SCALAR
extern const NormKernels<double> norm_f64;
const NormKernels<double> norm_f64 = {slab<double>,           slab_apply<double>, slab_grad<double>,
                                      update_running<double>, row_norm<double>,   row_norm_grad<double>};
#endif

}  // namespace dc::DC_ISA
