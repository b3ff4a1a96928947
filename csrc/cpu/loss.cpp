// Softmax rows and cross-entropy; formulas in kernels/loss.h. Matrices are (rows, c), row-major.
// Long rows: lanes along the row, which stays in L1 between its passes (maximum; exponentials and their sum). The
// forward pass of cross-entropy writes only loss and log-sum-exp; the gradient recomputes exp(x - lse) and writes once,
// which costs one exponential more than caching probabilities and saves writing and reading a matrix.
// Short rows (c <= kTileColumns): W rows are transposed into a tile, so that lanes run over rows and neither
// horizontal reductions nor half-empty registers are left.
// Split: blocks of rows, sized by c. Bound: memory for long rows out of cache, exponentials in cache.
#include "kernels/loss.h"

#include "core/parallel.h"
#include "cpu/simd/math.h"
#include "cpu/simd/vec_int.h"

namespace dc::DC_ISA {

namespace {

constexpr int64_t kTileColumns = 32;

// Blocks of rows a multiple of the register width.
int64_t row_grain(int64_t c) { return (8192 / (c + 1) + 16) / 16 * 16; }

template <class T>
DC_INLINE Vec<T> lanes_or(Vec<T> v, int m, T other) {
  return m == Vec<T>::W ? v : select(lt(Vec<T>::iota(), Vec<T>::set(static_cast<T>(m))), v, Vec<T>::set(other));
}

// start, then acc = f(acc, k, m) over the row with two independent chains, joined by join(a, b).
template <class T, class F, class Join>
DC_INLINE Vec<T> fold_row(int64_t c, Vec<T> start, const F& f, const Join& join) {
  constexpr int W = Vec<T>::W;
  Vec<T> a = start, b = start;
  int64_t k = 0;
  for (; k + 2 * W <= c; k += 2 * W) {
    a = f(a, k, W);
    b = f(b, k + W, W);
  }
  if (k + W <= c) {
    a = f(a, k, W);
    k += W;
  }
  if (k < c) b = f(b, k, static_cast<int>(c - k));
  return join(a, b);
}

template <class T>
DC_INLINE T row_max(const T* x, int64_t c) {
  const T low = -static_cast<T>(HUGE_VAL);
  return fold_row<T>(
             c, Vec<T>::set(low),
             [&](Vec<T> a, int64_t k, int m) { return max(a, lanes_or(load_any(x + k, m), m, low)); },
             [](Vec<T> a, Vec<T> b) { return max(a, b); })
      .hmax();
}

// Terms past c must be zero.
template <class T, class F>
DC_INLINE T row_sum(int64_t c, const F& term) {
  return fold_row<T>(
             c, Vec<T>::zero(), [&](Vec<T> a, int64_t k, int m) { return a + term(k, m); },
             [](Vec<T> a, Vec<T> b) { return a + b; })
      .sum();
}

template <class T>
T scalar_log(T x) {
  alignas(64) T buffer[Vec<T>::W];
  log(Vec<T>::set(x)).store(buffer);
  return buffer[0];
}

template <class T>
DC_INLINE T sum_exp(const T* x, int64_t c, T top) {
  const Vec<T> shift = Vec<T>::set(top);
  return row_sum<T>(c, [&](int64_t k, int m) { return lanes_or(exp(load_any(x + k, m) - shift), m, T(0)); });
}

template <class T>
void softmax(int64_t rows, int64_t c, const T* x, T* y, Context& context) {
  parallel_for(context, rows, row_grain(c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x + row * c;
      T* to = y + row * c;
      const Vec<T> shift = Vec<T>::set(row_max(from, c));
      const T sum = row_sum<T>(c, [&](int64_t k, int m) {
        const Vec<T> e = exp(load_any(from + k, m) - shift);
        store_any(to + k, e, m);
        return lanes_or(e, m, T(0));
      });
      const Vec<T> scale = Vec<T>::set(T(1) / sum);
      for_vectors<T>(c, [&](int64_t k, int m) { store_any(to + k, load_any(to + k, m) * scale, m); });
    }
  });
}

template <class T>
void log_softmax(int64_t rows, int64_t c, const T* x, T* y, Context& context) {
  parallel_for(context, rows, row_grain(c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x + row * c;
      T* to = y + row * c;
      const T top = c ? row_max(from, c) : T(0);
      // (x - max) - log(sum): both differences are exact or nearly so where it matters.
      const Vec<T> shift = Vec<T>::set(top), rest = Vec<T>::set(scalar_log(sum_exp(from, c, top)));
      for_vectors<T>(c, [&](int64_t k, int m) { store_any(to + k, (load_any(from + k, m) - shift) - rest, m); });
    }
  });
}

template <class T>
void softmax_grad(int64_t rows, int64_t c, const T* y, const T* g, T* gx, Context& context) {
  parallel_for(context, rows, row_grain(c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T *yr = y + row * c, *gr = g + row * c;
      const Vec<T> dot =
          Vec<T>::set(row_sum<T>(c, [&](int64_t k, int m) { return load_any(yr + k, m) * load_any(gr + k, m); }));
      for_vectors<T>(c, [&](int64_t k, int m) {
        store_any(gx + row * c + k, load_any(yr + k, m) * (load_any(gr + k, m) - dot), m);
      });
    }
  });
}

template <class T>
void log_softmax_grad(int64_t rows, int64_t c, const T* y, const T* g, T* gx, Context& context) {
  parallel_for(context, rows, row_grain(c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T *yr = y + row * c, *gr = g + row * c;
      const Vec<T> sum = Vec<T>::set(row_sum<T>(c, [&](int64_t k, int m) { return load_any(gr + k, m); }));
      for_vectors<T>(c, [&](int64_t k, int m) {
        store_any(gx + row * c + k, fnma(exp(load_any(yr + k, m)), sum, load_any(gr + k, m)), m);
      });
    }
  });
}

// ---- short rows: tile[k * W + lane] = x[(row + lane) * c + k], rows past the end repeat the last one ----

template <class T>
DC_INLINE void load_tile(const T* x, int64_t c, int live, T* tile) {
  constexpr int W = Vec<T>::W;
  for (int lane = 0; lane < W; ++lane) {
    const T* from = x + (lane < live ? lane : live - 1) * c;
    for (int64_t k = 0; k < c; ++k) tile[k * W + lane] = from[k];
  }
}

template <class T>
DC_INLINE void store_tile(const T* tile, int64_t c, int live, T* y) {
  constexpr int W = Vec<T>::W;
  for (int lane = 0; lane < live; ++lane)
    for (int64_t k = 0; k < c; ++k) y[lane * c + k] = tile[k * W + lane];
}

// log-sum-exp of rows [begin, end) into lse.
template <class T>
void log_sum_exp(int64_t begin, int64_t end, int64_t c, const T* x, T* lse) {
  constexpr int W = Vec<T>::W;
  alignas(64) T tile[kTileColumns * W];
  for (int64_t row = begin; row < end; row += W) {
    const int live = end - row < W ? static_cast<int>(end - row) : W;
    Vec<T> top, sum = Vec<T>::zero();
    if (c <= kTileColumns) {
      load_tile(x + row * c, c, live, tile);
      top = Vec<T>::set(-static_cast<T>(HUGE_VAL));
      for (int64_t k = 0; k < c; ++k) top = max(top, Vec<T>::load(tile + k * W));
      for (int64_t k = 0; k < c; ++k) sum = sum + exp(Vec<T>::load(tile + k * W) - top);
    } else {
      alignas(64) T tops[W] = {}, sums[W] = {};
      for (int lane = 0; lane < live; ++lane) {
        tops[lane] = row_max(x + (row + lane) * c, c);
        sums[lane] = sum_exp(x + (row + lane) * c, c, tops[lane]);
      }
      top = Vec<T>::load(tops);
      sum = Vec<T>::load(sums);
    }
    store_any(lse + row, top + log(sum), live);
  }
}

template <class T>
T weight_sum(const T* weights, int64_t c) {
  if (!weights) return static_cast<T>(c);
  double sum = 0;
  for (int64_t k = 0; k < c; ++k) sum += static_cast<double>(weights[k]);
  return static_cast<T>(sum);
}

template <class T>
void cross_entropy(const CrossEntropyShape<T>& s, const T* x, const int64_t* labels, const T* weights, T* loss, T* lse,
                   Context& context) {
  const T all = weight_sum(weights, s.c);
  parallel_for(context, s.rows, row_grain(s.c), [&](int64_t begin, int64_t end) {
    log_sum_exp(begin, end, s.c, x, lse);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t label = labels[row];
      if (label == s.ignore_label) {
        loss[row] = T(0);
        continue;
      }
      const T* from = x + row * s.c;
      T value = (T(1) - s.smoothing) * (weights ? weights[label] : T(1)) * (lse[row] - from[label]);
      if (s.smoothing != T(0)) {
        const T dot = row_sum<T>(s.c, [&](int64_t k, int m) {
          return weights ? load_any(from + k, m) * load_any(weights + k, m) : load_any(from + k, m);
        });
        value += s.smoothing / static_cast<T>(s.c) * (lse[row] * all - dot);
      }
      loss[row] = value;
    }
  });
}

template <class T>
void cross_entropy_grad(const CrossEntropyShape<T>& s, const T* x, const int64_t* labels, const T* weights,
                        const T* lse, const T* g, int64_t g_step, T g_scale, T* gx, Context& context) {
  constexpr int W = Vec<T>::W;
  const T all = weight_sum(weights, s.c), even = s.smoothing / static_cast<T>(s.c ? s.c : 1);
  // Per row: gx = p * pull - push at the label - even * w everywhere, scaled by g.
  const auto push_of = [&](int64_t row) { return (T(1) - s.smoothing) * (weights ? weights[labels[row]] : T(1)); };
  parallel_for(context, s.rows, row_grain(s.c), [&](int64_t begin, int64_t end) {
    alignas(64) T tile[kTileColumns * W], scales[W], pulls[W];
    for (int64_t row = begin; row < end; row += W) {
      const int live = end - row < W ? static_cast<int>(end - row) : W;
      for (int lane = 0; lane < W; ++lane) {
        const bool counts = lane < live && labels[row + lane] != s.ignore_label;
        scales[lane] = counts ? g[(row + lane) * g_step] * g_scale : T(0);
        pulls[lane] = counts ? (push_of(row + lane) + even * all) * scales[lane] : T(0);
      }
      if (s.c <= kTileColumns) {
        load_tile(x + row * s.c, s.c, live, tile);
        const Vec<T> level = load_any(lse + row, live), pull = Vec<T>::load(pulls), scale = Vec<T>::load(scales);
        for (int64_t k = 0; k < s.c; ++k) {
          Vec<T> v = exp(Vec<T>::load(tile + k * W) - level) * pull;
          if (s.smoothing != T(0)) v = fnma(scale, Vec<T>::set(even * (weights ? weights[k] : T(1))), v);
          v.store(tile + k * W);
        }
        store_tile(tile, s.c, live, gx + row * s.c);
      } else {
        for (int lane = 0; lane < live; ++lane) {
          const T* from = x + (row + lane) * s.c;
          T* to = gx + (row + lane) * s.c;
          const Vec<T> level = Vec<T>::set(lse[row + lane]), pull = Vec<T>::set(pulls[lane]);
          const Vec<T> base = Vec<T>::set(even * scales[lane]);
          for_vectors<T>(s.c, [&](int64_t k, int m) {
            Vec<T> v = exp(load_any(from + k, m) - level) * pull;
            if (s.smoothing != T(0)) v = weights ? fnma(base, load_any(weights + k, m), v) : v - base;
            store_any(to + k, v, m);
          });
        }
      }
      for (int lane = 0; lane < live; ++lane) {
        T* to = gx + (row + lane) * s.c;
        if (labels[row + lane] == s.ignore_label)
          ::memset(to, 0, static_cast<size_t>(s.c) * sizeof(T));  // even where x holds NaN
        else
          to[labels[row + lane]] -= push_of(row + lane) * scales[lane];
      }
    }
  });
}

template <class T>
void soft_cross_entropy(int64_t rows, int64_t c, const T* x, const T* t, const T* weights, T* loss, T* lse,
                        Context& context) {
  parallel_for(context, rows, row_grain(c), [&](int64_t begin, int64_t end) {
    log_sum_exp(begin, end, c, x, lse);
    for (int64_t row = begin; row < end; ++row) {
      const T *xr = x + row * c, *tr = t + row * c;
      const Vec<T> level = Vec<T>::set(lse[row]);
      loss[row] = row_sum<T>(c, [&](int64_t k, int m) {
        const Vec<T> target = load_any(tr + k, m);
        // A target of 0 silences a logit of -inf, as 0 log 0 = 0.
        const Vec<T> term = select(eq(target, Vec<T>::zero()), Vec<T>::zero(), target * (level - load_any(xr + k, m)));
        return weights ? term * load_any(weights + k, m) : term;
      });
    }
  });
}

template <class T>
void soft_cross_entropy_grad(int64_t rows, int64_t c, const T* x, const T* t, const T* weights, const T* lse,
                             const T* g, int64_t g_step, T g_scale, T* gx, T* gt, Context& context) {
  parallel_for(context, rows, row_grain(c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T *xr = x + row * c, *tr = t + row * c;
      const Vec<T> level = Vec<T>::set(lse[row]), scale = Vec<T>::set(g[row * g_step] * g_scale);
      const auto weighted = [&](int64_t k, int m) {
        return weights ? load_any(tr + k, m) * load_any(weights + k, m) : load_any(tr + k, m);
      };
      const Vec<T> mass = Vec<T>::set(gx ? row_sum<T>(c, weighted) : T(0));
      for_vectors<T>(c, [&](int64_t k, int m) {
        const Vec<T> d = load_any(xr + k, m) - level;
        if (gx) store_any(gx + row * c + k, scale * fma(exp(d), mass, -weighted(k, m)), m);
        if (gt) store_any(gt + row * c + k, -scale * (weights ? d * load_any(weights + k, m) : d), m);
      });
    }
  });
}

// ---- binary cross-entropy: loss = (1 - t) x + q softplus(-x), q = 1 + (v - 1) t ----

template <class T>
void bce_logits(int64_t rows, int64_t c, const T* x, const T* t, const T* pos_weight, T* loss, Context& context) {
  // Without weights the matrix is one long row.
  if (!pos_weight) c = rows * c, rows = 1;
  const Vec<T> one = Vec<T>::set(T(1));
  const auto piece = [&](int64_t row, int64_t first, int64_t last) {
    const int64_t o = row * c + first;
    for_vectors<T>(last - first, [&](int64_t k, int m) {
      const Vec<T> xv = load_any(x + o + k, m), tv = load_any(t + o + k, m);
      const Vec<T> q = pos_weight ? fma(load_any(pos_weight + first + k, m) - one, tv, one) : one;
      store_any(loss + o + k, fma(one - tv, xv, q * softplus(-xv)), m);
    });
  };
  if (rows == 1)
    parallel_for(context, c, 8192, [&](int64_t begin, int64_t end) { piece(0, begin, end); });
  else
    parallel_for(context, rows, row_grain(c), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) piece(row, 0, c);
    });
}

// gx = g ((1 - t) - q s(-x)), gt = g ((v - 1) softplus(-x) - x).
template <class T>
void bce_logits_grad(int64_t rows, int64_t c, const T* x, const T* t, const T* pos_weight, const T* g, int64_t g_step,
                     T* gx, T* gt, Context& context) {
  if (!pos_weight) c = rows * c, rows = 1;
  const Vec<T> one = Vec<T>::set(T(1));
  const auto piece = [&](int64_t row, int64_t first, int64_t last) {
    const int64_t o = row * c + first;
    for_vectors<T>(last - first, [&](int64_t k, int m) {
      const Vec<T> xv = load_any(x + o + k, m), tv = load_any(t + o + k, m);
      const Vec<T> gv = g_step ? load_any(g + o + k, m) : Vec<T>::set(*g);
      const Vec<T> extra = pos_weight ? load_any(pos_weight + first + k, m) - one : Vec<T>::zero();
      if (gx) store_any(gx + o + k, gv * fnma(fma(extra, tv, one), sigmoid(-xv), one - tv), m);
      if (gt) store_any(gt + o + k, gv * (pos_weight ? fma(extra, softplus(-xv), -xv) : -xv), m);
    });
  };
  if (rows == 1)
    parallel_for(context, c, 8192, [&](int64_t begin, int64_t end) { piece(0, begin, end); });
  else
    parallel_for(context, rows, row_grain(c), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) piece(row, 0, c);
    });
}

template <class T>
void total(int64_t n, double scale, const T* x, T* y, Context&) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  *y = static_cast<T>(sum * scale);
}

}  // namespace

extern const LossKernels<float> loss_f32;
const LossKernels<float> loss_f32 = {softmax<float>,
                                     log_softmax<float>,
                                     softmax_grad<float>,
                                     log_softmax_grad<float>,
                                     cross_entropy<float>,
                                     cross_entropy_grad<float>,
                                     soft_cross_entropy<float>,
                                     soft_cross_entropy_grad<float>,
                                     bce_logits<float>,
                                     bce_logits_grad<float>,
                                     total<float>};
#ifdef DC_ISA_SCALAR
extern const LossKernels<double> loss_f64;
const LossKernels<double> loss_f64 = {softmax<double>,
                                      log_softmax<double>,
                                      softmax_grad<double>,
                                      log_softmax_grad<double>,
                                      cross_entropy<double>,
                                      cross_entropy_grad<double>,
                                      soft_cross_entropy<double>,
                                      soft_cross_entropy_grad<double>,
                                      bce_logits<double>,
                                      bce_logits_grad<double>,
                                      total<double>};
#endif

}  // namespace dc::DC_ISA
