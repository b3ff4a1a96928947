// Random arrays; kernels/random.h says which bits make which element.
// Chunks of kElementsPerTask elements start at block boundaries, so a chunk needs only its index. Each step fills a
// small buffer of random words (cpu/simd/philox_vec.h) that stays in L1 and turns it into as many results.
// Bound: the ten rounds, about one register operation per 16 random bits; dropout takes 16 bits per element, which
// brings it near memory bandwidth.
#include "kernels/random.h"

#include "core/parallel.h"
#include "cpu/simd/philox_vec.h"
#include "cpu/simd/random_vec.h"

namespace dc::DC_ISA {

namespace {

constexpr int64_t kElementsPerTask = 16384;
constexpr int kWords = PhiloxStream::kWords;

// f(words, first, count): elements [first, first + count) come from `words`, each of `per` half-words;
// count == kWords * 2 / per but at the end.
template <int kHalfWordsPerElement, class F>
void for_random(const RandomKey& key, int64_t n, Context& context, const F& f) {
  constexpr int64_t step = kWords * 2 / kHalfWordsPerElement;
  parallel_for(context, n, kElementsPerTask, [&](int64_t begin, int64_t end) {
    const PhiloxStream philox_stream{key.seed, key.stream};
    alignas(64) uint32_t words[kWords];
    for (int64_t i = begin; i < end; i += step) {
      philox_stream.fill(key.offset + static_cast<uint64_t>(i * kHalfWordsPerElement / 8), words);
      f(static_cast<const uint32_t*>(words), i, end - i < step ? end - i : step);
    }
  });
}

void bits(const RandomKey& key, int64_t n, uint32_t* y, Context& context) {
  for_random<2>(key, n, context, [&](const uint32_t* words, int64_t first, int64_t count) {
    ::memcpy(y + first, words, static_cast<size_t>(count) * sizeof(uint32_t));
  });
}

template <class T>
void uniform(const RandomKey& key, int64_t n, T low, T high, T* y, Context& context) {
  const T range = high - low,
          most = static_cast<T>(sizeof(T) == 4 ? ::nextafterf(static_cast<float>(high), static_cast<float>(low))
                                               : ::nextafter(static_cast<double>(high), static_cast<double>(low)));
  if constexpr (sizeof(T) == 8) {
    for_random<4>(key, n, context, [&](const uint32_t* words, int64_t first, int64_t count) {
      for (int64_t k = 0; k < count; ++k) y[first + k] = scalar_min(unit53(words + 2 * k) * range + low, most);
    });
  } else {
    // Product and sum are rounded apart: a fused operation would differ between instruction sets.
    for_random<2>(key, n, context, [&](const uint32_t* words, int64_t first, int64_t count) {
      for_vectors<T>(count, [&](int64_t k, int m) {
        store_any(y + first + k, min(unit<T>(words + k) * Vec<T>::set(range) + Vec<T>::set(low), Vec<T>::set(most)), m);
      });
    });
  }
}

template <class T>
void normal(const RandomKey& key, int64_t n, T mean, T deviation, T* y, Context& context) {
  if constexpr (sizeof(T) == 8) {
    for_random<4>(key, n, context, [&](const uint32_t* words, int64_t first, int64_t count) {
      for (int64_t k = 0; k < count; k += 2) {
        const double r = ::sqrt(-2.0 * ::log(unit53(words + 2 * k) + 0x1p-54));
        const double angle = 6.283185307179586476925 * unit53(words + 2 * k + 2);
        y[first + k] = mean + deviation * (r * ::cos(angle));
        if (k + 1 < count) y[first + k + 1] = mean + deviation * (r * ::sin(angle));
      }
    });
  } else {
    constexpr int W = Vec<T>::W;
    const Vec<T> shift = Vec<T>::set(mean), scale = Vec<T>::set(deviation);
    for_random<2>(key, n, context, [&](const uint32_t* words, int64_t first, int64_t count) {
      for (int64_t k = 0; k < count; k += 2 * W) {
        VecF a, b;
        normal_pairs(words + k, a, b);
        a = fma(a, scale, shift);
        b = fma(b, scale, shift);
        const int64_t left = count - k;
        store_any(y + first + k, a, left < W ? static_cast<int>(left) : W);
        if (left > W) store_any(y + first + k + W, b, left < 2 * W ? static_cast<int>(left - W) : W);
      }
    });
  }
}

template <class T>
void bernoulli(const RandomKey& key, int64_t n, T p, T* y, Context& context) {
  const Vec<T> limit = Vec<T>::set(p), one = Vec<T>::set(T(1));
  for_random<2>(key, n, context, [&](const uint32_t* words, int64_t first, int64_t count) {
    for_vectors<T>(
        count, [&](int64_t k, int m) { store_any(y + first + k, keep_where(lt(unit<T>(words + k), limit), one), m); });
  });
}

template <class T>
void bernoulli_each(const RandomKey& key, int64_t n, const T* p, T* y, Context& context) {
  const Vec<T> one = Vec<T>::set(T(1));
  for_random<2>(key, n, context, [&](const uint32_t* words, int64_t first, int64_t count) {
    for_vectors<T>(count, [&](int64_t k, int m) {
      store_any(y + first + k, keep_where(lt(unit<T>(words + k), load_any(p + first + k, m)), one), m);
    });
  });
}

__extension__ typedef unsigned __int128 Wide;

// One thread: the swaps depend on each other.
void permutation(const RandomKey& key, int64_t n, int64_t* y, Context&) {
  for (int64_t i = 0; i < n; ++i) y[i] = i;
  for (int64_t i = n - 1; i > 0; --i) {
    const PhiloxBlock block = philox(key.seed, key.stream, key.offset + static_cast<uint64_t>(i / 2));
    const uint32_t* word = block.word + i % 2 * 2;
    // floor(u (i + 1) / 2^64) for a 64-bit u.
    const uint64_t m = static_cast<uint64_t>(i) + 1;
    const Wide product = static_cast<Wide>(static_cast<uint64_t>(word[1]) << 32 | word[0]) * m;
    const int64_t j = static_cast<int64_t>(product >> 64), held = y[i];
    y[i] = y[j];
    y[j] = held;
  }
}

template <class T>
void dropout(const RandomKey& key, int64_t n, double p, const T* x, T* y, Context& context) {
  int32_t keep = static_cast<int32_t>(::lrint((1.0 - p) * 65536.0));
  if (keep < 1 && p < 1.0) keep = 1;
  if (keep < 1) {
    ::memset(y, 0, static_cast<size_t>(n) * sizeof(T));
    return;
  }
  const Vec<T> scale = Vec<T>::set(static_cast<T>(65536.0 / keep));
  for_random<1>(key, n, context, [&](const uint32_t* words, int64_t first, int64_t count) {
    const uint16_t* half = reinterpret_cast<const uint16_t*>(words);
    for_vectors<T>(count, [&](int64_t k, int m) {
      store_any(y + first + k, keep_where(below(half + k, keep), load_any(x + first + k, m) * scale), m);
    });
  });
}

}  // namespace

extern const RandomKernels<float> random_f32;
const RandomKernels<float> random_f32 = {
    bits, uniform<float>, normal<float>, bernoulli<float>, bernoulli_each<float>, permutation, dropout<float>};
#ifdef DC_ISA_SCALAR
extern const RandomKernels<double> random_f64;
const RandomKernels<double> random_f64 = {
    bits, uniform<double>, normal<double>, bernoulli<double>, bernoulli_each<double>, permutation, dropout<double>};
#endif

}  // namespace dc::DC_ISA
