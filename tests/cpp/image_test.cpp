// Image kernels against formulas in double; gradients against the transposed map.
#include "kernels/image.h"

#include "core/philox.h"
#include "kernel_test.h"

DECLARE_TABLES(ImageKernels, image)

using dc::AugmentShape;
using dc::GridSampleShape;
using dc::Resize;
using dc::ResizeShape;
using test::close;
using test::Numbers;
using test::Ringed;

namespace {

double source(Resize mode, int64_t o, int64_t in, int64_t out) {
  const double po = static_cast<double>(o), pi = static_cast<double>(in), pp = static_cast<double>(out);
  if (mode == Resize::nearest) return std::floor(po * pi / pp);
  if (mode == Resize::bilinear_corners) return out > 1 ? po * (pi - 1) / (pp - 1) : 0.0;
  return std::fmin(std::fmax((po + 0.5) * pi / pp - 0.5, 0.0), pi - 1);
}

template <class T>
void check_resize(const ResizeShape& s, const dc::ImageKernels<T>& table) {
  Numbers numbers(3);
  const Ringed<T> x = numbers.array<T>(s.n * s.h * s.w * s.c), g = numbers.array<T>(s.n * s.p * s.q * s.c);
  Ringed<T> y(g.size()), gx(x.size()), gx1(x.size());
  table.resize(s, x.data(), y.data(), test::context());
  table.resize_grad(s, g.data(), gx.data(), test::context());
  dc::set_thread_count(1);
  table.resize_grad(s, g.data(), gx1.data(), test::context());
  dc::set_thread_count(2);
  CHECK(gx.same_bits(gx1));
  std::vector<double> expected(static_cast<size_t>(x.size()), 0.0);
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p; ++p)
      for (int64_t q = 0; q < s.q; ++q)
        for (int64_t c = 0; c < s.c; ++c) {
          const double r = source(s.mode, p, s.h, s.p), k = source(s.mode, q, s.w, s.q);
          const int64_t out = ((n * s.p + p) * s.q + q) * s.c + c;
          double sum = 0;
          for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 2; ++j) {
              const int64_t h = static_cast<int64_t>(r) + i, w = static_cast<int64_t>(k) + j;
              const double weight =
                  (i ? r - std::floor(r) : 1 - (r - std::floor(r))) * (j ? k - std::floor(k) : 1 - (k - std::floor(k)));
              if (h >= s.h || w >= s.w) continue;
              sum += weight * x[((n * s.h + h) * s.w + w) * s.c + c];
              expected[static_cast<size_t>(((n * s.h + h) * s.w + w) * s.c + c)] += weight * g[out];
            }
          CHECK(close<T>(y[out], sum, 1, 8));
        }
  for (int64_t i = 0; i < x.size(); ++i) CHECK(close<T>(gx[i], expected[static_cast<size_t>(i)], 16, 8));
}

double tap(const std::vector<double>& x, const GridSampleShape& s, int64_t n, int64_t h, int64_t w, int64_t c) {
  if (h < 0 || w < 0 || h >= s.h || w >= s.w) return 0;
  return x[static_cast<size_t>(((n * s.h + h) * s.w + w) * s.c + c)];
}

double sample(const std::vector<double>& x, const GridSampleShape& s, int64_t n, double u, double v, int64_t c) {
  double w =
      s.align_corners ? (u + 1) * static_cast<double>(s.w - 1) / 2 : ((u + 1) * static_cast<double>(s.w) - 1) / 2;
  double h =
      s.align_corners ? (v + 1) * static_cast<double>(s.h - 1) / 2 : ((v + 1) * static_cast<double>(s.h) - 1) / 2;
  if (s.border)
    w = std::fmin(std::fmax(w, 0.0), static_cast<double>(s.w - 1)),
    h = std::fmin(std::fmax(h, 0.0), static_cast<double>(s.h - 1));
  const double fw = std::floor(w), fh = std::floor(h);
  double sum = 0;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      sum += tap(x, s, n, static_cast<int64_t>(fh) + i, static_cast<int64_t>(fw) + j, c) * (i ? h - fh : 1 - h + fh) *
             (j ? w - fw : 1 - w + fw);
  return sum;
}

template <class T>
void check_grid(const GridSampleShape& s, const dc::ImageKernels<T>& table) {
  Numbers numbers(13);
  const Ringed<T> x = numbers.array<T>(s.n * s.h * s.w * s.c), g = numbers.array<T>(s.n * s.p * s.q * s.c);
  Ringed<T> grid = numbers.array<T>(s.n * s.p * s.q * 2), y(g.size()), gx(x.size()), ggrid(grid.size()), gx1(x.size());
  for (int64_t i = 0; i < grid.size(); ++i) grid[i] *= T(1.5);
  table.grid_sample(s, x.data(), grid.data(), y.data(), test::context());
  table.grid_sample_grad(s, x.data(), grid.data(), g.data(), gx.data(), ggrid.data(), test::context());
  dc::set_thread_count(1);
  table.grid_sample_grad(s, x.data(), grid.data(), g.data(), gx1.data(), nullptr, test::context());
  dc::set_thread_count(2);
  CHECK(gx.same_bits(gx1));
  const std::vector<double> values(x.data(), x.data() + x.size());
  double dot_y = 0, dot_x = 0;
  for (int64_t o = 0; o < s.n * s.p * s.q; ++o) {
    const double u = grid[2 * o], v = grid[2 * o + 1];
    double du = 0, dv = 0;
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t n = o / (s.p * s.q);
      CHECK(close<T>(y[o * s.c + c], sample(values, s, n, u, v, c), 1, 64));
      dot_y += static_cast<double>(g[o * s.c + c]) * sample(values, s, n, u, v, c);
      const double e = 1e-7;
      du += g[o * s.c + c] * (sample(values, s, n, u + e, v, c) - sample(values, s, n, u - e, v, c)) / (2 * e);
      dv += g[o * s.c + c] * (sample(values, s, n, u, v + e, c) - sample(values, s, n, u, v - e, c)) / (2 * e);
    }
    const double scale = static_cast<double>((s.h + s.w) * s.c);
    CHECK(std::fabs(static_cast<double>(ggrid[2 * o]) - du) < 2e-5 * scale);
    CHECK(std::fabs(static_cast<double>(ggrid[2 * o + 1]) - dv) < 2e-5 * scale);
  }
  for (int64_t i = 0; i < x.size(); ++i) dot_x += static_cast<double>(gx[i]) * values[static_cast<size_t>(i)];
  CHECK(close<T>(static_cast<T>(dot_x), dot_y, 4, 256));
}

// One output value of the augmentation, straight from the description in kernels/image.h.
template <class In>
double augmented(const AugmentShape& s, const Ringed<In>& x, int64_t image, int64_t id, int64_t p, int64_t q,
                 int64_t c) {
  uint32_t word[8];
  for (uint64_t b = 0; b < 2; ++b)
    std::memcpy(word + 4 * b, dc::host::philox(s.seed, s.stream, 2 * static_cast<uint64_t>(id) + b).word, 16);
  const auto whole = [](uint32_t bits, int64_t n) {
    return static_cast<int64_t>(std::floor(bits * 0x1p-32 * static_cast<double>(n)));
  };
  const auto both = [](uint32_t bits) { return bits * 0x1p-31 - 1; };
  const int64_t cut_row = whole(word[6], s.p) - s.cut / 2, cut_column = whole(word[7], s.q) - s.cut / 2;
  if (p >= cut_row && p < cut_row + s.cut && q >= cut_column && q < cut_column + s.cut) return s.fill;
  if (dc::host::unit_float(word[2]) < s.flip) q = s.q - 1 - q;
  const auto pixel = [&](int64_t h, int64_t w) -> double {
    if (h < 0 || w < 0 || h >= s.h || w >= s.w) return s.fill;
    return static_cast<double>(x[((image * s.h + h) * s.w + w) * s.c + c]);
  };
  if (s.rotate == 0 && s.scale == 0 && s.shear == 0)
    return pixel(p + (s.h - s.p) / 2 + whole(word[0], 2 * s.shift_h + 1) - s.shift_h,
                 q + (s.w - s.q) / 2 + whole(word[1], 2 * s.shift_w + 1) - s.shift_w);
  const double angle = both(word[3]) * s.rotate, size = 1 + both(word[4]) * s.scale, shear = both(word[5]) * s.shear;
  const double dh = static_cast<double>(p) - static_cast<double>(s.p - 1) / 2,
               dw = static_cast<double>(q) - static_cast<double>(s.q - 1) / 2;
  const double turned_h = (std::cos(angle) * dh + std::sin(angle) * dw) / size;
  const double turned_w = (-std::sin(angle) * dh + std::cos(angle) * dw) / size + shear * turned_h;
  const double h = turned_h + static_cast<double>(s.h - 1) / 2 + both(word[0]) * static_cast<double>(s.shift_h);
  const double w = turned_w + static_cast<double>(s.w - 1) / 2 + both(word[1]) * static_cast<double>(s.shift_w);
  if (!(h > -1 && w > -1 && h < static_cast<double>(s.h) && w < static_cast<double>(s.w))) return s.fill;
  const double fh = std::floor(h), fw = std::floor(w);
  double sum = 0;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      sum += pixel(static_cast<int64_t>(fh) + i, static_cast<int64_t>(fw) + j) * (i ? h - fh : 1 - h + fh) *
             (j ? w - fw : 1 - w + fw);
  return sum;
}

template <class T, class In, class Augment>
void check_augment(const AugmentShape& s, Augment augment) {
  Numbers numbers(31);
  Ringed<In> x(5 * s.h * s.w * s.c);
  for (int64_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<In>(std::is_same_v<In, uint8_t> ? numbers.bits() % 256 : numbers.unit());
  Ringed<int64_t> rows(s.n), ids(s.n);
  for (int64_t i = 0; i < s.n; ++i) rows[i] = numbers.bits() % 5, ids[i] = 1000 + i;
  const Ringed<T> gain = numbers.array<T>(s.c), bias = numbers.array<T>(s.c);
  for (bool by_row : {false, true}) {
    Ringed<T> y(s.n * s.p * s.q * s.c);
    augment(s, x.data(), rows.data(), by_row ? nullptr : ids.data(), gain.data(), bias.data(), y.data(),
            test::context());
    for (int64_t i = 0; i < y.size(); ++i) {
      const int64_t c = i % s.c, q = i / s.c % s.q, p = i / s.c / s.q % s.p, n = i / s.c / s.q / s.p;
      const double raw = augmented(s, x, rows[n], by_row ? rows[n] : ids[n], p, q, c);
      CHECK(close<T>(y[i], raw * gain[c] + bias[c], std::is_same_v<In, uint8_t> ? 256 : 2, 64));
    }
  }
}

template <class T>
void check(const dc::ImageKernels<T>& table) {
  for (Resize mode : {Resize::nearest, Resize::bilinear, Resize::bilinear_corners})
    for (int64_t c : {1, 3, 16, 19})
      for (int64_t p : {1, 2, 5, 10, 13})
        for (int64_t q : {1, 3, 6, 12}) check_resize<T>({2, 5, 6, c, p, q, mode}, table);
  check_resize<T>({2, 1, 1, 4, 3, 3, Resize::bilinear}, table);
  check_resize<T>({0, 2, 2, 4, 3, 3, Resize::bilinear}, table);
  check_resize<T>({3, 32, 32, 16, 64, 64, Resize::nearest}, table);
  for (bool border : {false, true})
    for (bool corners : {false, true})
      for (int64_t c : {1, 3, 17}) {
        check_grid<T>({2, 5, 6, c, 4, 7, border, corners}, table);
        check_grid<T>({2, 1, 2, c, 3, 3, border, corners}, table);
        check_grid<T>({3, 20, 20, c, 30, 30, border, corners}, table);
      }
  AugmentShape s{7, 9, 8, 1, 9, 8};
  s.seed = 77, s.stream = 5;
  for (int64_t c : {1, 3, 5})
    for (int mode = 0; mode < 7; ++mode) {
      AugmentShape a = s;
      a.c = c;
      if (mode >= 1) a.shift_h = 3, a.shift_w = 2;
      if (mode >= 2) a.flip = 0.5f, a.fill = 0.25f;
      if (mode >= 3) a.cut = 3;
      if (mode >= 4) a.rotate = 0.3f;
      if (mode >= 5) a.scale = 0.2f, a.shear = 0.1f;
      if (mode >= 6) a.p = 6, a.q = 11;
      check_augment<T, T>(a, table.augment);
      check_augment<T, uint8_t>(a, table.augment_bytes);
    }
  AugmentShape crop{3, 9, 8, 3, 5, 4, 20, 20};
  check_augment<T, T>(crop, table.augment);
  Ringed<T> x = Numbers(1).array<T>(3 * 35), weight = Numbers(2).array<T>(3), y(3 * 35);
  Ringed<int64_t> partner(3);
  partner[0] = 2, partner[1] = 1, partner[2] = 0;
  table.mixup(3, 35, weight.data(), partner.data(), x.data(), y.data(), test::context());
  for (int64_t i = 0; i < 3 * 35; ++i)
    CHECK(close<T>(y[i], weight[i / 35] * x[i] + (1.0 - weight[i / 35]) * x[partner[i / 35] * 35 + i % 35], 1, 8));
}

}  // namespace

int main() {
  dc::set_thread_count(2);
  FOR_TABLES(image, check);
  return test::finish("image");
}
