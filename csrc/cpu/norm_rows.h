// Layer normalisation: y = (x - mean) * rstd * gamma + beta, statistics over each row; see kernels/norm.h. Recurrent
// layers take the functions of one row.
// One row in cache, lanes along the row; ggamma and gbeta are column sums by chunks of rows, added in double in their
// order. Split: chunks of about kChunkBytes, as in norm.cpp. Bound: memory bandwidth.
#pragma once
#include "core/parallel.h"
#include "cpu/simd/vec_int.h"

namespace dc::DC_ISA {

namespace {

constexpr int64_t kChunkBytes = 32768;

template <class T>
int64_t chunk_rows(int64_t c) {
  const int64_t rows = kChunkBytes / (c * static_cast<int64_t>(sizeof(T)) + 1);
  return rows < 8 ? 8 : rows;
}

template <class T>
T* scratch(int slot, int64_t count) {
  return static_cast<T*>(thread_scratch(slot, static_cast<size_t>(count) * sizeof(T)));
}

// Sum of term(k, m) over a row of c, lanes along the row, four registers in flight. Terms past c must be zero.
template <class T, class Term>
DC_INLINE T row_sum(int64_t c, const Term& term) {
  constexpr int W = Vec<T>::W;
  Vec<T> s0 = Vec<T>::zero(), s1 = s0, s2 = s0, s3 = s0;
  int64_t k = 0;
  for (; k + 4 * W <= c; k += 4 * W) {
    s0 = s0 + term(k, W);
    s1 = s1 + term(k + W, W);
    s2 = s2 + term(k + 2 * W, W);
    s3 = s3 + term(k + 3 * W, W);
  }
  for (; k + W <= c; k += W) s0 = s0 + term(k, W);
  if (k < c) s1 = s1 + term(k, static_cast<int>(c - k));
  return ((s0 + s1) + (s2 + s3)).sum();
}

template <class T>
DC_INLINE Vec<T> first_lanes(Vec<T> v, int m) {
  return m == Vec<T>::W ? v : keep_where(lt(Vec<T>::iota(), Vec<T>::set(static_cast<T>(m))), v);
}

template <class T>
struct RowMoments {
  T mean, rstd;
};

template <class T>
DC_INLINE RowMoments<T> row_moments(int64_t c, T epsilon, const T* x) {
  const T mean = row_sum<T>(c, [&](int64_t k, int m) { return load_any(x + k, m); }) / static_cast<T>(c);
  const Vec<T> centre = Vec<T>::set(mean);
  const T square = row_sum<T>(c, [&](int64_t k, int m) {
    const Vec<T> d = first_lanes(load_any(x + k, m) - centre, m);
    return d * d;
  });
  const double variance = static_cast<double>(square) / static_cast<double>(c);
  return {mean, static_cast<T>(1.0 / ::sqrt(variance + static_cast<double>(epsilon)))};
}

template <class T>
DC_INLINE void row_apply(int64_t c, const T* x, const RowMoments<T>& of, const T* gamma, const T* beta, T* y) {
  const Vec<T> centre = Vec<T>::set(of.mean), scale = Vec<T>::set(of.rstd), zero = Vec<T>::zero(),
               one = Vec<T>::set(T(1));
  for_vectors<T>(c, [&](int64_t k, int m) {
    const Vec<T> hat = (load_any(x + k, m) - centre) * scale;
    store_any(y + k, fma(hat, gamma ? load_any(gamma + k, m) : one, beta ? load_any(beta + k, m) : zero), m);
  });
}

// gx, may be null, = rstd (g gamma - mean(g gamma) - xhat mean(g gamma xhat)); see(k, m, g, xhat) meets every register.
template <class T, class See>
DC_INLINE void row_pull(int64_t c, const T* x, const T* g, const RowMoments<T>& of, const T* gamma, T* gx,
                        const See& see) {
  const Vec<T> centre = Vec<T>::set(of.mean), scale = Vec<T>::set(of.rstd), one = Vec<T>::set(T(1));
  Vec<T> a = Vec<T>::zero(), b = a;
  for_vectors<T>(c, [&](int64_t k, int m) {
    const Vec<T> gv = load_any(g + k, m), hat = first_lanes((load_any(x + k, m) - centre) * scale, m);
    const Vec<T> weighted = gamma ? gv * load_any(gamma + k, m) : gv;
    a = a + weighted;
    b = fma(weighted, hat, b);
    see(k, m, gv, hat);
  });
  if (!gx) return;
  const Vec<T> mean_g = Vec<T>::set(a.sum() / static_cast<T>(c)), mean_gx = Vec<T>::set(b.sum() / static_cast<T>(c));
  for_vectors<T>(c, [&](int64_t k, int m) {
    const Vec<T> gv = load_any(g + k, m), hat = (load_any(x + k, m) - centre) * scale;
    const Vec<T> weighted = gv * (gamma ? load_any(gamma + k, m) : one);
    store_any(gx + k, scale * (weighted - mean_g - hat * mean_gx), m);
  });
}
template <class T>
DC_INLINE void row_pull(int64_t c, const T* x, const T* g, const RowMoments<T>& of, const T* gamma, T* gx) {
  row_pull(c, x, g, of, gamma, gx, [](int64_t, int, Vec<T>, Vec<T>) {});
}

template <class T>
void row_norm(int64_t rows, int64_t c, T epsilon, const T* x, const T* gamma, const T* beta, T* y, T* mean, T* rstd,
              Context& context) {
  if (c == 0) return;
  parallel_for(context, rows, 1 + 16384 / c, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const RowMoments<T> of = row_moments(c, epsilon, x + row * c);
      row_apply(c, x + row * c, of, gamma, beta, y + row * c);
      mean[row] = of.mean;
      rstd[row] = of.rstd;
    }
  });
}

template <class T>
void row_norm_grad(int64_t rows, int64_t c, const T* x, const T* g, const T* mean, const T* rstd, const T* gamma, T* gx,
                   T* ggamma, T* gbeta, Context& context) {
  if (c == 0) return;
  const int64_t step = chunk_rows<T>(c), chunks = (rows + step - 1) / step;
  T* partial = ggamma ? scratch<T>(4, 2 * chunks * c) : nullptr;
  parallel_for(context, chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t chunk = first; chunk < last; ++chunk) {
      const int64_t begin = chunk * step, end = begin + step < rows ? begin + step : rows;
      T* sum_g = partial ? partial + 2 * chunk * c : nullptr;
      T* sum_gx = partial ? sum_g + c : nullptr;
      if (partial) ::memset(sum_g, 0, static_cast<size_t>(2 * c) * sizeof(T));
      for (int64_t row = begin; row < end; ++row) {
        const RowMoments<T> of{mean[row], rstd[row]};
        // The sums over rows of g and g xhat grow along.
        row_pull(c, x + row * c, g + row * c, of, gamma, gx ? gx + row * c : nullptr,
                 [&](int64_t k, int m, Vec<T> gv, Vec<T> hat) {
                   if (!partial) return;
                   store_any(sum_g + k, load_any(sum_g + k, m) + gv, m);
                   store_any(sum_gx + k, fma(gv, hat, load_any(sum_gx + k, m)), m);
                 });
      }
    }
  });
  if (!partial) return;
  parallel_for(context, c, 1 + 16384 / (chunks + 1), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      double sg = 0, sx = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        sg += static_cast<double>(partial[2 * chunk * c + k]);
        sx += static_cast<double>(partial[(2 * chunk + 1) * c + k]);
      }
      gbeta[k] = static_cast<T>(sg);
      ggamma[k] = static_cast<T>(sx);
    }
  });
}

}  // namespace

}  // namespace dc::DC_ISA
