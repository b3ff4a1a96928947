// Indexing: copies of rows chosen by int64 indices and the sums that undo them.
// take_grad (embedding gradient) first sorts the positions j by destination with a counting sort, then each
// destination row adds its terms in order of j and is written once: parallel over destinations, no atomics, the same
// bits for any number of threads. Bound: memory bandwidth; lanes run along the inner dimension.
#include "kernels/index.h"

#include "core/parallel.h"
#include "cpu/simd/vec_int.h"

namespace dc::DC_ISA {

namespace {

constexpr int64_t kElementsPerTask = 32768;

int64_t grain(int64_t elements_each) { return kElementsPerTask / (elements_each + 1) + 1; }

template <class T>
DC_INLINE void copy_row(const T* from, int64_t n, T* to) {
  if (n * static_cast<int64_t>(sizeof(T)) > 256)
    ::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
  else
    for_vectors<T>(n, [&](int64_t k, int m) { store_any(to + k, load_any(from + k, m), m); });
}

template <class T>
void take(const AxisShape& s, int64_t m, const T* x, const int64_t* index, T* y, Context& context) {
  parallel_for(context, s.outer * m, grain(s.inner), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t o = row / m, j = row % m;
      copy_row(x + (o * s.n + index[j]) * s.inner, s.inner, y + row * s.inner);
    }
  });
}

template <class T>
void take_grad(const AxisShape& s, int64_t m, const T* g, const int64_t* index, T* gx, Context& context) {
  // start[d] .. start[d + 1]: where the positions with destination d lie in `order`.
  int64_t* start = static_cast<int64_t*>(thread_scratch(3, static_cast<size_t>(s.n + 1 + m) * sizeof(int64_t)));
  int64_t* order = start + s.n + 1;
  for (int64_t d = 0; d <= s.n; ++d) start[d] = 0;
  for (int64_t j = 0; j < m; ++j) ++start[index[j] + 1];
  for (int64_t d = 0; d < s.n; ++d) start[d + 1] += start[d];
  for (int64_t j = 0; j < m; ++j) order[start[index[j]]++] = j;
  for (int64_t d = s.n; d > 0; --d) start[d] = start[d - 1];
  if (s.n > 0) start[0] = 0;
  parallel_for(context, s.outer * s.n, grain(s.inner), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t o = row / s.n, d = row % s.n, first = start[d], last = start[d + 1];
      T* to = gx + row * s.inner;
      const T* from = g + o * m * s.inner;
      for_vectors<T>(s.inner, [&](int64_t k, int lanes) {
        Vec<T> sum = Vec<T>::zero();
        for (int64_t p = first; p < last; ++p) sum = sum + load_any(from + order[p] * s.inner + k, lanes);
        store_any(to + k, sum, lanes);
      });
    }
  });
}

template <class T>
void take_along(const AxisShape& s, int64_t m, const T* x, const int64_t* index, T* y, Context& context) {
  parallel_for(context, s.outer * m, grain(s.inner), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x + row / m * s.n * s.inner;
      for (int64_t i = 0; i < s.inner; ++i) y[row * s.inner + i] = from[index[row * s.inner + i] * s.inner + i];
    }
  });
}

template <class T>
void take_along_grad(const AxisShape& s, int64_t m, const T* g, const int64_t* index, T* gx, Context& context) {
  parallel_for(context, s.outer, grain((s.n + m) * s.inner), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      T* to = gx + o * s.n * s.inner;
      ::memset(to, 0, static_cast<size_t>(s.n * s.inner) * sizeof(T));
      for (int64_t j = 0; j < m; ++j) {
        const int64_t row = (o * m + j) * s.inner;
        for (int64_t i = 0; i < s.inner; ++i) to[index[row + i] * s.inner + i] += g[row + i];
      }
    }
  });
}

template <class T>
void one_hot(int64_t rows, int64_t c, T on, T off, const int64_t* index, T* y, Context& context) {
  parallel_for(context, rows, grain(c), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin * c; k < end * c; ++k) y[k] = off;
    for (int64_t row = begin; row < end; ++row)
      if (index[row] >= 0 && index[row] < c) y[row * c + index[row]] = on;
  });
}

// sign = 1: argmax, -1: argmin of x = argmax of -x.
template <class T, int kSign>
void arg_extreme(const AxisShape& s, const T* x, int64_t* index, Context& context) {
  constexpr int W = Vec<T>::W;
  const auto load = [](const T* p, int m) {
    const Vec<T> v = load_any(p, m);
    return kSign > 0 ? v : -v;
  };
  // Each lane keeps its first extreme; NaN beats numbers and keeps its place.
  const auto improve = [](Vec<T>& best, VecI& where, Vec<T> v, VecI at) {
    const auto wins = mask_and(mask_or(gt(v, best), isnan(v)), eq(best, best));
    best = select(wins, v, best);
    where = select(wins, at, where);
  };
  if (s.inner == 1) {
    parallel_for(context, s.outer, grain(s.n), [&](int64_t begin, int64_t end) {
      alignas(64) T bests[W];
      alignas(64) int32_t places[W];
      for (int64_t row = begin; row < end; ++row) {
        const T* from = x + row * s.n;
        T top = kSign > 0 ? from[0] : -from[0];
        int64_t place = 0, k = 0;
        if (s.n >= 2 * W) {
          Vec<T> best = load(from, W);
          VecI where = VecI::set(0);
          for (k = W; k + W <= s.n; k += W) improve(best, where, load(from + k, W), VecI::set(static_cast<int32_t>(k)));
          best.store(bests);
          where.store(places);
          for (int lane = 0; lane < W; ++lane) {
            const int64_t at = places[lane] + lane;
            const bool nan = bests[lane] != bests[lane], top_nan = top != top;
            const bool better =
                nan ? !top_nan || at < place : !top_nan && (bests[lane] > top || (bests[lane] == top && at < place));
            if (lane == 0 || better) top = bests[lane], place = at;
          }
        }
        for (; k < s.n; ++k) {
          const T v = kSign > 0 ? from[k] : -from[k];
          if (top == top && (v > top || v != v)) top = v, place = k;
        }
        index[row] = place;
      }
    });
    return;
  }
  const int64_t blocks = (s.inner + W - 1) / W;
  parallel_for(context, s.outer * blocks, grain(s.n * W), [&](int64_t begin, int64_t end) {
    alignas(64) int32_t places[W];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t o = task / blocks, i = task % blocks * W;
      const int m = s.inner - i < W ? static_cast<int>(s.inner - i) : W;
      const T* from = x + o * s.n * s.inner + i;
      Vec<T> best = load(from, m);
      VecI where = VecI::set(0);
      for (int64_t k = 1; k < s.n; ++k)
        improve(best, where, load(from + k * s.inner, m), VecI::set(static_cast<int32_t>(k)));
      where.store(places);
      for (int lane = 0; lane < m; ++lane) index[o * s.inner + i + lane] = places[lane];
    }
  });
}

// ---- running sums ----

template <class T>
void cumsum(const AxisShape& s, bool reverse, const T* x, T* y, Context& context) {
  constexpr int W = Vec<T>::W;
  const int64_t step = reverse ? -s.inner : s.inner, first = reverse ? (s.n - 1) * s.inner : 0;
  if (s.inner == 1) {
    parallel_for(context, s.outer, grain(s.n), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        T sum = T(0);
        for (int64_t k = 0, at = o * s.n + first; k < s.n; ++k, at += step) y[at] = sum += x[at];
      }
    });
    return;
  }
  const int64_t blocks = (s.inner + W - 1) / W;
  parallel_for(context, s.outer * blocks, grain(s.n * W), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t i = task % blocks * W;
      const int m = s.inner - i < W ? static_cast<int>(s.inner - i) : W;
      Vec<T> sum = Vec<T>::zero();
      for (int64_t k = 0, at = task / blocks * s.n * s.inner + i + first; k < s.n; ++k, at += step) {
        sum = sum + load_any(x + at, m);
        store_any(y + at, sum, m);
      }
    }
  });
}

// ---- order ----

template <class T>
struct KeyOf;
template <>
struct KeyOf<float> {
  using Bits = uint32_t;
};
template <>
struct KeyOf<double> {
  using Bits = uint64_t;
};

// Unsigned integers in the order of the numbers: -0 equals 0, every NaN equals the largest.
template <class T>
typename KeyOf<T>::Bits key_of(T x, bool descending) {
  using Bits = typename KeyOf<T>::Bits;
  constexpr Bits top = Bits(1) << (sizeof(Bits) * 8 - 1);
  Bits bits = ~Bits(0);
  if (x == x) {
    if (x == T(0)) x = T(0);
    ::memcpy(&bits, &x, sizeof bits);
    bits = bits & top ? ~bits : bits | top;
  }
  return descending ? ~bits : bits;
}

template <class Bits>
struct Item {
  Bits key;
  uint32_t at;
};

template <class Bits>
void insertion_sort(Item<Bits>* items, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const Item<Bits> item = items[i];
    int64_t j = i;
    for (; j > 0 && items[j - 1].key > item.key; --j) items[j] = items[j - 1];
    items[j] = item;
  }
}

// Byte by byte from the lowest, each pass stable; bytes that are all equal are skipped. Returns where the result lies.
template <class Bits>
Item<Bits>* radix_sort(Item<Bits>* items, Item<Bits>* other, int64_t n) {
  for (unsigned shift = 0; shift < sizeof(Bits) * 8; shift += 8) {
    uint32_t place[257] = {};
    for (int64_t i = 0; i < n; ++i) ++place[(items[i].key >> shift & 255) + 1];
    if (place[(items[0].key >> shift & 255) + 1] == static_cast<uint32_t>(n)) continue;
    for (int b = 0; b < 256; ++b) place[b + 1] += place[b];
    for (int64_t i = 0; i < n; ++i) other[place[items[i].key >> shift & 255]++] = items[i];
    Item<Bits>* swap = items;
    items = other;
    other = swap;
  }
  return items;
}

constexpr int64_t kInsertionLimit = 48;

template <class T>
void first_sorted(int64_t rows, int64_t n, int64_t k, bool descending, const T* x, T* values, int64_t* index,
                  Context& context) {
  using Entry = Item<typename KeyOf<T>::Bits>;
  if (n == 0 || k == 0) return;
  parallel_for(context, rows, grain(n * 8), [&](int64_t begin, int64_t end) {
    Entry* items = static_cast<Entry*>(thread_scratch(5, static_cast<size_t>(2 * n) * sizeof(Entry)));
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x + row * n;
      Entry* sorted = items;
      if (k < n && k <= kInsertionLimit) {
        // The k best so far, sorted; most elements fail the one comparison with the worst of them.
        int64_t held = 0;
        for (int64_t i = 0; i < n; ++i) {
          const Entry item = {key_of(from[i], descending), static_cast<uint32_t>(i)};
          if (held == k && item.key >= items[k - 1].key) continue;
          int64_t j = held < k ? held++ : k - 1;
          for (; j > 0 && items[j - 1].key > item.key; --j) items[j] = items[j - 1];
          items[j] = item;
        }
      } else {
        for (int64_t i = 0; i < n; ++i) items[i] = {key_of(from[i], descending), static_cast<uint32_t>(i)};
        if (n <= kInsertionLimit)
          insertion_sort(items, n);
        else
          sorted = radix_sort(items, items + n, n);
      }
      for (int64_t i = 0; i < k; ++i) {
        if (index) index[row * k + i] = sorted[i].at;
        if (values) values[row * k + i] = from[sorted[i].at];
      }
    }
  });
}

template <class T>
void sort(int64_t rows, int64_t n, bool descending, const T* x, T* values, int64_t* index, Context& context) {
  first_sorted(rows, n, n, descending, x, values, index, context);
}

}  // namespace

extern const IndexKernels<float> index_f32;
const IndexKernels<float> index_f32 = {
    take<float>,           take_grad<float>,       take_along<float>, take_along_grad<float>, one_hot<float>,
    arg_extreme<float, 1>, arg_extreme<float, -1>, sort<float>,       first_sorted<float>,    cumsum<float>};
#ifdef DC_ISA_SCALAR
extern const IndexKernels<double> index_f64;
const IndexKernels<double> index_f64 = {
    take<double>,           take_grad<double>,       take_along<double>, take_along_grad<double>, one_hot<double>,
    arg_extreme<double, 1>, arg_extreme<double, -1>, sort<double>,       first_sorted<double>,    cumsum<double>};
#endif

}  // namespace dc::DC_ISA
