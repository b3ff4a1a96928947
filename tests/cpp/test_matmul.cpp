// GEMM of every instruction set this CPU has against a loop in double precision.
#include "check.h"
#include "core/context.h"
#include "core/parallel.h"
#include "kernels/matmul.h"

namespace dc {
namespace scalar {
extern const MatmulKernels<float> matmul_f32;
extern const MatmulKernels<double> matmul_f64;
}  // namespace scalar
namespace avx2 {
extern const MatmulKernels<float> matmul_f32;
}
namespace avx512 {
extern const MatmulKernels<float> matmul_f32;
}
}  // namespace dc

using namespace dc;
using check::Random;
using check::Ringed;

namespace {

double activate(double x, Activation a) {
  switch (a) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
  }
  return x;
}

struct Case {
  int64_t batch, m, n, k;
  bool a_transposed, b_transposed, accumulate, bias, packed;
  Activation activation;
  int64_t extra;            // added to every leading dimension
  bool a_shared, b_shared;  // one matrix for the whole batch
};

template <class T>
void run(const char* isa, const MatmulKernels<T>& kernels, const Case& t, uint64_t seed) {
  Random random(seed);
  MatmulShape s;
  s.batch = t.batch, s.m = t.m, s.n = t.n, s.k = t.k;
  const int64_t a_lead = (t.a_transposed ? t.m : t.k) + t.extra, b_lead = (t.b_transposed ? t.k : t.n) + t.extra;
  s.a_row = t.a_transposed ? 1 : a_lead, s.a_col = t.a_transposed ? a_lead : 1;
  s.b_row = t.b_transposed ? 1 : b_lead, s.b_col = t.b_transposed ? b_lead : 1;
  s.c_row = t.n + t.extra;
  // Exactly to the last element that the product needs, so that reads behind it meet NaN.
  const auto extent = [](int64_t rows, int64_t cols, int64_t lead) {
    return rows && cols ? (rows - 1) * lead + cols : 0;
  };
  const int64_t a_size = t.a_transposed ? extent(t.k, t.m, a_lead) : extent(t.m, t.k, a_lead);
  const int64_t b_size = t.b_transposed ? extent(t.n, t.k, b_lead) : extent(t.k, t.n, b_lead);
  s.a_batch = t.a_shared ? 0 : a_size, s.b_batch = t.b_shared ? 0 : b_size;
  s.c_batch = t.m * s.c_row;
  s.accumulate = t.accumulate, s.activation = t.activation;
  auto a = Ringed<T>::input(t.a_shared ? a_size : a_size * t.batch, random);
  auto b = Ringed<T>::input(t.b_shared ? b_size : b_size * t.batch, random);
  auto bias = Ringed<T>::input(t.n, random);
  auto c = Ringed<T>::output(t.batch * t.m * s.c_row);
  if (t.accumulate)
    for (int64_t i = 0; i < c.size; ++i) c.data()[i] = static_cast<T>(random.uniform());
  const auto before = c;
  auto packed = Ringed<T>::output(t.packed ? kernels.packed_b_size(t.k, t.n) : 0);
  if (t.packed) {
    kernels.pack_b(s, b.data(), packed.data(), context(Device{}));
    CHECK(packed.intact(), "pack_b wrote outside");
  }
  const auto call = [&](int threads, Ringed<T>& out) {
    set_thread_count(threads);
    kernels.gemm(s, a.data(), t.packed ? nullptr : b.data(), t.packed ? packed.data() : nullptr,
                 t.bias ? bias.data() : nullptr, out.data(), context(Device{}));
  };
  auto c1 = before;
  call(2, c);
  call(1, c1);
  const auto describe = [&] {
    static char text[256];
    std::snprintf(text, sizeof text,
                  "%s T%d batch %d m %d n %d k %d ta %d tb %d acc %d bias %d packed %d act %d extra %d", isa,
                  int(sizeof(T)), int(t.batch), int(t.m), int(t.n), int(t.k), t.a_transposed, t.b_transposed,
                  t.accumulate, t.bias, t.packed, int(t.activation), int(t.extra));
    return text;
  };
  CHECK(c.intact(), "%s", describe());
  CHECK(!std::memcmp(c.all.data(), c1.all.data(), c.all.size() * sizeof(T)), "threads: %s", describe());
  const double eps = std::numeric_limits<T>::epsilon();
  for (int64_t z = 0; z < t.batch; ++z)
    for (int64_t i = 0; i < t.m; ++i)
      for (int64_t j = 0; j < s.c_row; ++j) {
        const int64_t at = z * s.c_batch + i * s.c_row + j;
        if (j >= t.n) {
          CHECK(c[at] == before[at], "between rows: %s", describe());
          continue;
        }
        double sum = 0, size = 0;
        for (int64_t p = 0; p < t.k; ++p) {
          const double x =
              double(a[z * s.a_batch + i * s.a_row + p * s.a_col]) * b[z * s.b_batch + p * s.b_row + j * s.b_col];
          sum += x, size += std::fabs(x);
        }
        if (t.accumulate) sum += before[at], size += std::fabs(before[at]);
        if (t.bias) sum += bias[j], size += std::fabs(bias[j]);
        const double want = activate(sum, t.activation), bound = (8 + std::sqrt(double(t.k))) * eps * (size + 1);
        CHECK(std::fabs(c[at] - want) <= bound, "%s (%d, %d): %g, expected %g", describe(), int(i), int(j),
              double(c[at]), want);
      }
}

template <class T>
void special_values(const char* isa, const MatmulKernels<T>& kernels) {
  // A row with NaN or infinity spoils its own row of C only, and zero columns of B give NaN there, as IEEE has it.
  Random random(5);
  for (int64_t m : {1, 3, 17, 40})
    for (int64_t n : {1, 5, 33, 70}) {
      const int64_t k = 37;
      auto a = Ringed<T>::input(m * k, random), b = Ringed<T>::input(k * n, random);
      const int64_t bad = m / 2;
      a.data()[bad * k + 5] = std::numeric_limits<T>::infinity();
      auto c = Ringed<T>::output(m * n);
      const MatmulShape s{.m = m, .n = n, .k = k, .a_row = k, .a_col = 1, .b_row = n, .b_col = 1, .c_row = n};
      kernels.gemm(s, a.data(), b.data(), nullptr, nullptr, c.data(), context(Device{}));
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j)
          CHECK((i == bad) == bool(std::isinf(c[i * n + j])), "%s m %d n %d (%d, %d)", isa, int(m), int(n), int(i),
                int(j));
    }
}

template <class T>
void all(const char* isa, const MatmulKernels<T>& kernels) {
  Random random(1);
  const int64_t sizes[] = {0, 1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18, 29, 31, 32, 33, 43, 64, 65, 98, 130};
  const auto pick = [&] { return sizes[random.below(sizeof sizes / sizeof *sizes)]; };
  for (int i = 0; i < 3000; ++i) {
    Case t{};
    t.batch = random.below(4) ? 1 : random.below(4);
    t.m = pick(), t.n = pick(), t.k = pick();
    if (random.below(6) == 0) t.m = 1;
    if (random.below(6) == 0) t.n = 1;
    if (random.below(40) == 0) t.k = 800 + random.below(300);
    if (random.below(40) == 0) t.n = 500 + random.below(300);
    if (random.below(40) == 0) t.m = 300 + random.below(200);
    t.a_transposed = random.below(2), t.b_transposed = random.below(2);
    t.accumulate = random.below(3) == 0, t.bias = random.below(2);
    t.packed = t.batch == 1 && random.below(3) == 0;
    t.activation = static_cast<Activation>(random.below(4));
    t.extra = random.below(2) ? 0 : random.below(5);
    t.a_shared = random.below(4) == 0, t.b_shared = random.below(3) == 0;
    run(isa, kernels, t, 100 + static_cast<uint64_t>(i));
  }
  for (int i = 0; i < 8; ++i) {  // blocks of every kind
    const Case big{1,
                   i & 4 ? 700 : 200,
                   i & 4 ? 270 : 600,
                   1030,
                   bool(i & 1),
                   bool(i & 2),
                   false,
                   true,
                   false,
                   Activation::relu,
                   0,
                   false,
                   false};
    run(isa, kernels, big, 7);
  }
  for (int i = 0; i < 4; ++i)  // a small C with a long k
    run(isa, kernels,
        Case{1, 181, 190, 4200 + i, bool(i & 1), bool(i & 2), i == 3, true, false, Activation::relu, i, false, false},
        11);
  special_values(isa, kernels);
}

}  // namespace

int main() {
  all("scalar", scalar::matmul_f32);
  all("scalar", scalar::matmul_f64);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all("avx2", avx2::matmul_f32);
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) all("avx512", avx512::matmul_f32);
#endif
  return check::finish("matmul");
}
