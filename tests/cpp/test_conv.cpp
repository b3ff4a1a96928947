// Convolution of every instruction set this CPU has against loops in double precision.
#include "check.h"
#include "core/context.h"
#include "core/parallel.h"
#include "kernels/conv.h"

namespace dc {
namespace scalar {
extern const ConvKernels<float> conv_f32;
extern const ConvKernels<double> conv_f64;
}  // namespace scalar
namespace avx2 {
extern const ConvKernels<float> conv_f32;
}
namespace avx512 {
extern const ConvKernels<float> conv_f32;
}
}  // namespace dc

using namespace dc;
using check::Random;
using check::Ringed;

namespace {

const char* describe(const char* isa, const Conv2dShape& s) {
  static char text[256];
  std::snprintf(
      text, sizeof text,
      "%s x (%d, %d, %d, %d) w (%d, %d, %d) y (%d, %d) stride %d %d pad %d %d dilation %d %d groups %d act %d", isa,
      int(s.n), int(s.h), int(s.w), int(s.c), int(s.k), int(s.r), int(s.s), int(s.p), int(s.q), int(s.stride_h),
      int(s.stride_w), int(s.pad_top), int(s.pad_left), int(s.dilation_h), int(s.dilation_w), int(s.groups),
      int(s.activation));
  return text;
}

// f(index of x, index of w, index of y) for every product of the convolution.
template <class F>
void each_product(const Conv2dShape& s, const F& f) {
  const int64_t cg = s.c / s.groups, kg = s.k / s.groups;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p; ++p)
      for (int64_t q = 0; q < s.q; ++q)
        for (int64_t r = 0; r < s.r; ++r)
          for (int64_t t = 0; t < s.s; ++t) {
            const int64_t i = p * s.stride_h - s.pad_top + r * s.dilation_h;
            const int64_t j = q * s.stride_w - s.pad_left + t * s.dilation_w;
            if (i < 0 || i >= s.h || j < 0 || j >= s.w) continue;
            for (int64_t k = 0; k < s.k; ++k)
              for (int64_t c = 0; c < cg; ++c)
                f(((n * s.h + i) * s.w + j) * s.c + k / kg * cg + c, ((k * s.r + r) * s.s + t) * cg + c,
                  ((n * s.p + p) * s.q + q) * s.k + k);
          }
}

struct Sum {
  double value = 0, size = 0;
  void add(double a, double b) { value += a * b, size += std::fabs(a * b); }
};

template <class T>
void compare(const char* what, const char* isa, const Conv2dShape& s, const std::vector<Sum>& want,
             const Ringed<T>& got, const Ringed<T>& one_thread, double scale) {
  CHECK(got.intact(), "%s wrote outside: %s", what, describe(isa, s));
  CHECK(!std::memcmp(got.all.data(), one_thread.all.data(), got.all.size() * sizeof(T)), "%s threads: %s", what,
        describe(isa, s));
  const double eps = std::numeric_limits<T>::epsilon();
  // Winograd's error is relative to the sums of a whole square of pixels, not to each pixel's own.
  const bool winograd = (s.r == 3 || s.r == 5) && s.r == s.s && s.groups == 1 && s.stride_h * s.stride_w == 1 &&
                        s.dilation_h * s.dilation_w == 1 && s.c >= 16 && s.k >= 16;
  double largest = 0;
  for (const Sum& sum : want) largest = std::fmax(largest, sum.size);
  for (size_t i = 0; i < want.size(); ++i) {
    double value = want[i].value;
    if (what[0] == 'f') {
      if (s.activation == Activation::relu) value = value < 0 ? 0 : value;
      if (s.activation == Activation::sigmoid) value = 1 / (1 + std::exp(-value));
      if (s.activation == Activation::tanh) value = std::tanh(value);
    }
    CHECK(std::fabs(got[int64_t(i)] - value) <=
              (winograd ? (s.r == 3 ? 16 : 48) * largest : scale * want[i].size) * eps + scale * eps,
          "%s[%d] = %g, expected %g: %s", what, int(i), double(got[int64_t(i)]), value, describe(isa, s));
  }
}

template <class T>
void run(const char* isa, const ConvKernels<T>& kernels, const Conv2dShape& s, bool with_bias, uint64_t seed,
         double scale = 64) {
  Random random(seed);
  const int64_t xs = s.n * s.h * s.w * s.c, ws = s.k * s.r * s.s * (s.c / s.groups), ys = s.n * s.p * s.q * s.k;
  auto x = Ringed<T>::input(xs, random), w = Ringed<T>::input(ws, random), bias = Ringed<T>::input(s.k, random);
  auto gy = Ringed<T>::input(ys, random);
  std::vector<Sum> y(size_t(ys), Sum{}), gx(size_t(xs), Sum{}), gw(size_t(ws), Sum{});
  each_product(s, [&](int64_t i, int64_t j, int64_t o) {
    y[size_t(o)].add(x[i], w[j]);
    gx[size_t(i)].add(gy[o], w[j]);
    gw[size_t(j)].add(gy[o], x[i]);
  });
  if (with_bias)
    for (int64_t i = 0; i < ys; ++i) y[size_t(i)].add(1, bias[i % s.k]);
  const auto twice = [&](const char* what, const std::vector<Sum>& want, auto call) {
    auto a = Ringed<T>::output(int64_t(want.size())), b = a;
    set_thread_count(2);
    call(a.data());
    set_thread_count(1);
    call(b.data());
    compare(what, isa, s, want, a, b, scale);
  };
  twice("forward", y, [&](T* out) {
    kernels.forward(s, x.data(), w.data(), with_bias ? bias.data() : nullptr, out, context(Device{}));
  });
  twice("grad_input", gx, [&](T* out) { kernels.grad_input(s, gy.data(), w.data(), out, context(Device{})); });
  twice("grad_weight", gw, [&](T* out) { kernels.grad_weight(s, x.data(), gy.data(), out, context(Device{})); });
}

Conv2dShape shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int64_t r, int64_t t, int64_t stride,
                  int64_t pad, int64_t dilation, int64_t groups) {
  Conv2dShape s{};
  s.n = n, s.h = h, s.w = w, s.c = c, s.k = k, s.r = r, s.s = t, s.groups = groups;
  s.stride_h = s.stride_w = stride, s.pad_top = s.pad_left = pad, s.dilation_h = s.dilation_w = dilation;
  s.p = (h + 2 * pad - dilation * (r - 1) - 1) / stride + 1;
  s.q = (w + 2 * pad - dilation * (t - 1) - 1) / stride + 1;
  return s;
}

template <class T>
void all(const char* isa, const ConvKernels<T>& kernels) {
  Random random(3);
  const int64_t channels[] = {1, 2, 3, 4, 5, 8, 13, 16, 17, 31, 32, 33, 48, 67};
  const auto pick = [&] { return channels[random.below(sizeof channels / sizeof *channels)]; };
  for (int i = 0; i < 1500; ++i) {
    Conv2dShape s{};
    s.n = 1 + random.below(3);
    s.r = 1 + random.below(5), s.s = 1 + random.below(5);
    s.stride_h = 1 + random.below(3), s.stride_w = random.below(2) ? s.stride_h : 1 + random.below(3);
    s.dilation_h = random.below(3) ? 1 : 1 + random.below(3), s.dilation_w = random.below(3) ? 1 : 1 + random.below(3);
    if (random.below(3) == 0) s.r = s.s = 3, s.stride_h = s.stride_w = 1, s.dilation_h = s.dilation_w = 1;
    const int64_t kind = random.below(5);
    if (kind == 0) {
      s.groups = s.c = pick(), s.k = s.c * (1 + random.below(3));
    } else if (kind == 1) {
      s.groups = 1 + random.below(4), s.c = s.groups * (1 + random.below(9)), s.k = s.groups * (1 + random.below(40));
    } else {
      s.groups = 1, s.c = pick(), s.k = pick();
    }
    s.pad_top = random.below(s.r * s.dilation_h + 1), s.pad_left = random.below(s.s * s.dilation_w + 1);
    // Sizes of y; x reaches any distance up to the last row and column used, or past them.
    s.p = 1 + random.below(12), s.q = 1 + random.below(random.below(2) ? 35 : 6);
    const int64_t rows = (s.p - 1) * s.stride_h + (s.r - 1) * s.dilation_h + 1;
    const int64_t cols = (s.q - 1) * s.stride_w + (s.s - 1) * s.dilation_w + 1;
    s.h = rows - s.pad_top + random.below(3) - random.below(3),
    s.w = cols - s.pad_left + random.below(3) - random.below(3);
    if (s.h < 1) s.h = 1;
    if (s.w < 1) s.w = 1;
    s.activation = static_cast<Activation>(random.below(4));
    run(isa, kernels, s, random.below(2), uint64_t(i));
  }
  // Empty arrays.
  for (int i = 0; i < 4; ++i) {
    Conv2dShape s = shape(2, 6, 7, 3, 5, 3, 3, 1, 1, 1, 1);
    if (i == 0) s.n = 0;
    if (i == 1) s.p = 0;
    if (i == 2) s.k = 0;
    if (i == 3) s.c = 0;
    run(isa, kernels, s, true, 9);
  }
  // Several bands, several parts of the pixels, several panels.
  run(isa, kernels, shape(3, 40, 40, 40, 70, 3, 3, 1, 1, 1, 1), true, 10);
  run(isa, kernels, shape(2, 29, 29, 64, 33, 3, 3, 2, 1, 1, 1), true, 11);
  run(isa, kernels, shape(4, 28, 28, 1, 32, 5, 5, 1, 2, 1, 1), true, 12);
  run(isa, kernels, shape(3, 14, 14, 32, 64, 5, 5, 1, 2, 1, 1), true, 15);
  run(isa, kernels, shape(40, 9, 30, 17, 18, 3, 3, 1, 1, 1, 1), false, 16);
  run(isa, kernels, shape(1, 7, 7, 512, 40, 3, 3, 1, 1, 1, 1), true, 13, 128);
  run(isa, kernels, shape(9, 5, 5, 70, 65, 3, 3, 2, 0, 1, 1), true, 14);
}

}  // namespace

int main() {
  all("scalar", scalar::conv_f32);
  all("scalar", scalar::conv_f64);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all("avx2", avx2::conv_f32);
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) all("avx512", avx512::conv_f32);
#endif
  return check::finish("conv");
}
