// Sums over restricted Boltzmann machines: free energy, annealing, statistics of both phases, swaps of temperatures;
// formulas: kernels/rbm.h. Products finish their blocks in L1 as those of half steps do; what is summed over rows is
// summed by vectors in the order of the rows. Tasks are blocks of rows or of columns.
#include "cpu/rbm_product.h"
#include "cpu/simd/random_vec.h"

namespace dc::DC_ISA {
namespace {

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

}  // namespace

template <class T>
void rbm_free_energy(const RbmModel<T>& model, int64_t rows, const T* x, T* z, T* f, Context& context) {
  const int64_t hidden = model.hidden.count, visible = model.visible.count;
  const auto finish = [&](int64_t row, int64_t count, int64_t column, int64_t n) {
    for_block(row, count, column, n, hidden, [&](int64_t at, int64_t width) {
      for_vectors<T>(width, [&](int64_t k, int m) { store_any(z + at + k, softplus(load_any(z + at + k, m)), m); });
    });
  };
  if (rows > 0 && hidden > 0) product<T>(model, true, rows, x, model.hidden.bias, nullptr, z, finish, context);
  parallel_for(context, rows, kRbmRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      f[i] = -row_dot(x + i * visible, model.visible.bias, visible) - row_sum(z + i * hidden, hidden);
  });
}

template <class T>
void rbm_anneal(const RbmModel<T>& model, const RbmAnnealing<T>& a, const RbmKey& key, const T* packed,
                Context& context) {
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
            store_any(a.h + at + k, keep_where(lt(unit<T>(w + k), sigmoid(cool)), Vec<T>::set(T(1))), m);
          });
        }
    };
    if (hidden > 0)
      product(model, true, a.chains, a.v_fed ? a.v_fed : a.v, model.hidden.bias, packed, a.h_mean, finish, context);
    parallel_for(context, a.chains, kRbmRowsPerTask, [&](int64_t begin, int64_t end) {
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
    rbm_half_step<T>(now, {a.chains, false, a.h, nullptr, {}, a.v, a.v, a.v_fed}, step, packed, context);
  }
}

namespace {

// One side of the statistics: gw, gb and gc gain factor times the sums of h v^T, v and h over its rows.
template <class T>
struct Phase {
  int64_t rows;
  const T *v, *h;
  T factor;
};

// sums[j] = the sum over both phases of factor * x[:, j].
template <class T>
void column_sums(const Phase<T> (&phases)[2], bool visible, int64_t count, T* sums, Context& context) {
  constexpr int64_t columns = 128;
  parallel_for(context, count, columns, [&](int64_t begin, int64_t end) {
    for_vectors<T>(end - begin, [&](int64_t k, int m) {
      Vec<T> sum = Vec<T>::zero();
      for (const Phase<T>& phase : phases) {
        const T* x = (visible ? phase.v : phase.h) + begin + k;
        for (int64_t i = 0; i < phase.rows; ++i) sum = fma(Vec<T>::set(phase.factor), load_any(x + i * count, m), sum);
      }
      store_any(sums + begin + k, sum, m);
    });
  });
}

// gw = the phases whose visible states are bits: for each panel of hidden units v^T h by sums of rows of h, stored
// across.
template <class T>
void bit_statistics(const Phase<T>* phases, const BitRows<T>* bits, int count, int64_t visible, int64_t hidden, T* gw,
                    Context& context) {
  for_bit_blocks<T>(hidden, visible, context, [&](auto column, auto n, auto row, auto rows, const auto& scratch) {
    alignas(64) const T start[kTileColumns] = {};
    for (int i = 0; i < count; ++i)
      bit_panel(bits[i], row, rows, phases[i].rows, phases[i].h + column, hidden, 1, n, phases[i].factor,
                i == 0 ? start : nullptr, scratch);
    store_transposed(scratch.c, int64_t{kTileColumns}, rows, n, gw + column * visible + row, visible);
  });
}

}  // namespace

template <class T>
void rbm_statistics(const RbmModel<T>& model, int64_t rows, const T* v0, const T* h0, int64_t chains, const T* v1,
                    const T* h1, T* scratch, T* gw, T* gb, T* gc, Context& context) {
  const int64_t visible = model.visible.count, hidden = model.hidden.count;
  const Phase<T> phases[2] = {{rows, v0, h0, rows ? T(-1) / static_cast<T>(rows) : T(0)},
                              {chains, v1, h1, chains ? T(1) / static_cast<T>(chains) : T(0)}};
  column_sums(phases, true, visible, gb, context);
  column_sums(phases, false, hidden, gc, context);
  if (visible == 0 || hidden == 0) return;

  // Phases of bits, and one product over the rows of the others.
  auto* words = static_cast<uint32_t*>(
      thread_scratch(0, static_cast<size_t>((bit_words(rows) + bit_words(chains)) * visible) * sizeof(uint32_t)));
  Phase<T> by_bits[2] = {};
  BitRows<T> bits[2] = {};
  int count = 0;
  int64_t others = 0;
  T* v = scratch;
  T* h = scratch + (rows + chains) * visible;
  for (const Phase<T>& phase : phases) {
    const T value = value_of_bits(phase.v, phase.rows * visible);
    if (visible >= kLeastBitRows && phase.rows > 0 &&
        bits_of_columns(phase.v, phase.rows, visible, value, words, context)) {
      by_bits[count] = phase;
      bits[count++] = {words, visible, value};
      words += bit_words(phase.rows) * visible;
      continue;
    }
    parallel_for(context, phase.rows, kRbmRowsPerTask, [&](int64_t begin, int64_t end) {
      ::memcpy(v + (others + begin) * visible, phase.v + begin * visible,
               static_cast<size_t>((end - begin) * visible) * sizeof(T));
      const Vec<T> factor = Vec<T>::set(phase.factor);
      for_vectors<T>((end - begin) * hidden, [&](int64_t k, int m) {
        store_any(h + (others + begin) * hidden + k, load_any(phase.h + begin * hidden + k, m) * factor, m);
      });
    });
    others += phase.rows;
  }
  // Bits first: the other product takes their memory.
  if (count > 0) bit_statistics(by_bits, bits, count, visible, hidden, gw, context);
  if (others == 0 && count > 0) return;
  MatmulShape p{};
  p.m = hidden;
  p.n = visible;
  p.k = others;
  p.a_row = 1;
  p.a_col = hidden;
  p.b_row = visible;
  p.b_col = 1;
  p.c_row = visible;
  p.accumulate = count > 0;
  Product<T>(p, h, v, nullptr, nullptr, gw).compute(context);
}

template <class T>
void rbm_swap(int64_t chains, int64_t copies, int64_t parity, int64_t width, const T* beta, const T* energy, T* h,
              T* swapped, const RbmKey& key, Context& context) {
  for (int64_t i = 0; i < chains; ++i) swapped[i] = T(0);
  const int64_t temperatures = copies ? chains / copies : 0, pairs = max64(0, (temperatures - parity) / 2) * copies;
  parallel_for(context, pairs, kRbmRowsPerTask, [&](int64_t begin, int64_t end) {
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

template void rbm_free_energy(const RbmModel<float>&, int64_t, const float*, float*, float*, Context&);
template void rbm_anneal(const RbmModel<float>&, const RbmAnnealing<float>&, const RbmKey&, const float*, Context&);
template void rbm_statistics(const RbmModel<float>&, int64_t, const float*, const float*, int64_t, const float*,
                             const float*, float*, float*, float*, float*, Context&);
template void rbm_swap(int64_t, int64_t, int64_t, int64_t, const float*, const float*, float*, float*, const RbmKey&,
                       Context&);
#ifdef DC_ISA_SCALAR
template void rbm_free_energy(const RbmModel<double>&, int64_t, const double*, double*, double*, Context&);
template void rbm_anneal(const RbmModel<double>&, const RbmAnnealing<double>&, const RbmKey&, const double*, Context&);
template void rbm_statistics(const RbmModel<double>&, int64_t, const double*, const double*, int64_t, const double*,
                             const double*, double*, double*, double*, double*, Context&);
template void rbm_swap(int64_t, int64_t, int64_t, int64_t, const double*, const double*, double*, double*,
                       const RbmKey&, Context&);
#endif

}  // namespace dc::DC_ISA
