// Pooling, NHWC: y[n,p,q,c] = max or mean over taps (i,j) of x[n, p*stride_h - pad_top + i*dilation_h, ..., c].
// Lanes run over channels, so a window is a handful of register-wide maxima or sums at a fixed stride and the
// image is read once. The winner is kept as one byte per output (index i*s + j inside the window).
// Backward passes are written as gathers: each image pixel collects from the windows that cover it, in the order of
// the windows, so the result does not depend on threads. Where windows do not overlap (the usual 2x2 stride 2) a
// window owns its pixels and each gradient register is read once and written r*s times, zeros included.
// Split: rows of windows (forward, no overlap) or rows of the image (overlap). Bound: memory bandwidth.
#include "kernels/pool.h"

#include "core/parallel.h"
#include "cpu/simd/vec_int.h"

namespace dc::DC_ISA {

namespace {

constexpr int64_t kElementsPerTask = 32768;

int64_t grain(int64_t row_elements) { return kElementsPerTask / (row_elements + 1) + 1; }

// One dimension of the window grid.
struct Axis {
  int64_t in, out, window, stride, pad, pad_end, dilation;
  bool adaptive;

  int64_t origin(int64_t o) const { return adaptive ? o * in / out : o * stride - pad; }
  // Taps [first, last) of window o lie inside the image.
  int64_t first(int64_t o) const {
    const int64_t z = origin(o);
    return z >= 0 ? 0 : (-z + dilation - 1) / dilation;
  }
  int64_t last(int64_t o) const {
    if (adaptive) return ((o + 1) * in + out - 1) / out - origin(o);
    const int64_t room = (in - origin(o) + dilation - 1) / dilation;
    return room < 0 ? 0 : room < window ? room : window;
  }
  int64_t padded_taps(int64_t o) const {
    if (adaptive) return last(o);
    const int64_t room = (in + pad_end - origin(o) + dilation - 1) / dilation;
    return room < window ? room : window;
  }
  // Windows [cover_begin, cover_end) may hold image position i; tap_at says which tap, or -1.
  int64_t cover_begin(int64_t i) const {
    if (adaptive) return i * out / in;
    const int64_t reach = i + pad - (window - 1) * dilation;
    return reach <= 0 ? 0 : (reach + stride - 1) / stride;
  }
  int64_t cover_end(int64_t i) const {
    const int64_t end = adaptive ? ((i + 1) * out + in - 1) / in : (i + pad) / stride + 1;
    return end < out ? end : out;
  }
  int64_t tap_at(int64_t o, int64_t i) const {
    const int64_t d = i - origin(o);
    return d % dilation == 0 ? d / dilation : -1;
  }
  // 1 / count along this axis; the product of both axes is the weight of a tap in the mean.
  template <class T>
  T factor(int64_t o, PoolDivisor divisor) const {
    const int64_t count = divisor == PoolDivisor::taps_inside ? last(o) - first(o) : padded_taps(o);
    return divisor == PoolDivisor::one ? T(1) : count > 0 ? T(1) / static_cast<T>(count) : T(0);
  }
  bool overlaps() const { return adaptive ? in % out != 0 : stride < window || dilation != 1; }
  // Without overlap: positions [own_begin, own_end) belong to window o; their union is the whole axis.
  int64_t own_begin(int64_t o) const {
    const int64_t z = o == 0 ? 0 : origin(o);
    return z < 0 ? 0 : z < in ? z : in;
  }
  int64_t own_end(int64_t o) const { return o + 1 == out ? in : own_begin(o + 1); }
};

Axis rows_of(const PoolShape& s) {
  return {s.h, s.p, s.r, s.stride_h, s.pad_top, s.pad_bottom, s.dilation_h, s.adaptive};
}
Axis columns_of(const PoolShape& s) {
  return {s.w, s.q, s.s, s.stride_w, s.pad_left, s.pad_right, s.dilation_w, s.adaptive};
}

// For each position of an axis, the windows over it: entries[start[i]] .. entries[start[i + 1]].
template <class T>
struct Cover {
  struct Entry {
    int32_t window, tap;
    T factor;
  };
  int64_t* start;
  Entry* entries;

  Cover(const Axis& axis, PoolDivisor divisor, int slot) {
    const int64_t most = axis.adaptive ? axis.in + axis.out : axis.out * axis.window;
    const size_t head = static_cast<size_t>(axis.in + 1) * sizeof(int64_t);
    start = static_cast<int64_t*>(thread_scratch(slot, head + static_cast<size_t>(most) * sizeof(Entry)));
    entries = reinterpret_cast<Entry*>(start + axis.in + 1);
    int64_t count = 0;
    for (int64_t i = 0; i < axis.in; ++i) {
      start[i] = count;
      for (int64_t o = axis.cover_begin(i); o < axis.cover_end(i); ++o) {
        const int64_t tap = axis.tap_at(o, i);
        if (tap < 0) continue;
        entries[count++] = {static_cast<int32_t>(o), static_cast<int32_t>(tap), axis.template factor<T>(o, divisor)};
      }
    }
    start[axis.in] = count;
  }
};

// ---- forward ----

// Maximum over nr x ns taps from x on; index counts from `start` by 1 per column and `index_row` per row.
template <class T, class I>
DC_INLINE void max_window(const T* x, int64_t nr, int64_t ns, int64_t row_step, int64_t column_step, int64_t c,
                          int32_t start, int32_t index_row, T* y, I* index) {
  for_vectors<T>(c, [&](int64_t k, int m) {
    Vec<T> best = load_any(x + k, m), sum = best;
    VecI where = VecI::set(start);
    for (int64_t i = 0; i < nr; ++i) {
      for (int64_t j = i == 0 ? 1 : 0; j < ns; ++j) {
        const Vec<T> v = load_any(x + k + i * row_step + j * column_step, m);
        const auto wins = gt(v, best);
        best = select(wins, v, best);
        sum = sum + v;
        where = select(wins, VecI::set(start + static_cast<int32_t>(i) * index_row + static_cast<int32_t>(j)), where);
      }
    }
    // A NaN shows in the sum (as do infinities of both signs): the first one wins, whatever came before.
    if (mask_any(isnan(sum))) {
      for (int64_t i = nr - 1; i >= 0; --i) {
        for (int64_t j = ns - 1; j >= 0; --j) {
          const Vec<T> v = load_any(x + k + i * row_step + j * column_step, m);
          best = select(isnan(v), v, best);
          where =
              select(isnan(v), VecI::set(start + static_cast<int32_t>(i) * index_row + static_cast<int32_t>(j)), where);
        }
      }
    }
    store_any(y + k, best, m);
    if (index) {
      if (m == Vec<T>::W)
        where.store(index + k);
      else
        where.store_n(index + k, m);
    }
  });
}

template <class T, class I>
void max_pool(const PoolShape& s, const T* x, T* y, I* index, Context& context) {
  const Axis rows = rows_of(s), columns = columns_of(s);
  const int64_t row_step = s.w * s.c * s.dilation_h, column_step = s.c * s.dilation_w;
  parallel_for(context, s.n * s.p, grain(s.q * s.c * s.r * s.s), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / s.p, p = row % s.p;
      const int64_t i0 = rows.first(p), nr = rows.last(p) - i0;
      const int64_t top = rows.origin(p) + i0 * s.dilation_h;
      for (int64_t q = 0; q < s.q; ++q) {
        const int64_t j0 = columns.first(q), ns = columns.last(q) - j0;
        const int64_t left = columns.origin(q) + j0 * s.dilation_w;
        T* out = y + (row * s.q + q) * s.c;
        I* out_index = index ? index + (row * s.q + q) * s.c : nullptr;
        if (nr <= 0 || ns <= 0) {
          for (int64_t k = 0; k < s.c; ++k) out[k] = -static_cast<T>(HUGE_VAL);
          if (out_index) ::memset(out_index, 0, static_cast<size_t>(s.c) * sizeof(I));
          continue;
        }
        const T* in = x + ((n * s.h + top) * s.w + left) * s.c;
        const int32_t start = static_cast<int32_t>(i0 * s.s + j0), index_row = static_cast<int32_t>(s.s);
        if (nr == 2 && ns == 2)
          max_window(in, 2, 2, row_step, column_step, s.c, start, index_row, out, out_index);
        else if (nr == 3 && ns == 3)
          max_window(in, 3, 3, row_step, column_step, s.c, start, index_row, out, out_index);
        else
          max_window(in, nr, ns, row_step, column_step, s.c, start, index_row, out, out_index);
      }
    }
  });
}

template <class T>
DC_INLINE void sum_window(const T* x, int64_t nr, int64_t ns, int64_t row_step, int64_t column_step, int64_t c,
                          T factor, T* y) {
  for_vectors<T>(c, [&](int64_t k, int m) {
    Vec<T> sum = Vec<T>::zero();
    for (int64_t i = 0; i < nr; ++i) {
      Vec<T> line = Vec<T>::zero();  // row by row: the rounding error grows with nr + ns, not nr * ns
      for (int64_t j = 0; j < ns; ++j) line = line + load_any(x + k + i * row_step + j * column_step, m);
      sum = sum + line;
    }
    store_any(y + k, sum * Vec<T>::set(factor), m);
  });
}

template <class T>
void average(const PoolShape& s, const T* x, T* y, Context& context) {
  const Axis rows = rows_of(s), columns = columns_of(s);
  const int64_t row_step = s.w * s.c * s.dilation_h, column_step = s.c * s.dilation_w;
  parallel_for(context, s.n * s.p, grain(s.q * s.c * s.r * s.s), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / s.p, p = row % s.p;
      const int64_t i0 = rows.first(p), nr = rows.last(p) - i0 > 0 ? rows.last(p) - i0 : 0;
      const int64_t top = rows.origin(p) + i0 * s.dilation_h;
      const T row_factor = rows.factor<T>(p, s.divisor);
      for (int64_t q = 0; q < s.q; ++q) {
        const int64_t j0 = columns.first(q), ns = columns.last(q) - j0 > 0 ? columns.last(q) - j0 : 0;
        const int64_t left = columns.origin(q) + j0 * s.dilation_w;
        const T factor = row_factor * columns.factor<T>(q, s.divisor);
        const T* in = nr && ns ? x + ((n * s.h + top) * s.w + left) * s.c : x;
        T* out = y + (row * s.q + q) * s.c;
        if (nr == 2 && ns == 2)
          sum_window(in, 2, 2, row_step, column_step, s.c, factor, out);
        else if (nr == 3 && ns == 3)
          sum_window(in, 3, 3, row_step, column_step, s.c, factor, out);
        else
          sum_window(in, nr, ns, row_step, column_step, s.c, factor, out);
      }
    }
  });
}

// ---- backward ----

template <int N>
struct Count {
  static constexpr int value = N;
};

// Each pixel sums what the windows over it give: term(at, tap, factor, m) for channels [at, at + m) of the windows.
template <class T, class Term>
void collect_overlapping(const PoolShape& s, T* gx, Context& context, const Term& term) {
  using Entry = typename Cover<T>::Entry;
  const Cover<T> rows(rows_of(s), s.divisor, 3), columns(columns_of(s), s.divisor, 4);
  parallel_for(context, s.n * s.h, grain(s.w * s.c * 4), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / s.h, h = row % s.h;
      const Entry *r0 = rows.entries + rows.start[h], *r1 = rows.entries + rows.start[h + 1];
      for (int64_t w = 0; w < s.w; ++w) {
        const Entry *c0 = columns.entries + columns.start[w], *c1 = columns.entries + columns.start[w + 1];
        T* out = gx + (row * s.w + w) * s.c;
        const auto block = [&](int64_t k, auto count, int m) {
          constexpr int B = decltype(count)::value, W = Vec<T>::W;
          Vec<T> sum[B];
          for (int i = 0; i < B; ++i) sum[i] = Vec<T>::zero();
          for (const Entry* r = r0; r < r1; ++r) {
            const int64_t line = (n * s.p + r->window) * s.q;
            for (const Entry* c = c0; c < c1; ++c) {
              const int64_t at = (line + c->window) * s.c + k;
              const int32_t tap = r->tap * static_cast<int32_t>(s.s) + c->tap;
              const T factor = r->factor * c->factor;
              for (int i = 0; i < B; ++i) sum[i] = sum[i] + term(at + i * W, tap, factor, m);
            }
          }
          for (int i = 0; i < B; ++i) store_any(out + k + i * W, sum[i], m);
        };
        constexpr int W = Vec<T>::W;
        int64_t k = 0;
        for (; k + 4 * W <= s.c; k += 4 * W) block(k, Count<4>(), W);
        for (; k + 2 * W <= s.c; k += 2 * W) block(k, Count<2>(), W);
        for (; k < s.c; k += W) block(k, Count<1>(), s.c - k < W ? static_cast<int>(s.c - k) : W);
      }
    }
  });
}

// Without overlap each window writes the pixels it owns: window(at, m, weight(p, q)) returns value(tap) for channels
// [at, at + m) of the windows; pixels between windows get 0.
template <class T, class Weight, class Window>
void write_owned(const PoolShape& s, T* gx, Context& context, const Weight& weight, const Window& window) {
  const Axis rows = rows_of(s), columns = columns_of(s);
  const int64_t line = s.w * s.c;
  parallel_for(context, s.n * s.p, grain(s.q * s.c * s.r * s.s), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / s.p, p = row % s.p;
      const int64_t h0 = rows.own_begin(p), h1 = rows.own_end(p), top = rows.origin(p);
      for (int64_t q = 0; q < s.q; ++q) {
        const int64_t w0 = columns.own_begin(q), w1 = columns.own_end(q), left = columns.origin(q);
        const int64_t from = (row * s.q + q) * s.c;
        T* const to = gx + n * s.h * line;
        const T share = weight(p, q);
        if (s.r == 2 && s.s == 2 && h0 == top && w0 == left && h1 == top + 2 && w1 == left + 2) {
          T* const corner = to + h0 * line + w0 * s.c;
          for_vectors<T>(s.c, [&](int64_t k, int m) {
            const auto value = window(from + k, m, share);
            store_any(corner + k, value(0), m);
            store_any(corner + k + s.c, value(1), m);
            store_any(corner + k + line, value(2), m);
            store_any(corner + k + line + s.c, value(3), m);
          });
          continue;
        }
        for_vectors<T>(s.c, [&](int64_t k, int m) {
          const auto value = window(from + k, m, share);
          for (int64_t h = h0; h < h1; ++h) {
            for (int64_t w = w0; w < w1; ++w) {
              const bool inside = h - top < s.r && w - left < s.s;
              const int32_t tap = static_cast<int32_t>((h - top) * s.s + w - left);
              store_any(to + h * line + w * s.c + k, inside ? value(tap) : Vec<T>::zero(), m);
            }
          }
        });
      }
    }
  });
}

template <class T, class I>
void scatter(const PoolShape& s, const T* g, const I* index, T* gx, Context& context) {
  const Axis rows = rows_of(s), columns = columns_of(s);
  const auto load_index = [&](const I* at, int m) { return m == Vec<T>::W ? VecI::load(at) : VecI::load_n(at, m); };
  if (s.p == 0 || s.q == 0) {
    ::memset(gx, 0, static_cast<size_t>(s.n * s.h * s.w * s.c) * sizeof(T));
    return;
  }
  if (rows.overlaps() || columns.overlaps()) {
    collect_overlapping<T>(s, gx, context, [&](int64_t at, int32_t tap, T, int m) {
      return keep_where(eq(load_index(index + at, m), VecI::set(tap)), load_any(g + at, m));
    });
    return;
  }
  const auto whole = [](int64_t, int64_t) { return T(1); };
  write_owned<T>(s, gx, context, whole, [&](int64_t at, int m, T) {
    return [gv = load_any(g + at, m), winner = load_index(index + at, m)](int32_t tap) {
      return keep_where(eq(winner, VecI::set(tap)), gv);
    };
  });
}

template <class T, class I>
void gather(const PoolShape& s, const T* x, const I* index, T* y, Context& context) {
  const Axis rows = rows_of(s), columns = columns_of(s);
  parallel_for(context, s.n * s.p, grain(s.q * s.c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / s.p, top = rows.origin(row % s.p);
      for (int64_t q = 0; q < s.q; ++q) {
        const int64_t left = columns.origin(q), at = (row * s.q + q) * s.c;
        for (int64_t k = 0; k < s.c; ++k) {
          const int64_t tap = index[at + k], h = top + tap / s.s * s.dilation_h, w = left + tap % s.s * s.dilation_w;
          const bool inside = tap >= 0 && h >= 0 && h < s.h && w >= 0 && w < s.w;
          y[at + k] = inside ? x[((n * s.h + h) * s.w + w) * s.c + k] : T(0);
        }
      }
    }
  });
}

template <class T>
void average_grad(const PoolShape& s, const T* g, T* gx, Context& context) {
  const Axis rows = rows_of(s), columns = columns_of(s);
  if (s.p == 0 || s.q == 0) {
    ::memset(gx, 0, static_cast<size_t>(s.n * s.h * s.w * s.c) * sizeof(T));
    return;
  }
  if (rows.overlaps() || columns.overlaps()) {
    collect_overlapping<T>(s, gx, context, [&](int64_t at, int32_t, T factor, int m) {
      return load_any(g + at, m) * Vec<T>::set(factor);
    });
    return;
  }
  const auto weight = [&](int64_t p, int64_t q) {
    return rows.factor<T>(p, s.divisor) * columns.factor<T>(q, s.divisor);
  };
  write_owned<T>(s, gx, context, weight, [&](int64_t at, int m, T share) {
    return [gv = load_any(g + at, m) * Vec<T>::set(share)](int32_t) { return gv; };
  });
}

}  // namespace

extern const PoolKernels<float> pool_f32;
const PoolKernels<float> pool_f32 = {max_pool<float, uint8_t>, max_pool<float, int32_t>, scatter<float, uint8_t>,
                                     scatter<float, int32_t>,  gather<float, uint8_t>,   gather<float, int32_t>,
                                     average<float>,           average_grad<float>};
#ifdef DC_ISA_SCALAR
extern const PoolKernels<double> pool_f64;
const PoolKernels<double> pool_f64 = {max_pool<double, uint8_t>, max_pool<double, int32_t>, scatter<double, uint8_t>,
                                      scatter<double, int32_t>,  gather<double, uint8_t>,   gather<double, int32_t>,
                                      average<double>,           average_grad<double>};
#endif

}  // namespace dc::DC_ISA
