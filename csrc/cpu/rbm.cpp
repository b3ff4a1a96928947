// Restricted Boltzmann machines; formulas, layouts and random bits: kernels/rbm.h.
// A half step is one product (gemm_product.h) whose blocks are finished while they lie in L1: sigmoid, random words
// (one register of blocks per row of a tile), comparison. Both directions read w packed once per call, so k steps pack
// nothing. Softmax groups cross tiles and are finished in a second pass over rows.
// Tasks are those of the product. Bound by FMA issue; sampling takes about a quarter of the time.
#include "kernels/rbm.h"

#include "cpu/gemm_product.h"
#include "cpu/simd/philox_vec.h"
#include "cpu/simd/random_vec.h"

namespace dc::DC_ISA {
namespace {
// This file is compiled with -ffp-contract=off.
template <class V>
DC_INLINE V apart(V a, V b) {
  return a * b;
}
}  // namespace
}  // namespace dc::DC_ISA

#include "kernels/exact.h"

namespace dc::DC_ISA {
namespace {

static_assert(PhiloxStream::kRowWords == kTileColumns, "a tile's row reads one run of blocks");

constexpr int64_t kRowsPerTask = 8;

PhiloxStream stream_of(const RbmKey& key, bool hidden) {
  return {key.seed, key.layer << 48 | (2 * key.step + (hidden ? 1 : 0))};
}

uint64_t block_of(int64_t row, int64_t unit) {
  return static_cast<uint64_t>(row) << 24 | static_cast<uint64_t>(unit) / 4;
}

// ---- finishing a block of a product ----
template <class T>
struct Finish {
  const RbmHalfStep<T>* s;
  const T* variance;
  int64_t count;
  RbmUnit unit;
  bool exact;
  PhiloxStream stream;

  void operator()(int64_t row, int64_t rows, int64_t column, int64_t n) const {
    if (unit == RbmUnit::softmax) return;
    for (int64_t j = column; j < column + n; j += kTileColumns)
      for (int64_t i = row; i < row + rows; i += PhiloxStream::kRows)
        some_rows(i, min64(PhiloxStream::kRows, row + rows - i), j, min64(kTileColumns, column + n - j));
  }

  void some_rows(int64_t row, int64_t rows, int64_t column, int64_t n) const {
    alignas(64) uint32_t words[PhiloxStream::kRows * PhiloxStream::kRowWords];
    if (s->sample) stream.fill_rows(block_of(row, column), uint64_t{1} << 24, words);
    for (int64_t i = 0; i < rows; ++i) {
      const uint32_t* w = words + i * PhiloxStream::kRowWords;
      if (unit == RbmUnit::bernoulli)
        each(row + i, column, n, w, [&](int64_t, int m, Vec<T> z, const uint32_t* r, Vec<T>& mean, Vec<T>& sample) {
          (void)m;
          mean = exact ? exact_sigmoid(z) : sigmoid(z);
          if (s->sample) sample = keep_where(lt(unit_vector(r), mean), constant<Vec<T>>(1));
        });
      else
        noisy(row + i, column, n, w);
    }
  }

  static DC_INLINE Vec<T> unit_vector(const uint32_t* words) { return DC_ISA::unit<T>(words); }

  // Units with normal noise.
  void noisy(int64_t row, int64_t column, int64_t n, const uint32_t* words) const {
    alignas(64) T noise[kTileColumns];
    if (s->sample) normals(words, noise);
    const T beta = s->beta ? s->beta[row] : T(1);
    each(row, column, n, words, [&](int64_t k, int m, Vec<T> z, const uint32_t*, Vec<T>& mean, Vec<T>& sample) {
      if (unit == RbmUnit::gaussian) {
        mean = z;
        Vec<T> v = variance ? load_any(variance + column + k, m) : constant<Vec<T>>(1);
        if (s->beta) v = v / Vec<T>::set(beta);
        if (s->sample) sample = fma(sqrt(v), Vec<T>::load(noise + k), mean);
      } else {
        mean = max(Vec<T>::zero(), z);
        if (s->sample) sample = max(Vec<T>::zero(), fma(sqrt(sigmoid(z)), Vec<T>::load(noise + k), z));
      }
    });
  }

  static void normals(const uint32_t* words, float* noise) {
    for (int k = 0; k < kTileColumns; k += 2 * VecF::W) {
      VecF a, b;
      normal_pairs(words + k, a, b);
      a.store(noise + k);
      b.store(noise + k + VecF::W);
    }
  }
  static void normals(const uint32_t* words, double* noise) {
    for (int k = 0; k < kTileColumns; k += 2) {
      const double r = ::sqrt(-2.0 * ::log((words[k] >> 1) * 0x1p-31 + 0x1p-32));
      const double angle = 6.283185307179586476925 * ((words[k + 1] >> 8) * 0x1p-24);
      noise[k] = r * ::cos(angle);
      noise[k + 1] = r * ::sin(angle);
    }
  }

  // f(k, lanes, z, words, mean, sample) for each vector of n units; then keep, clamp, store.
  template <class F>
  DC_INLINE void each(int64_t row, int64_t column, int64_t n, const uint32_t* words, const F& f) const {
    const int64_t at = row * count + column;
    const bool cold = s->beta && unit != RbmUnit::gaussian;
    const Vec<T> beta = Vec<T>::set(cold ? s->beta[row] : T(1));
    for_vectors<T>(n, [&](int64_t k, int m) {
      Vec<T> z = load_any(s->mean + at + k, m), mean = z, sample = z;
      if (cold) z = z * beta;
      f(k, m, z, words + k, mean, sample);
      store_unit(at + k, column + k, m, mean, sample);
    });
  }

  DC_INLINE void store_unit(int64_t at, int64_t column, int m, Vec<T> mean, Vec<T> sample) const {
    const RbmClamp<T>& c = s->clamp;
    if (c.keep) {
      const Vec<T> keep = load_any(c.keep + at, m);
      mean = mean * keep;
      sample = sample * keep;
    }
    if (c.where) {
      const auto held = eq(load_any(c.where + at, m), Vec<T>::zero());
      const Vec<T> value = load_any(c.value + at, m);
      mean = select(held, mean, value);
      sample = select(held, sample, value);
    }
    store_any(s->mean + at, mean, m);
    if (s->sample) store_any(s->sample + at, sample, m);
    if (s->fed)
      store_any(s->fed + at,
                variance ? (s->sample ? sample : mean) / load_any(variance + column, m) : (s->sample ? sample : mean),
                m);
  }
};

// mean holds sums and biases; one row of softmax groups at a time.
template <class T>
void softmax_rows(const RbmSide<T>& side, const RbmHalfStep<T>& s, const PhiloxStream& stream, Context& context) {
  const int64_t groups = side.count / side.group;
  parallel_for(context, s.rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T beta = s.beta ? s.beta[row] : T(1);
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = g * side.group, at = row * side.count + first;
        T* mean = s.mean + at;
        T most = mean[0] * beta;
        for (int64_t k = 0; k < side.group; ++k) {
          mean[k] *= beta;
          most = scalar_max(most, mean[k]);
        }
        const Vec<T> shift = Vec<T>::set(most);
        for_vectors<T>(side.group,
                       [&](int64_t k, int m) { store_any(mean + k, exp(load_any(mean + k, m) - shift), m); });
        T sum = 0;
        for (int64_t k = 0; k < side.group; ++k) sum += mean[k];
        for (int64_t k = 0; k < side.group; ++k) mean[k] /= sum;
        if (s.sample) {
          const PhiloxBlock block = philox(stream.seed, stream.stream, block_of(row, first));
          const T u = static_cast<T>(unit_float(block.word[first % 4]));
          int64_t chosen = 0;
          for (T below = mean[0]; chosen + 1 < side.group && u >= below; below += mean[chosen]) ++chosen;
          for (int64_t k = 0; k < side.group; ++k) s.sample[at + k] = k == chosen ? T(1) : T(0);
        }
        for (int64_t k = 0; k < side.group; ++k) {
          T x = s.sample ? s.sample[at + k] : T(0);
          if (s.clamp.keep) {
            mean[k] *= s.clamp.keep[at + k];
            x *= s.clamp.keep[at + k];
          }
          if (s.clamp.where && s.clamp.where[at + k] != T(0)) mean[k] = x = s.clamp.value[at + k];
          if (s.sample) s.sample[at + k] = x;
        }
      }
    }
  });
}

// Sums in order of the inputs for one row and a vector of units.
template <class T>
void exact_product(const RbmModel<T>& model, const RbmHalfStep<T>& s, const Finish<T>& finish, Context& context) {
  const RbmSide<T>& to = s.up ? model.hidden : model.visible;
  const RbmSide<T>& from = s.up ? model.visible : model.hidden;
  const int64_t along = s.up ? model.visible.count : 1, across = s.up ? 1 : model.visible.count;  // of units, of inputs
  constexpr int W = Vec<T>::W;
  parallel_for(context, s.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* x = s.x + row * from.count;
      for (int64_t j = 0; j < to.count; j += W) {
        const int m = static_cast<int>(min64(W, to.count - j));
        Vec<T> sum = Vec<T>::zero();
        for (int64_t p = 0; p < from.count; ++p) {
          const T* w = model.w + j * along + p * across;
          Vec<T> column;
          if (along == 1) {
            column = load_any(w, m);
          } else {
            T lanes[W] = {};
            for (int l = 0; l < m; ++l) lanes[l] = w[l * along];
            column = Vec<T>::load(lanes);
          }
          sum = sum + Vec<T>::set(x[p]) * column;
        }
        store_any(s.mean + row * to.count + j, sum + load_any(to.bias + j, m), m);
      }
      finish(row, 1, 0, to.count);
    }
  });
}

int64_t panels_size(int64_t k, int64_t n) { return ceil_div(n, kTileColumns) * kTileColumns * k; }

// The product of one direction, without its rows.
template <class T>
MatmulShape direction(const RbmModel<T>& model, bool up) {
  MatmulShape p{};
  const int64_t visible = model.visible.count;
  p.k = up ? visible : model.hidden.count;
  p.n = up ? model.hidden.count : visible;
  p.a_row = p.k;
  p.a_col = 1;
  p.b_row = up ? 1 : visible;
  p.b_col = up ? visible : 1;
  p.c_row = p.n;
  return p;
}

int64_t packed_size(int64_t visible, int64_t hidden) {
  return panels_size(visible, hidden) + panels_size(hidden, visible);
}

template <class T>
void pack_direction(const RbmModel<T>& model, bool up, T* to, Context& context) {
  const MatmulShape p = direction(model, up);
  parallel_for(context, ceil_div(p.n, kTileColumns), ceil_div(1 << 14, max64(1, p.k * kTileColumns)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t j = begin; j < end; ++j) {
                   const int64_t column = j * kTileColumns;
                   pack_b_panel(model.w + column * p.b_col, p.b_row, p.b_col, p.k, min64(kTileColumns, p.n - column),
                                to + column * p.k);
                 }
               });
}

template <class T>
void pack(const RbmModel<T>& model, T* packed, Context& context) {
  pack_direction(model, true, packed, context);
  pack_direction(model, false, packed + panels_size(model.visible.count, model.hidden.count), context);
}

// A product with packed weights goes through panels whatever its rows are.
template <class T, class F>
void product(const RbmModel<T>& model, bool up, int64_t rows, const T* x, const T* bias, const T* packed, T* y,
             const F& finish, Context& context) {
  MatmulShape p = direction(model, up);
  p.m = rows;
  if (packed && !up) packed += panels_size(model.visible.count, model.hidden.count);
  if (p.k == 0) packed = nullptr;
  Product<T, F>(p, x, model.w, packed, bias, y, finish).compute(context);
}

template <class T>
void half_step(const RbmModel<T>& model, const RbmHalfStep<T>& s, const RbmKey& key, const T* packed,
               Context& context) {
  const RbmSide<T>& to = s.up ? model.hidden : model.visible;
  if (s.rows == 0 || to.count == 0) return;
  const PhiloxStream stream = stream_of(key, s.up);
  const Finish<T> finish{&s, to.variance, to.count, to.unit, model.exact, stream};
  if (model.exact)
    exact_product(model, s, finish, context);
  else
    product(model, s.up, s.rows, s.x, to.bias, packed, s.mean, finish, context);
  if (to.unit == RbmUnit::softmax) softmax_rows(to, s, stream, context);
}

template <class T>
void gibbs(const RbmModel<T>& model, const RbmChains<T>& c, const RbmKey& key, const T* packed, Context& context) {
  RbmKey now = key;
  if (c.rows > 0) {
    T* state = c.from_data && c.sample_hidden ? c.h : nullptr;
    half_step<T>(model, {c.rows, true, c.data, nullptr, c.data_clamp, c.data_mean, state, nullptr}, now, packed,
                 context);
    if (c.from_data && !c.sample_hidden)
      ::memcpy(c.h, c.data_mean, static_cast<size_t>(c.rows * model.hidden.count) * sizeof(T));
  }
  for (int64_t i = 0; i < c.steps; ++i) {
    ++now.step;
    half_step<T>(model,
                 {c.chains, false, c.h, c.beta, c.visible_clamp, c.v_mean, c.sample_visible ? c.v : nullptr, c.v_fed},
                 now, packed, context);
    half_step<T>(model,
                 {c.chains, true, c.v_fed ? c.v_fed : c.v, c.beta, c.hidden_clamp, c.h_mean,
                  c.sample_hidden ? c.h : nullptr, nullptr},
                 now, packed, context);
  }
}

// Rows of n numbers, lanes first: the same order of sums on every path.
template <class T>
T row_sum(const T* x, int64_t n) {
  Vec<T> sum = Vec<T>::zero();
  for_vectors<T>(n, [&](int64_t k, int m) { sum = sum + load_any(x + k, m); });
  return sum.sum();
}

template <class T>
T row_dot(const T* x, const T* y, int64_t n) {
  Vec<T> sum = Vec<T>::zero();
  for_vectors<T>(n, [&](int64_t k, int m) { sum = fma(load_any(x + k, m), load_any(y + k, m), sum); });
  return sum.sum();
}

// f(pointer, lanes) over the vectors of a block of an array of `count` columns.
template <class F>
DC_INLINE void for_block(int64_t row, int64_t rows, int64_t column, int64_t n, int64_t count, const F& f) {
  for (int64_t i = row; i < row + rows; ++i) f(i * count + column, n);
}

template <class T>
void free_energy(const RbmModel<T>& model, int64_t rows, const T* x, T* z, T* f, Context& context) {
  const int64_t hidden = model.hidden.count, visible = model.visible.count;
  const auto finish = [&](int64_t row, int64_t count, int64_t column, int64_t n) {
    for_block(row, count, column, n, hidden, [&](int64_t at, int64_t width) {
      for_vectors<T>(width, [&](int64_t k, int m) { store_any(z + at + k, softplus(load_any(z + at + k, m)), m); });
    });
  };
  if (rows > 0 && hidden > 0) product<T>(model, true, rows, x, model.hidden.bias, nullptr, z, finish, context);
  parallel_for(context, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      f[i] = -row_dot(x + i * visible, model.visible.bias, visible) - row_sum(z + i * hidden, hidden);
  });
}

template <class T>
void anneal(const RbmModel<T>& model, const RbmAnnealing<T>& a, const RbmKey& key, const T* packed, Context& context) {
  const int64_t hidden = model.hidden.count, visible = model.visible.count;
  RbmModel<T> now = model;
  now.visible.bias = a.bias;
  RbmKey step = key;
  for (int64_t t = 0; t < a.count; ++t, ++step.step) {
    const T low = static_cast<T>(a.beta[t]), high = static_cast<T>(a.beta[t + 1]);
    const Vec<T> cold = Vec<T>::set(high), warm = Vec<T>::set(low);
    // h given v at the new temperature; terms: what the temperature changes in the log of the unnormalised p(v).
    const PhiloxStream stream = stream_of(step, true);
    const auto finish = [&](int64_t row, int64_t rows, int64_t column, int64_t n) {
      alignas(64) uint32_t words[PhiloxStream::kRows * PhiloxStream::kRowWords];
      for (int64_t j = column; j < column + n; j += kTileColumns)
        for (int64_t i = row; i < row + rows; ++i) {
          if ((i - row) % PhiloxStream::kRows == 0) stream.fill_rows(block_of(i, j), uint64_t{1} << 24, words);
          const uint32_t* w = words + (i - row) % PhiloxStream::kRows * PhiloxStream::kRowWords;
          const int64_t at = i * hidden + j;
          for_vectors<T>(min64(kTileColumns, column + n - j), [&](int64_t k, int m) {
            const Vec<T> z = load_any(a.h_mean + at + k, m), cool = z * cold;
            store_any(a.terms + at + k, softplus(cool) - softplus(z * warm), m);
            store_any(a.h + at + k, keep_where(lt(unit<T>(w + k), sigmoid(cool)), constant<Vec<T>>(1)), m);
          });
        }
    };
    if (hidden > 0)
      product(model, true, a.chains, a.v_fed ? a.v_fed : a.v, model.hidden.bias, packed, a.h_mean, finish, context);
    parallel_for(context, a.chains, kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        double field = 0;
        for (int64_t p = 0; p < visible; ++p)
          field += static_cast<double>(a.v[i * visible + p]) *
                   (static_cast<double>(model.visible.bias[p]) - static_cast<double>(a.base[p]));
        a.log_weight[i] +=
            (a.beta[t + 1] - a.beta[t]) * field + static_cast<double>(row_sum(a.terms + i * hidden, hidden));
      }
    });
    if (visible == 0) continue;
    // v given h: biases between the base's and the model's, weights times beta. Gaussian units keep their variance, so
    // for them, too, beta multiplies what comes from the hidden units only.
    for_vectors<T>(visible, [&](int64_t k, int m) {
      const Vec<T> b = load_any(a.base + k, m);
      store_any(a.bias + k, b + cold * (load_any(model.visible.bias + k, m) - b), m);
    });
    for_vectors<T>(a.chains * hidden, [&](int64_t k, int m) { store_any(a.h + k, load_any(a.h + k, m) * cold, m); });
    // The state is its own mean's place: h_mean and terms are too narrow, so v itself takes the sums.
    half_step<T>(now, {a.chains, false, a.h, nullptr, {}, a.v, a.v, a.v_fed}, step, packed, context);
  }
}

template <class T>
void statistics(const RbmModel<T>& model, int64_t rows, const T* v0, const T* h0, int64_t chains, const T* v1,
                const T* h1, T* scratch, T* gw, T* gb, T* gc, Context& context) {
  // One product over the rows of both phases, those of the data with weight -1 / rows.
  const int64_t visible = model.visible.count, hidden = model.hidden.count, all = rows + chains;
  T* v = scratch;
  T* h = scratch + all * visible;
  const T down = rows ? T(-1) / static_cast<T>(rows) : T(0), up = chains ? T(1) / static_cast<T>(chains) : T(0);
  parallel_for(context, all, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const bool data = i < rows;
      const T* from = data ? v0 + i * visible : v1 + (i - rows) * visible;
      ::memcpy(v + i * visible, from, static_cast<size_t>(visible) * sizeof(T));
      const T* means = data ? h0 + i * hidden : h1 + (i - rows) * hidden;
      const Vec<T> factor = Vec<T>::set(data ? down : up);
      for_vectors<T>(hidden,
                     [&](int64_t k, int m) { store_any(h + i * hidden + k, load_any(means + k, m) * factor, m); });
    }
  });
  constexpr int64_t columns = 128;
  parallel_for(context, visible, columns, [&](int64_t begin, int64_t end) {
    for_vectors<T>(end - begin, [&](int64_t k, int m) {
      Vec<T> sum = Vec<T>::zero();
      for (int64_t i = 0; i < all; ++i)
        sum = fma(Vec<T>::set(i < rows ? down : up), load_any(v + i * visible + begin + k, m), sum);
      store_any(gb + begin + k, sum, m);
    });
  });
  parallel_for(context, hidden, columns, [&](int64_t begin, int64_t end) {
    for_vectors<T>(end - begin, [&](int64_t k, int m) {
      Vec<T> sum = Vec<T>::zero();
      for (int64_t i = 0; i < all; ++i) sum = sum + load_any(h + i * hidden + begin + k, m);
      store_any(gc + begin + k, sum, m);
    });
  });
  if (visible == 0 || hidden == 0) return;
  MatmulShape p{};
  p.m = hidden;
  p.n = visible;
  p.k = all;
  p.a_row = 1;
  p.a_col = hidden;
  p.b_row = visible;
  p.b_col = 1;
  p.c_row = visible;
  Product<T>(p, h, v, nullptr, nullptr, gw).compute(context);
}

template <class T>
void swap(int64_t chains, int64_t copies, int64_t parity, int64_t width, const T* beta, const T* energy, T* h,
          T* swapped, const RbmKey& key, Context& context) {
  for (int64_t i = 0; i < chains; ++i) swapped[i] = T(0);
  const int64_t temperatures = copies ? chains / copies : 0, pairs = max64(0, (temperatures - parity) / 2) * copies;
  parallel_for(context, pairs, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t a = (parity + i / copies * 2) * copies + i % copies, b = a + copies;
      const PhiloxBlock block =
          philox(key.seed, key.layer << 48 | uint64_t{1} << 47 | key.step, static_cast<uint64_t>(a));
      const double gain = (static_cast<double>(beta[a]) - static_cast<double>(beta[b])) *
                          (static_cast<double>(energy[a]) - static_cast<double>(energy[b]));
      if (static_cast<double>(unit_float(block.word[0])) >= ::exp(gain)) continue;
      for (int64_t k = 0; k < width; ++k) {
        const T held = h[a * width + k];
        h[a * width + k] = h[b * width + k];
        h[b * width + k] = held;
      }
      swapped[a] = swapped[b] = T(1);
    }
  });
}

}  // namespace

extern const RbmKernels<float> rbm_f32;
const RbmKernels<float> rbm_f32 = {packed_size,        pack<float>,   half_step<float>,  gibbs<float>,
                                   free_energy<float>, anneal<float>, statistics<float>, swap<float>};
#ifdef DC_ISA_SCALAR
extern const RbmKernels<double> rbm_f64;
const RbmKernels<double> rbm_f64 = {packed_size,         pack<double>,   half_step<double>,  gibbs<double>,
                                    free_energy<double>, anneal<double>, statistics<double>, swap<double>};
#endif

}  // namespace dc::DC_ISA
