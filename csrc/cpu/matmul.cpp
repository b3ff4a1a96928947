// GEMM: C[i, j] (+)= sum_p A[i, p] B[p, j], then bias[j] and an activation, for strides as MatmulShape gives them.
// gemm_product.h computes one product; here are batches of them and the packing of weights for many products.
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
const MatmulKernels<float> matmul_f32 = {gemm<float>, packed_b_size, pack_b<float>};
#ifdef DC_ISA_SCALAR
extern const MatmulKernels<double> matmul_f64;
const MatmulKernels<double> matmul_f64 = {gemm<double>, packed_b_size, pack_b<double>};
#endif

}  // namespace dc::DC_ISA
