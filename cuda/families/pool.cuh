// The geometry of pooling on a device, and the gradients that pool.cu collects.
#pragma once
#include "core/context.h"
#include "core/error.h"
#include "families/pack.cuh"
#include "kernels/pool.h"

namespace dc::cuda {

// One dimension of the grid of windows; csrc/cpu/pool.cpp has the same functions.
struct PoolAxis {
  int in, out, window, stride, pad, pad_end, dilation;
  bool adaptive;
  Divisor by_in, by_out, by_stride, by_dilation;

  DC_DEVICE int origin(int o) const {
    return adaptive ? static_cast<int>(by_out.of(static_cast<long long>(o) * in)) : o * stride - pad;
  }
  // Taps [first, last) of window o lie inside the image.
  DC_DEVICE int first(int o) const {
    const int z = origin(o);
    return z >= 0 ? 0 : by_dilation.of(static_cast<unsigned>(-z + dilation - 1));
  }
  // Taps before `end`, an end of the image or of its padding.
  DC_DEVICE int taps_before(int o, int end) const {
    if (adaptive) return static_cast<int>(by_out.of((o + 1ll) * in + out - 1)) - origin(o);
    const int room = end - origin(o);
    const int taps = room <= 0 ? 0 : by_dilation.of(static_cast<unsigned>(room + dilation - 1));
    return taps < window ? taps : window;
  }
  DC_DEVICE int last(int o) const { return taps_before(o, in); }
  // Windows [cover_begin, cover_end) may hold position i; tap_at says which tap, or -1.
  DC_DEVICE int cover_begin(int i) const {
    if (adaptive) return static_cast<int>(by_in.of(static_cast<long long>(i) * out));
    const int reach = i + pad - (window - 1) * dilation;
    return reach <= 0 ? 0 : by_stride.of(static_cast<unsigned>(reach + stride - 1));
  }
  DC_DEVICE int cover_end(int i) const {
    const int end = adaptive ? static_cast<int>(by_in.of((i + 1ll) * out + in - 1))
                             : static_cast<int>(by_stride.of(static_cast<unsigned>(i + pad))) + 1;
    return end < out ? end : out;
  }
  DC_DEVICE int tap_at(int o, int i) const {
    const int d = i - origin(o), tap = by_dilation.of(static_cast<unsigned>(d));
    return tap * dilation == d ? tap : -1;
  }
  // 1 / count along this axis; the product of both axes is the weight of a tap in the mean.
  template <class T>
  DC_DEVICE T weight(int o, PoolDivisor divisor) const {
    if (divisor == PoolDivisor::one) return T(1);
    const int count = divisor == PoolDivisor::taps_inside ? last(o) - first(o) : taps_before(o, in + pad_end);
    return count > 0 ? T(1) / static_cast<T>(count) : T(0);
  }
  // Where windows do not overlap: positions [own_begin, own_end) belong to window o; their union is the whole axis.
  DC_DEVICE int own_begin(int o) const {
    const int z = o == 0 ? 0 : origin(o);
    return z < 0 ? 0 : z < in ? z : in;
  }
  DC_DEVICE int own_end(int o) const { return o + 1 == out ? in : own_begin(o + 1); }

  bool overlaps() const { return adaptive ? in % out != 0 : stride < window || dilation != 1; }
};

struct Pool {
  PoolAxis rows, columns;
  long long n;
  int c;
  Divisor by_p, by_q, by_h, by_w, by_taps, by_packs;  // taps of a window's row; packs of channels
  PoolDivisor divisor;

  long long outputs() const { return n * rows.out * columns.out * by_packs.size; }
  long long pixels() const { return n * rows.in * columns.in * by_packs.size; }
};

// `width` channels go together. Positions along an axis are of 32 bits.
inline Pool pool_of(const PoolShape& s, int width) {
  constexpr int64_t most = int64_t{1} << 30;
  DC_CHECK(s.h < most && s.w < most && s.p < most && s.q < most && s.c < most, ShapeError,
           "pool: expected axes shorter than 2^30 on a device, got ", s.h, " x ", s.w, " x ", s.c, " and windows ", s.p,
           " x ", s.q);
  const auto axis = [&](int64_t in, int64_t out, int64_t window, int64_t stride, int64_t pad, int64_t pad_end,
                        int64_t dilation) {
    return PoolAxis{static_cast<int>(in),
                    static_cast<int>(out),
                    static_cast<int>(window),
                    static_cast<int>(stride),
                    static_cast<int>(pad),
                    static_cast<int>(pad_end),
                    static_cast<int>(dilation),
                    s.adaptive,
                    Divisor(in),
                    Divisor(out),
                    Divisor(stride),
                    Divisor(dilation)};
  };
  return {axis(s.h, s.p, s.r, s.stride_h, s.pad_top, s.pad_bottom, s.dilation_h),
          axis(s.w, s.q, s.s, s.stride_w, s.pad_left, s.pad_right, s.dilation_w),
          s.n,
          static_cast<int>(s.c),
          Divisor(s.p),
          Divisor(s.q),
          Divisor(s.h),
          Divisor(s.w),
          Divisor(s.s),
          Divisor(s.c / width),
          s.divisor};
}

// Places of maxima, a byte or (wide) a 32-bit number each. Four bytes go in one access, the first one lowest.
struct PoolIndex {
  void* data;
  bool wide;
};
template <int kWidth>
DC_DEVICE Pack<int, kWidth> load_places(const PoolIndex& index, long long at) {
  const uint8_t* bytes = static_cast<const uint8_t*>(index.data) + at;
  if constexpr (kWidth == 4) {
    const unsigned four = *reinterpret_cast<const unsigned*>(bytes);
    Pack<int, kWidth> places;
    DC_UNROLL
    for (int e = 0; e < 4; ++e) places.of[e] = static_cast<int>(four >> 8 * e & 255u);
    return places;
  } else {
    return {{index.wide ? static_cast<const int32_t*>(index.data)[at] : *bytes}};
  }
}
template <int kWidth>
DC_DEVICE void store_places(const PoolIndex& index, long long at, const Pack<int, kWidth>& places) {
  uint8_t* bytes = static_cast<uint8_t*>(index.data) + at;
  if constexpr (kWidth == 4) {
    unsigned four = 0;
    DC_UNROLL
    for (int e = 0; e < 4; ++e) four |= static_cast<unsigned>(places.of[e]) << 8 * e;
    *reinterpret_cast<unsigned*>(bytes) = four;
  } else if (index.wide) {
    static_cast<int32_t*>(index.data)[at] = places.of[0];
  } else {
    *bytes = static_cast<uint8_t>(places.of[0]);
  }
}

template <class T>
void pool_scatter(const PoolShape& s, const T* g, const PoolIndex& index, T* gx, Context& context);
template <class T>
void average_pool_grad(const PoolShape& s, const T* g, T* gx, Context& context);

}  // namespace dc::cuda
