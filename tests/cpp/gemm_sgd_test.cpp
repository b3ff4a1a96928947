// A product that ends in a step of SGD: the bits of the product, stored, and the step after it.
#include "kernel_test.h"
#include "kernels/matmul.h"

DECLARE_TABLES(MatmulKernels, matmul)
DECLARE_TABLES(OptimKernels, optim)

namespace {

using test::Numbers;
using test::Ringed;

struct Shape {
  int64_t m, n, k;
  bool a_across, b_across;
  double a_zeros, b_zeros;  // share of each operand that is zero
  int64_t extra;            // columns between rows of the parameter
};

template <class T>
Ringed<T> operand(Numbers& numbers, int64_t n, double zeros) {
  Ringed<T> x = numbers.array<T>(n);
  for (int64_t i = 0; i < n; ++i)
    if (numbers.unit() < 2 * zeros - 1) x[i] = T(0);
  return x;
}

template <class T>
void compare(const dc::MatmulKernels<T>& gemm, const dc::OptimKernels<T>& optim, const Shape& t) {
  dc::Context& context = test::context();
  Numbers numbers(static_cast<uint64_t>(t.m * 31 + t.n * 7 + t.k));
  const Ringed<T> a = operand<T>(numbers, t.m * t.k, t.a_zeros), b = operand<T>(numbers, t.k * t.n, t.b_zeros);
  dc::MatmulShape s{.m = t.m,
                    .n = t.n,
                    .k = t.k,
                    .a_row = t.a_across ? 1 : t.k,
                    .a_col = t.a_across ? t.m : 1,
                    .b_row = t.b_across ? 1 : t.n,
                    .b_col = t.b_across ? t.k : 1,
                    .c_row = t.n};
  dc::SgdStep<T> step{};
  step.rate = T(0.0625), step.grad_scale = T(0.75), step.l2 = T(0.03125), step.keep = T(0.96875);
  Ringed<T> gradient(t.m * t.n);
  dc::set_thread_count(2);
  gemm.gemm(s, a.data(), b.data(), nullptr, nullptr, gradient.data(), context);
  s.c_row = t.n + t.extra;
  const Ringed<T> start = numbers.array<T>(t.m * s.c_row);
  Ringed<T> expected = start;
  for (int64_t i = 0; i < t.m; ++i) {
    T* param = expected.data() + i * s.c_row;
    const T* grad = gradient.data() + i * t.n;
    optim.sgd(dc::TensorList<T>{1, &t.n, &param, &grad, {nullptr, nullptr, nullptr}}, step, context);
  }
  const bool few_rows = t.m <= 8 && !t.a_across && t.b_across;
  const bool can = t.m > 1 && t.n > 1 && t.k > 0 && t.k <= 512 && !few_rows;
  for (int threads : {2, 1}) {
    dc::set_thread_count(threads);
    Ringed<T> got = start;
    CHECK(gemm.gemm_sgd(s, a.data(), b.data(), step, got.data(), context) == can);
    CHECK(got.same_bits(can ? expected : start));
  }
}

template <class T>
void check_tables(const dc::MatmulKernels<T>& gemm, const dc::OptimKernels<T>& optim) {
  const std::vector<Shape> shapes{{0, 5, 3, true, false, 0, 0, 0},          {1, 40, 9, true, false, 0, 0, 0},
                                  {40, 1, 9, true, false, 0, 0, 0},         {5, 7, 0, true, false, 0, 0, 0},
                                  {2, 2, 1, true, false, 0, 0, 3},          {13, 31, 5, false, false, 0, 0, 1},
                                  {33, 65, 17, true, false, 0.5, 0, 0},     {70, 130, 128, true, false, 0, 0, 0},
                                  {200, 333, 100, true, true, 0, 0, 2},     {10, 600, 64, false, true, 0, 0, 0},
                                  {300, 20, 511, true, false, 0, 0, 0},     {64, 64, 513, true, false, 0, 0, 0},
                                  {500, 400, 128, true, false, 0.6, 0, 5},  {400, 500, 128, true, false, 0, 0.7, 0},
                                  {450, 430, 131, false, false, 0, 0.8, 1}, {1030, 260, 70, true, false, 0.55, 0.1, 0}};
  for (const Shape& t : shapes) compare(gemm, optim, t);
}

}  // namespace

int main() {
  check_tables(dc::scalar::matmul_f64, dc::scalar::optim_f64);
  check_tables(dc::scalar::matmul_f32, dc::scalar::optim_f32);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    check_tables(dc::avx2::matmul_f32, dc::avx2::optim_f32);
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    check_tables(dc::avx512::matmul_f32, dc::avx512::optim_f32);
#endif
  return test::finish("gemm_sgd");
}
