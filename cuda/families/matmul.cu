// C[i, j] (+)= sum_p A[i, p] B[p, j], then bias[j] and an activation, any strides and batches.
// Tensor cores for float32 (gemm_mma.cuh) where the product fills them; few rows or columns: gemm_few.cuh; the rest and
// doubles: gemm_simt.cuh.
// Packed B is B^T as plain rows, so that loads run along p whatever the layout was.
// In order: tensor cores or multiply-adds by the sizes of B alone, sums in one part. All tiles of a kind add up a
// result's terms in the same order, so that a row has the same bits for any m.
#include "families/families.h"
#include "families/gemm_few.cuh"
#include "families/gemm_mma.cuh"
#include "families/gemm_simt.cuh"
#include "families/matmul.h"

namespace dc::cuda {

namespace {

template <class T>
struct Operands {
  MatrixOperand<T> a, b;
  Output<T> out;
  Operands(const MatmulShape& s, const T* a_data, const T* b_data, const T* bias, T* c)
      : a{a_data, s.m, s.a_row, s.a_col, s.a_batch},
        b{b_data, s.n, s.b_col, s.b_row, s.b_batch},
        out{c, s.c_row, 1, s.c_batch, bias, 0, s.activation, s.accumulate, 0, 0, 0, 0, false} {}
};

template <class T>
void gemm(const MatmulShape& s, const T* a, const T* b, const T* packed_b, const T* bias, T* c, Context& context) {
  if (!packed_b) return product("matmul", matmul_precision, s, a, b, bias, c, context);
  MatmulShape plain = s;
  plain.b_row = 1, plain.b_col = s.k, plain.b_batch = 0;
  product("matmul", matmul_precision, plain, a, packed_b, bias, c, context);
}

int64_t packed_b_size(int64_t k, int64_t n) { return k * n; }

constexpr int kThreads = 256;
constexpr long long kUsualRows = 64;  // that products in order are taken to have where their kernel is chosen
// The terms of a part of a sum, at least: sums in order have one part.
constexpr long long least_of(const MatmulShape& s, long long usual) { return s.in_order ? s.k + 1 : usual; }

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    pack_rows(const T* b, T* packed, long long k, long long n, long long b_row, long long b_col) {
  const long long step = static_cast<long long>(grid_size().x) * kThreads;
  for (long long e = static_cast<long long>(block_index().x) * kThreads + thread_index().x; e < k * n; e += step) {
    long long j, p;
    divide(e, k, &j, &p);
    packed[e] = b[p * b_row + j * b_col];
  }
}

// A gradient is stored here, and its step is a launch of its own.
template <class T>
bool gemm_sgd(const MatmulShape&, const T*, const T*, const SgdStep<T>&, T*, Context&) {
  return false;
}

template <class T>
void pack_b(const MatmulShape& s, const T* b, T* packed_b, Context& context) {
  run("pack_linear", context, pack_rows<T>, dim3(blocks_for(s.k * s.n, kThreads)), dim3(kThreads), 0, b, packed_b, s.k,
      s.n, s.b_row, s.b_col);
}

}  // namespace

void product(const char* op, Precision precision, const MatmulShape& s, const float* a, const float* b,
             const float* bias, float* c, Context& context) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  const Operands<float> o(s, a, b, bias, c);
  if (!s.in_order && few_pays(s.m, s.n, s.k)) return few(op, context, o.a, o.b, o.out, s.m, s.n, s.k, s.batch);
  const bool a_along = s.a_col == 1, b_along = s.b_row == 1, both_across = !a_along && b_along;
  if (!mma_pays(precision, s.in_order ? kUsualRows : s.m, s.n, s.k, s.in_order ? 1 : s.batch) || (both_across && bias))
    return simt<true>(op, context, o.a, o.b, o.out, s.m, s.n, s.k, s.batch, least_of(s, kLeastSimtDepth));
  const auto with = [&](const auto& left, const auto& right, const Output<float>& out, int64_t m, int64_t n) {
    mma(op, context, precision, left, right, out, m, n, s.k, s.batch, least_of(s, kLeastDepth));
  };
  if (both_across) {  // C^T = B^T A^T has the layouts of a plain product
    Output<float> turned = o.out;
    turned.row_step = 1, turned.column_step = s.c_row;
    with(matrix_tiles<true>(o.b, s.k), matrix_tiles<false>(o.a, s.k), turned, s.n, s.m);
  } else if (a_along && b_along) {
    with(matrix_tiles<true>(o.a, s.k), matrix_tiles<true>(o.b, s.k), o.out, s.m, s.n);
  } else if (a_along) {
    with(matrix_tiles<true>(o.a, s.k), matrix_tiles<false>(o.b, s.k), o.out, s.m, s.n);
  } else {
    with(matrix_tiles<false>(o.a, s.k), matrix_tiles<false>(o.b, s.k), o.out, s.m, s.n);
  }
}
void product(const char* op, Precision, const MatmulShape& s, const double* a, const double* b, const double* bias,
             double* c, Context& context) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  const Operands<double> o(s, a, b, bias, c);
  if (!s.in_order && few_pays(s.m, s.n, s.k)) return few(op, context, o.a, o.b, o.out, s.m, s.n, s.k, s.batch);
  simt<true>(op, context, o.a, o.b, o.out, s.m, s.n, s.k, s.batch, least_of(s, kLeastSimtDepth));
}

const MatmulKernels<float> matmul_f32 = {gemm<float>, gemm_sgd<float>, packed_b_size, pack_b<float>};
const MatmulKernels<double> matmul_f64 = {gemm<double>, gemm_sgd<double>, packed_b_size, pack_b<double>};

}  // namespace dc::cuda
