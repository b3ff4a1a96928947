// Optimizer steps: one pass over parameter, gradient and states, in place; formulas in kernels/optim.h.
// All tensors of a list are cut into pieces of at most kPieceElements, and the pieces are one parallel loop: many small
// tensors cost no more than one large one. Sums go piece by piece into doubles that are added in order of the pieces.
// Bound: memory bandwidth (Adam: four reads and three writes per element).
#include "kernels/optim.h"

#include "core/parallel.h"
#include "cpu/simd/vec_int.h"

namespace dc::DC_ISA {

namespace {

constexpr int64_t kPieceElements = 16384;

struct Piece {
  int64_t tensor, begin, end;
};

// f(piece number, piece) for all pieces; returns how many there are.
template <class T, class F>
int64_t for_pieces(const TensorList<T>& list, Context& context, const F& f) {
  int64_t count = 0, elements = 0;
  for (int64_t i = 0; i < list.count; ++i) {
    count += (list.size[i] + kPieceElements - 1) / kPieceElements;
    elements += list.size[i];
  }
  Piece* pieces = static_cast<Piece*>(thread_scratch(3, static_cast<size_t>(count) * sizeof(Piece)));
  for (int64_t i = 0, at = 0; i < list.count; ++i)
    for (int64_t begin = 0; begin < list.size[i]; begin += kPieceElements)
      pieces[at++] = {i, begin, scalar_min(begin + kPieceElements, list.size[i])};
  parallel_for(context, count, elements <= 2 * kPieceElements ? count : 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i, pieces[i]);
  });
  return count;
}

// update(p, g, s0, s1, s2) on registers; the first kStates states are loaded and stored.
template <int kStates, class T, class Update>
void step(const TensorList<T>& list, const StepCommon<T>& common, Context& context, const Update& update) {
  const Vec<T> grad_scale = Vec<T>::set(common.grad_scale), l2 = Vec<T>::set(common.l2),
               keep = Vec<T>::set(common.keep);
  for_pieces(list, context, [&](int64_t, const Piece& piece) {
    const int64_t i = piece.tensor;
    T* param = list.param[i] + piece.begin;
    const T* grad = list.grad[i] + piece.begin;
    T* s0 = kStates > 0 ? list.state[0][i] + piece.begin : nullptr;
    T* s1 = kStates > 1 ? list.state[1][i] + piece.begin : nullptr;
    T* s2 = kStates > 2 ? list.state[2][i] + piece.begin : nullptr;
    for_vectors<T>(piece.end - piece.begin, [&](int64_t k, int m) {
      Vec<T> p = load_any(param + k, m), a = Vec<T>::zero(), b = a, c = a;
      const Vec<T> g = fma(l2, p, load_any(grad + k, m) * grad_scale);
      p = p * keep;
      if (kStates > 0) a = load_any(s0 + k, m);
      if (kStates > 1) b = load_any(s1 + k, m);
      if (kStates > 2) c = load_any(s2 + k, m);
      update(p, g, a, b, c);
      store_any(param + k, p, m);
      if (kStates > 0) store_any(s0 + k, a, m);
      if (kStates > 1) store_any(s1 + k, b, m);
      if (kStates > 2) store_any(s2 + k, c, m);
    });
  });
}

template <class T>
void sgd(const TensorList<T>& list, const SgdStep<T>& s, Context& context) {
  const Vec<T> rate = Vec<T>::set(s.rate), momentum = Vec<T>::set(s.momentum);
  if (s.momentum == T(0))
    step<0>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>&, Vec<T>&, Vec<T>&) { p = fnma(rate, g, p); });
  else if (s.nesterov)
    step<1>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& v, Vec<T>&, Vec<T>&) {
      v = fma(momentum, v, g);
      p = fnma(rate, fma(momentum, v, g), p);
    });
  else
    step<1>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& v, Vec<T>&, Vec<T>&) {
      v = fma(momentum, v, g);
      p = fnma(rate, v, p);
    });
}

template <class T>
void adagrad(const TensorList<T>& list, const AdagradStep<T>& s, Context& context) {
  const Vec<T> rate = Vec<T>::set(s.rate), epsilon = Vec<T>::set(s.epsilon);
  step<1>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& sum, Vec<T>&, Vec<T>&) {
    sum = fma(g, g, sum);
    p = p - rate * g / (sqrt(sum) + epsilon);
  });
}

// decay a + (1 - decay) b
template <class T>
DC_INLINE Vec<T> blend(Vec<T> decay, Vec<T> rest, Vec<T> a, Vec<T> b) {
  return fma(decay, a, rest * b);
}

template <class T>
void rmsprop(const TensorList<T>& list, const RmspropStep<T>& s, Context& context) {
  const Vec<T> rate = Vec<T>::set(s.rate), epsilon = Vec<T>::set(s.epsilon), momentum = Vec<T>::set(s.momentum);
  const Vec<T> decay = Vec<T>::set(s.decay), rest = Vec<T>::set(T(1) - s.decay);
  const bool centred = s.centred;
  const auto ratio = [=](Vec<T> g, Vec<T>& square, Vec<T>& mean) {
    square = blend(decay, rest, square, g * g);
    if (!centred) return g / (sqrt(square) + epsilon);
    mean = blend(decay, rest, mean, g);
    // Rounding may leave a tiny negative variance.
    return g / (sqrt(max(fnma(mean, mean, square), Vec<T>::zero())) + epsilon);
  };
  if (s.momentum != T(0) && centred)
    step<3>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& square, Vec<T>& mean, Vec<T>& v) {
      v = fma(momentum, v, ratio(g, square, mean));
      p = fnma(rate, v, p);
    });
  else if (s.momentum != T(0)) {
    TensorList<T> two = list;  // square and v; the mean is not there
    two.state[1] = list.state[2];
    step<2>(two, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& square, Vec<T>& v, Vec<T>& none) {
      v = fma(momentum, v, ratio(g, square, none));
      p = fnma(rate, v, p);
    });
  } else if (centred)
    step<2>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& square, Vec<T>& mean, Vec<T>&) {
      p = fnma(rate, ratio(g, square, mean), p);
    });
  else
    step<1>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& square, Vec<T>& none, Vec<T>&) {
      p = fnma(rate, ratio(g, square, none), p);
    });
}

template <class T>
void adadelta(const TensorList<T>& list, const AdadeltaStep<T>& s, Context& context) {
  const Vec<T> rate = Vec<T>::set(s.rate), epsilon = Vec<T>::set(s.epsilon);
  const Vec<T> decay = Vec<T>::set(s.decay), rest = Vec<T>::set(T(1) - s.decay);
  step<2>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& square, Vec<T>& moved, Vec<T>&) {
    square = blend(decay, rest, square, g * g);
    const Vec<T> d = g * (sqrt(moved + epsilon) / sqrt(square + epsilon));
    moved = blend(decay, rest, moved, d * d);
    p = fnma(rate, d, p);
  });
}

template <class T>
void adam(const TensorList<T>& list, const AdamStep<T>& s, Context& context) {
  const Vec<T> rate = Vec<T>::set(s.rate), rate_g = Vec<T>::set(s.rate_g), epsilon = Vec<T>::set(s.epsilon);
  const Vec<T> beta1 = Vec<T>::set(s.beta1), rest1 = Vec<T>::set(T(1) - s.beta1);
  const Vec<T> beta2 = Vec<T>::set(s.beta2), rest2 = Vec<T>::set(T(1) - s.beta2);
  const Vec<T> root_scale = Vec<T>::set(s.root_scale);
  const auto moments = [=](Vec<T> g, Vec<T>& m, Vec<T>& v) {
    m = blend(beta1, rest1, m, g);
    v = blend(beta2, rest2, v, g * g);
    return fma(rate, m, rate_g * g);
  };
  if (!s.adaptive)
    step<2>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& m, Vec<T>& v, Vec<T>&) { p = p - moments(g, m, v); });
  else if (s.amsgrad)
    step<3>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& m, Vec<T>& v, Vec<T>& most) {
      const Vec<T> change = moments(g, m, v);
      most = max(most, v);
      p = p - change / fma(sqrt(most), root_scale, epsilon);
    });
  else
    step<2>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& m, Vec<T>& v, Vec<T>&) {
      const Vec<T> change = moments(g, m, v);
      p = p - change / fma(sqrt(v), root_scale, epsilon);
    });
}

template <class T>
void lion(const TensorList<T>& list, const LionStep<T>& s, Context& context) {
  const Vec<T> rate = Vec<T>::set(s.rate), zero = Vec<T>::zero();
  const Vec<T> beta1 = Vec<T>::set(s.beta1), rest1 = Vec<T>::set(T(1) - s.beta1);
  const Vec<T> beta2 = Vec<T>::set(s.beta2), rest2 = Vec<T>::set(T(1) - s.beta2);
  step<1>(list, s, context, [=](Vec<T>& p, Vec<T> g, Vec<T>& m, Vec<T>&, Vec<T>&) {
    const Vec<T> direction = blend(beta1, rest1, m, g);
    const Vec<T> change = select(gt(direction, zero), rate, select(lt(direction, zero), -rate, zero));
    // NaN compares false: keep it visible instead of standing still.
    p = p - select(isnan(direction), direction, change);
    m = blend(beta2, rest2, m, g);
  });
}

template <class T>
double sum_of_squares(const T* x, int64_t n) {
  constexpr int W = Vec<T>::W;
  Vec<T> s0 = Vec<T>::zero(), s1 = s0, s2 = s0, s3 = s0;
  int64_t k = 0;
  for (; k + 4 * W <= n; k += 4 * W) {
    const Vec<T> a = Vec<T>::load(x + k), b = Vec<T>::load(x + k + W);
    const Vec<T> c = Vec<T>::load(x + k + 2 * W), d = Vec<T>::load(x + k + 3 * W);
    s0 = fma(a, a, s0);
    s1 = fma(b, b, s1);
    s2 = fma(c, c, s2);
    s3 = fma(d, d, s3);
  }
  for (; k < n; k += W) {
    const Vec<T> a = load_any(x + k, static_cast<int>(scalar_min<int64_t>(W, n - k)));
    s0 = fma(a, a, s0);
  }
  return static_cast<double>(((s0 + s1) + (s2 + s3)).sum());
}

template <class T>
void squared_norms(const TensorList<T>& list, double* squares, Context& context) {
  int64_t most = 0;
  for (int64_t i = 0; i < list.count; ++i) most += (list.size[i] + kPieceElements - 1) / kPieceElements;
  double* partial = static_cast<double*>(thread_scratch(4, static_cast<size_t>(most) * sizeof(double)));
  for_pieces(list, context, [&](int64_t number, const Piece& piece) {
    partial[number] = sum_of_squares(list.grad[piece.tensor] + piece.begin, piece.end - piece.begin);
  });
  for (int64_t i = 0, at = 0; i < list.count; ++i) {
    squares[i] = 0;
    for (int64_t begin = 0; begin < list.size[i]; begin += kPieceElements) squares[i] += partial[at++];
  }
}

template <class T>
void scale(const TensorList<T>& list, T factor, Context& context) {
  const Vec<T> by = Vec<T>::set(factor);
  for_pieces(list, context, [&](int64_t, const Piece& piece) {
    T* x = list.param[piece.tensor] + piece.begin;
    for_vectors<T>(piece.end - piece.begin, [&](int64_t k, int m) { store_any(x + k, load_any(x + k, m) * by, m); });
  });
}

template <class T>
void average(const TensorList<T>& list, T decay, Context& context) {
  const Vec<T> rest = Vec<T>::set(T(1) - decay);
  for_pieces(list, context, [&](int64_t, const Piece& piece) {
    const T* x = list.param[piece.tensor] + piece.begin;
    T* mean = list.state[0][piece.tensor] + piece.begin;
    for_vectors<T>(piece.end - piece.begin, [&](int64_t k, int m) {
      const Vec<T> old = load_any(mean + k, m);
      store_any(mean + k, fma(rest, load_any(x + k, m) - old, old), m);
    });
  });
}

template <class T>
void all_finite(const TensorList<T>& list, uint8_t* finite, Context& context) {
  int64_t most = 0;
  for (int64_t i = 0; i < list.count; ++i) most += (list.size[i] + kPieceElements - 1) / kPieceElements;
  uint8_t* good = static_cast<uint8_t*>(thread_scratch(4, static_cast<size_t>(most)));
  for_pieces(list, context, [&](int64_t number, const Piece& piece) {
    const T* x = list.grad[piece.tensor] + piece.begin;
    Vec<T> sum = Vec<T>::zero();  // x * 0 is 0, or NaN where x is not finite
    for_vectors<T>(piece.end - piece.begin,
                   [&](int64_t k, int m) { sum = fma(load_any(x + k, m), Vec<T>::zero(), sum); });
    good[number] = sum.sum() == T(0);
  });
  for (int64_t i = 0, at = 0; i < list.count; ++i) {
    finite[i] = 1;
    for (int64_t begin = 0; begin < list.size[i]; begin += kPieceElements) finite[i] &= good[at++];
  }
}

template <class T>
T shrink_factor(double square, T limit) {
  const double norm = ::sqrt(square);
  return norm > static_cast<double>(limit) ? static_cast<T>(static_cast<double>(limit) / norm) : T(1);
}

template <class T>
void max_norm(int64_t outer, int64_t units, int64_t inner, T limit, T* w, Context& context) {
  if (inner == 1) {  // units are columns: lanes over units
    constexpr int64_t block = 4 * Vec<T>::W;
    parallel_for(context, units, scalar_max<int64_t>(block, 32768 / (outer + 1) / block * block),
                 [&](int64_t begin, int64_t end) {
                   for_vectors<T>(end - begin, [&](int64_t k, int m) {
                     T* column = w + begin + k;
                     Vec<T> sum = Vec<T>::zero();
                     for (int64_t i = 0; i < outer; ++i) {
                       const Vec<T> v = load_any(column + i * units, m);
                       sum = fma(v, v, sum);
                     }
                     const Vec<T> norm = sqrt(sum), bound = Vec<T>::set(limit), one = Vec<T>::set(T(1));
                     const auto large = gt(norm, bound);
                     const Vec<T> factor = select(large, bound / select(large, norm, one), one);
                     for (int64_t i = 0; i < outer; ++i)
                       store_any(column + i * units, load_any(column + i * units, m) * factor, m);
                   });
                 });
    return;
  }
  parallel_for(context, units, 1 + 16384 / (outer * inner + 1), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      double sum = 0;
      for (int64_t i = 0; i < outer; ++i) sum += sum_of_squares(w + (i * units + u) * inner, inner);
      const T factor = shrink_factor(sum, limit);
      for (int64_t i = 0; factor != T(1) && i < outer; ++i) {
        T* row = w + (i * units + u) * inner;
        for_vectors<T>(inner,
                       [&](int64_t k, int m) { store_any(row + k, load_any(row + k, m) * Vec<T>::set(factor), m); });
      }
    }
  });
}

}  // namespace

extern const OptimKernels<float> optim_f32;
const OptimKernels<float> optim_f32 = {sgd<float>,     adagrad<float>,    rmsprop<float>,       adadelta<float>,
                                       adam<float>,    lion<float>,       squared_norms<float>, scale<float>,
                                       average<float>, all_finite<float>, max_norm<float>};
#ifdef DC_ISA_SCALAR
extern const OptimKernels<double> optim_f64;
const OptimKernels<double> optim_f64 = {sgd<double>,     adagrad<double>,    rmsprop<double>,       adadelta<double>,
                                        adam<double>,    lion<double>,       squared_norms<double>, scale<double>,
                                        average<double>, all_finite<double>, max_norm<double>};
#endif

}  // namespace dc::DC_ISA
