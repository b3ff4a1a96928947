// GEMM: C[i, j] (+)= sum_p A[i, p] B[p, j], then bias[j] and an activation, for strides as MatmulShape gives them.
// gemm_product.h computes one product; here are batches of them, products that end in a step of SGD, and the
// packing of weights for many products.
#include "kernels/matmul.h"

#include "cpu/gemm_product.h"

namespace dc::DC_ISA {
namespace {

template <class T>
void gemm(const MatmulShape& s, const T* a, const T* b, const T* packed_b, const T* bias, T* c, Context& context) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  MatmulShape one = s;
  one.batch = 1;
  // One B for all and rows that follow each other: a single product.
  if (s.batch > 1 && s.b_batch == 0 && s.a_col == 1 && s.a_batch == s.m * s.a_row && s.c_batch == s.m * s.c_row) {
    one.m = s.batch * s.m;
    return Product<T>(one, a, b, packed_b, bias, c).compute(context);
  }
  const int64_t work = s.m * s.n * max64(s.k, 1);
  const int64_t grain = s.batch > 1 && work < 8 * kTaskWork ? ceil_div(kTaskWork, work) : s.batch;
  const auto some = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      Product<T>(one, a + t * s.a_batch, b + t * s.b_batch, packed_b, bias, c + t * s.c_batch).compute(context);
  };
  parallel_for(context, s.batch, grain, some);
}

// Blocks of a gradient become a step of the parameter while they are in cache.
template <class T>
struct Descent {
  SgdStep<T> step;
  T* param;
  int64_t row_step;

  static void give(const void* owner, int64_t row, int64_t rows, int64_t column, int64_t n, const T* values,
                   int64_t stride) {
    const Descent own = *static_cast<const Descent*>(owner);
    const Vec<T> rate = Vec<T>::set(own.step.rate), grad_scale = Vec<T>::set(own.step.grad_scale);
    const Vec<T> l2 = Vec<T>::set(own.step.l2), keep = Vec<T>::set(own.step.keep);
    for (int64_t i = 0; i < rows; ++i) {
      T* param = own.param + (row + i) * own.row_step + column;
      for_vectors<T>(n, [&](int64_t j, int m) {
        const Vec<T> p = load_any(param + j, m);
        const Vec<T> g = fma(l2, p, load_any(values + i * stride + j, m) * grad_scale);
        store_any(param + j, fnma(rate, g, p * keep), m);
      });
    }
  }

  static void foretell(const void* owner, int64_t row, int64_t rows, int64_t column, int64_t n) {
    const auto& own = *static_cast<const Descent*>(owner);
    for (int64_t i = 0; i < rows; ++i) {
      const T* param = own.param + (row + i) * own.row_step + column;
      for (int64_t j = 0; j < n; j += 64 / sizeof(T)) __builtin_prefetch(param + j, 1);
      __builtin_prefetch(param + n - 1, 1);
    }
  }
};

template <class T>
bool gemm_sgd(const MatmulShape& s, const T* a, const T* b, const SgdStep<T>& step, T* param, Context& context) {
  const Descent<T> descent{step, param, s.c_row};
  const Product<T, Taken<T>> product(s, a, b, nullptr, nullptr, nullptr,
                                     {&descent, &Descent<T>::give, &Descent<T>::foretell});
  const bool can = product.can_be_taken();
  if (can) product.compute(context);
  return can;
}

int64_t packed_b_size(int64_t k, int64_t n) { return ceil_div(n, kTileColumns) * kTileColumns * k; }

template <class T>
void pack_b(const MatmulShape& s, const T* b, T* packed_b, Context& context) {
  const int64_t panels = ceil_div(s.n, kTileColumns);
  parallel_for(context, panels, ceil_div(1 << 14, max64(1, s.k * kTileColumns)), [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      const int64_t column = j * kTileColumns;
      pack_b_panel(b + column * s.b_col, s.b_row, s.b_col, s.k, min64(kTileColumns, s.n - column),
                   packed_b + column * s.k);
    }
  });
}

}  // namespace

extern const MatmulKernels<float> matmul_f32;
const MatmulKernels<float> matmul_f32 = {gemm<float>, gemm_sgd<float>, packed_b_size, pack_b<float>};
#ifdef DC_ISA_SCALAR
extern const MatmulKernels<double> matmul_f64;
const MatmulKernels<double> matmul_f64 = {gemm<double>, gemm_sgd<double>, packed_b_size, pack_b<double>};
#endif

}  // namespace dc::DC_ISA
