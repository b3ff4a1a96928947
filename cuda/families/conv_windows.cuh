// The windows of an image as a matrix that is never stored: row = pixel (n, p, q) of a grid, column = term (r, s, c).
// Element: image[n, p stride - origin + r tap, q ..., c], zero outside the image. The gradient of the input is such a
// matrix of gy, with taps that go backwards (conv.cu).
#pragma once
#include "families/gemm.cuh"

namespace dc::cuda {

template <class T>
struct Windows {
  const T* image;
  long long pixels;             // rows
  int grid_rows, grid_columns;  // p, q
  int height, width, pitch;     // of the image; pitch: channels of all groups
  int taps_w, channels;         // s, c
  int stride_h, stride_w, start_h, start_w, tap_h, tap_w;
  long long batch_step;  // between groups

  // Where the first tap of a window lies, and its distance from the image's start; the same of a term from there.
  struct alignas(16) Pixel {
    int y, x;
    long long at;
  };
  using Term = Pixel;
  static constexpr int kNowhere = -(1 << 30);

  DC_DEVICE void select(long long batch) { image += batch * batch_step; }
  DC_DEVICE Pixel pixel(long long i) const {
    if (i >= pixels) return {kNowhere, 0, 0};
    long long line, q, n, p;
    divide(i, grid_columns, &line, &q);
    divide(line, grid_rows, &n, &p);
    const int y = static_cast<int>(p) * stride_h + start_h, x = static_cast<int>(q) * stride_w + start_w;
    return {y, x, ((n * height + y) * width + x) * pitch};
  }
  DC_DEVICE Term term(long long column) const {
    long long tap, c, r, s;
    divide(column, channels, &tap, &c);
    divide(tap, taps_w, &r, &s);
    const int y = static_cast<int>(r) * tap_h, x = static_cast<int>(s) * tap_w;
    return {y, x, (static_cast<long long>(y) * width + x) * pitch + c};
  }
  DC_DEVICE bool inside(const Pixel& p, const Term& t) const {
    return static_cast<unsigned>(p.y + t.y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(p.x + t.x) < static_cast<unsigned>(width);
  }
  DC_DEVICE T get(const Pixel& p, const Term& t) const { return inside(p, t) ? image[p.at + t.at] : T(0); }
};

// Pixels in shared memory, one access each.
DC_DEVICE void keep(Windows<float>::Pixel* to, const Windows<float>::Pixel& p) { store(to, p); }
DC_DEVICE Windows<float>::Pixel kept(const Windows<float>::Pixel* p) {
  const uint4 v = load<uint4>(p);
  return {static_cast<int>(v.x), static_cast<int>(v.y), static_cast<long long>(v.w) << 32 | v.z};
}

// The two sides on which windows stand in a product: summed over terms, and summed over pixels.
template <class T>
struct WindowsByTerm : Windows<T> {
  static constexpr bool kAlongP = true;
  using Row = typename Windows<T>::Pixel;
  using Column = typename Windows<T>::Term;
  DC_DEVICE Row row(long long i) const { return this->pixel(i); }
  DC_DEVICE Column column(long long p) const { return this->term(p); }
};
template <class T>
struct WindowsByPixel : Windows<T> {
  static constexpr bool kAlongP = false;
  using Row = typename Windows<T>::Term;
  using Column = typename Windows<T>::Pixel;
  long long terms;
  DC_DEVICE Row row(long long i) const { return i < terms ? this->term(i) : Row{Windows<T>::kNowhere, 0, 0}; }
  DC_DEVICE Column column(long long p) const { return this->pixel(p); }
  DC_DEVICE T get(const Row& r, const Column& c) const { return Windows<T>::get(c, r); }
};

}  // namespace dc::cuda
