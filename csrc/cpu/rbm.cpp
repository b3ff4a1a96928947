// Restricted Boltzmann machines; formulas, layouts and random bits: kernels/rbm.h.
// A half step is one product (by tables of sums, bit_product.h, where its input holds two values; gemm_product.h else)
// whose blocks are finished while they lie in L1: sigmoid, random words (one register of blocks per row of a tile),
// comparison. Both directions read w packed once per call of k > 1 steps. Softmax groups cross tiles and are
// finished in a second pass over rows.
// Tasks are those of the product. Bound by loads of sums, or by FMA issue, and by sampling.
#include "cpu/rbm_product.h"
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

// ---- finishing a block of a product ----
template <class T>
struct Finish {
  const RbmHalfStep<T>* s;
  const T* variance;
  int64_t count, choice;
  RbmUnit unit;
  bool exact;
  PhiloxStream stream;

  void operator()(int64_t row, int64_t rows, int64_t column, int64_t n) const {
    if (unit == RbmUnit::softmax) return;
    n = min64(n, count - choice - column);
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

// mean holds sums and biases; one row of softmax groups at a time: all units, or those of the choice at the end.
template <class T>
void softmax_rows(const RbmSide<T>& side, const RbmHalfStep<T>& s, const PhiloxStream& stream, Context& context) {
  const int64_t start = side.choice ? side.count - side.choice : 0, size = side.choice ? side.choice : side.group;
  const int64_t groups = (side.count - start) / size;
  parallel_for(context, s.rows, kRbmRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T beta = s.beta ? s.beta[row] : T(1);
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = start + g * size, at = row * side.count + first;
        T* mean = s.mean + at;
        T most = mean[0] * beta;
        for (int64_t k = 0; k < size; ++k) {
          mean[k] *= beta;
          most = scalar_max(most, mean[k]);
        }
        const Vec<T> shift = Vec<T>::set(most);
        for_vectors<T>(size, [&](int64_t k, int m) { store_any(mean + k, exp(load_any(mean + k, m) - shift), m); });
        T sum = 0;
        for (int64_t k = 0; k < size; ++k) sum += mean[k];
        for (int64_t k = 0; k < size; ++k) mean[k] /= sum;
        if (s.sample) {
          const PhiloxBlock block = philox(stream.seed, stream.stream, block_of(row, first));
          const T u = static_cast<T>(unit_float(block.word[first % 4]));
          int64_t chosen = 0;
          for (T below = mean[0]; chosen + 1 < size && u >= below; below += mean[chosen]) ++chosen;
          for (int64_t k = 0; k < size; ++k) s.sample[at + k] = k == chosen ? T(1) : T(0);
        }
        for (int64_t k = 0; k < size; ++k) {
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

}  // namespace

template <class T>
void rbm_half_step(const RbmModel<T>& model, const RbmHalfStep<T>& s, const RbmKey& key, const T* packed,
                   Context& context) {
  const RbmSide<T>& to = s.up ? model.hidden : model.visible;
  if (s.rows == 0 || to.count == 0) return;
  const PhiloxStream stream = stream_of(key, s.up);
  const Finish<T> finish{&s, to.variance, to.count, to.choice, to.unit, model.exact, stream};
  if (model.exact)
    exact_product(model, s, finish, context);
  else
    product(model, s.up, s.rows, s.x, to.bias, packed, s.mean, finish, context);
  if (to.unit == RbmUnit::softmax || to.choice) softmax_rows(to, s, stream, context);
}

namespace {

template <class T>
void gibbs(const RbmModel<T>& model, const RbmChains<T>& c, const RbmKey& key, const T* packed, Context& context) {
  RbmKey now = key;
  if (c.rows > 0) {
    T* state = c.from_data && c.sample_hidden ? c.h : nullptr;
    rbm_half_step<T>(model, {c.rows, true, c.data, nullptr, c.data_clamp, c.data_mean, state, nullptr}, now, packed,
                     context);
    if (c.from_data && !c.sample_hidden)
      ::memcpy(c.h, c.data_mean, static_cast<size_t>(c.rows * model.hidden.count) * sizeof(T));
  }
  for (int64_t i = 0; i < c.steps; ++i) {
    ++now.step;
    rbm_half_step<T>(
        model, {c.chains, false, c.h, c.beta, c.visible_clamp, c.v_mean, c.sample_visible ? c.v : nullptr, c.v_fed},
        now, packed, context);
    rbm_half_step<T>(model,
                     {c.chains, true, c.v_fed ? c.v_fed : c.v, c.beta, c.hidden_clamp, c.h_mean,
                      c.sample_hidden ? c.h : nullptr, nullptr},
                     now, packed, context);
  }
}

}  // namespace

extern const RbmKernels<float> rbm_f32;
const RbmKernels<float> rbm_f32 = {
    packed_size,       pack<float>,           rbm_half_step<float>, gibbs<float>, rbm_free_energy<float>,
    rbm_anneal<float>, rbm_statistics<float>, rbm_swap<float>};
#ifdef DC_ISA_SCALAR
extern const RbmKernels<double> rbm_f64;
const RbmKernels<double> rbm_f64 = {
    packed_size,        pack<double>,           rbm_half_step<double>, gibbs<double>, rbm_free_energy<double>,
    rbm_anneal<double>, rbm_statistics<double>, rbm_swap<double>};
#endif

}  // namespace dc::DC_ISA
