// What the files of restricted Boltzmann machines share: streams of random words, and the product of a half step with a
// finish of its own. Both directions read w packed once per call of k > 1 steps.
#pragma once
#include "cpu/bit_product.h"
#include "cpu/simd/philox_vec.h"
#include "kernels/rbm.h"

namespace dc::DC_ISA {

static_assert(PhiloxStream::kRowWords == kTileColumns, "a tile's row reads one run of blocks");

static constexpr int64_t kRbmRowsPerTask = 8;

static inline PhiloxStream stream_of(const RbmKey& key, bool hidden) {
  return {key.seed, key.layer << 48 | (2 * key.step + (hidden ? 1 : 0))};
}

static inline uint64_t block_of(int64_t row, int64_t unit) {
  return static_cast<uint64_t>(row) << 24 | static_cast<uint64_t>(unit) / 4;
}

static inline int64_t panels_size(int64_t k, int64_t n) { return ceil_div(n, kTileColumns) * kTileColumns * k; }

// The product of one direction, without its rows.
template <class T>
static inline MatmulShape direction(const RbmModel<T>& model, bool up) {
  MatmulShape p{};
  const int64_t visible = model.visible.count;
  p.k = up ? visible : model.hidden.count;
  p.n = up ? model.hidden.count : visible;
  p.a_row = p.k;
  p.a_col = 1;
  p.b_row = up ? 1 : visible;
  p.b_col = up ? visible : 1;
  p.c_row = p.n;
  return p;
}

static inline int64_t packed_size(int64_t visible, int64_t hidden) {
  return panels_size(visible, hidden) + panels_size(hidden, visible);
}

// Sampled states go by bits, everything else by multiply-adds: which it is depends on the values of x.
// A product with packed weights goes through panels whatever its rows are.
template <class T, class F>
static inline void product(const RbmModel<T>& model, bool up, int64_t rows, const T* x, const T* bias, const T* packed,
                           T* y, const F& finish, Context& context) {
  MatmulShape p = direction(model, up);
  p.m = rows;
  if (packed && !up) packed += panels_size(model.visible.count, model.hidden.count);
  if (p.k == 0) packed = nullptr;
  if (rows >= kLeastBitRows && p.k > 0) {
    auto* words =
        static_cast<uint32_t*>(thread_scratch(0, static_cast<size_t>(rows * bit_words(p.k)) * sizeof(uint32_t)));
    const T value = value_of_bits(x, rows * p.k);
    if (bits_of_rows(x, rows, p.k, value, words, context))
      return bit_product(p, BitRows<T>{words, rows, value}, model.w, packed, bias, y, finish, context);
  }
  Product<T, F>(p, x, model.w, packed, bias, y, finish).compute(context);
}

// rbm_sums.cpp; the contract is that of RbmKernels.
template <class T>
void rbm_free_energy(const RbmModel<T>& model, int64_t rows, const T* x, T* z, T* f, Context& context);
template <class T>
void rbm_anneal(const RbmModel<T>& model, const RbmAnnealing<T>& a, const RbmKey& key, const T* packed,
                Context& context);
template <class T>
void rbm_statistics(const RbmModel<T>& model, int64_t rows, const T* v0, const T* h0, int64_t chains, const T* v1,
                    const T* h1, T* scratch, T* gw, T* gb, T* gc, Context& context);
template <class T>
void rbm_swap(int64_t chains, int64_t copies, int64_t parity, int64_t width, const T* beta, const T* energy, T* h,
              T* swapped, const RbmKey& key, Context& context);

// rbm.cpp.
template <class T>
void rbm_half_step(const RbmModel<T>& model, const RbmHalfStep<T>& s, const RbmKey& key, const T* packed,
                   Context& context);

}  // namespace dc::DC_ISA
