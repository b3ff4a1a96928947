// Half steps: which tiles compute a side's summed inputs, and where its units are finished. Tiles are those of products
// (gemm_mma.cuh, gemm_simt.cuh). Where they fill the device a tile's block finishes its units, in one launch;
// where they do not, the sums are cut into parts and finish_parts adds them up: two launches. Inputs that are 0 and 1
// are their own first plane: half as many products of tensor cores, and the same bits.
// exact: ordinary multiply-adds in tiles whose sums run through the inputs in order, never in parts.
#pragma once
#include "families/gemm_mma.cuh"
#include "families/gemm_simt.cuh"
#include "families/rbm_units.cuh"

namespace dc::cuda {

// The products of a half step: rows x `units` sums over `inputs`.
template <class T>
struct HalfProduct {
  long long rows, units, inputs;
  const T* x;
  MatrixOperand<T> w;   // `outer` are units
  bool exact, binary;   // binary: x is 0 and 1
  Precision precision;  // of the whole call: another thread may set another one meanwhile

  HalfProduct(const RbmModel<T>& model, bool up, long long rows_, const T* x_, bool binary_, Precision precision_)
      : rows(rows_),
        units(up ? model.hidden.count : model.visible.count),
        inputs(up ? model.visible.count : model.hidden.count),
        x(x_),
        w{model.w, units, up ? model.visible.count : 1, up ? 1 : model.visible.count, 0},
        exact(model.exact),
        binary(binary_),
        precision(precision_) {}
  MatrixOperand<T> left() const { return {x, rows, inputs, 1, 0}; }
};

template <bool kExact_>
struct Simt {
  static constexpr bool kMma = false, kExact = kExact_;
};
template <Precision kPrecision_, bool kBinary_>
struct Mma {
  static constexpr bool kMma = true, kBinary = kBinary_;
  static constexpr Precision kPrecision = kPrecision_;
};

// with(kind, tile, parts): `parts` without memory.
template <class T, class With>
void with_kernel(const HalfProduct<T>& p, const With& with) {
  const auto of = [&](auto kind) {
    return [&, kind]<class Tile>(Tile tile) {
      const long long tiles = ceil_div(p.rows, Tile::kM) * ceil_div(p.units, Tile::kN);
      if constexpr (decltype(kind)::kMma)
        with(kind, tile, in_parts<T>(tiles, kLeastDepth, kStep, p.rows, p.units, p.inputs, 1));
      else
        with(kind, tile,
             in_parts<T>(tiles, decltype(kind)::kExact ? p.inputs + 1 : kLeastSimtDepth, Tile::kK, p.rows, p.units,
                         p.inputs, 1));
    };
  };
  if constexpr (sizeof(T) == sizeof(float)) {
    if (!p.exact && mma_pays(p.precision, p.rows, p.units, p.inputs, 1)) {
      const auto mma_of = [&]<Precision kPrecision, bool kBinary>(Mma<kPrecision, kBinary> kind) {
        with_mma_tile<kPrecision>(p.rows, p.units, p.inputs, 1, kLeastDepth, of(kind));
      };
      if (p.precision == Precision::tf32) return mma_of(Mma<Precision::tf32, false>());
      if (p.precision == Precision::high)
        return p.binary ? mma_of(Mma<Precision::high, true>()) : mma_of(Mma<Precision::high, false>());
      return p.binary ? mma_of(Mma<Precision::accurate, true>()) : mma_of(Mma<Precision::accurate, false>());
    }
  }
  if (p.exact) return with_simt_tile<false, T>(p.rows, p.units, 1, of(Simt<true>()));
  with_simt_tile<true, T>(p.rows, p.units, 1, of(Simt<false>()));
}

// Numbers of memory that half_product needs.
template <class T>
long long part_numbers(const HalfProduct<T>& p) {
  long long numbers = 0;
  with_kernel(p, [&](auto, auto, const Product<T>& parts) {
    numbers = parts.splits > 1 ? parts.splits * p.rows * p.units : 0;
  });
  return numbers;
}

inline bool all_aligned(std::initializer_list<const void*> pointers) {
  bool all = true;
  for (const void* p : pointers) all = all && aligned(p);
  return all;
}

// What a launch of tiles needs.
template <class T>
struct TileLaunch {
  const char* op;
  Context& context;
  Product<T> parts;
  Output<T> out;
  UnitStep<T> step;

  template <class Tile, class A, class B, class Finish>
  void operator()(Tile, void (*kernel)(A, B, Output<T>, Product<T>, Finish), size_t bytes, const A& a,
                  const B& b) const {
    const long long tiles = ceil_div(parts.m, Tile::kM) * ceil_div(parts.n, Tile::kN);
    launch_parts(tiles, parts, [&](dim3 grid, const Product<T>& now) {
      run(op, context, kernel, grid, dim3(Tile::kThreads), bytes, a, b, out, now, Finish{step});
    });
  }
};

template <class T, bool kExact, class Tile>
void queue_tiles(Simt<kExact>, Tile tile, const HalfProduct<T>& p, const TileLaunch<T>& launch_tiles) {
  using M = MatrixOperand<T>;
  launch_tiles(tile, simt_product<T, Tile, M, M, UnitFinish<T, kExact, false>>, 0, p.left(), p.w);
}
template <Precision kPrecision, bool kBinary, class Tile>
void queue_tiles(Mma<kPrecision, kBinary>, Tile tile, const HalfProduct<float>& p,
                 const TileLaunch<float>& launch_tiles) {
  const auto with = [&]<class W>(const W& w) {
    using X = MatrixTiles<true>;
    launch_tiles(tile, mma_product<kPrecision, Tile, X, W, UnitFinish<float, false, kBinary>>, kMmaBytes<Tile, X, W>,
                 matrix_tiles<true>(p.left(), p.inputs), w);
  };
  if (p.w.p_step == 1)
    with(matrix_tiles<true>(p.w, p.inputs));
  else
    with(matrix_tiles<false>(p.w, p.inputs));
}

// `memory`: of part_numbers of these sizes.
template <class T>
void half_product(const char* op, Context& context, const HalfProduct<T>& p, UnitStep<T> step, T* memory) {
  if (p.rows == 0 || p.units == 0) return;
  step.quads = p.units % 4 == 0 && step.tail == step.count &&
               all_aligned({step.bias, step.variance, step.keep, step.where, step.value, step.mean, step.sample,
                            step.fed, step.base, step.terms});
  Output<T> out{};
  out.c = step.mean, out.row_step = p.units, out.column_step = 1;
  out.quads = quads_of(out, p.units);
  with_kernel(p, [&](auto kind, auto tile, Product<T> parts) {
    parts.partial = memory;
    queue_tiles(kind, tile, p, TileLaunch<T>{op, context, parts, out, step});
    if (parts.splits > 1)
      run(op, context, finish_parts<T>, dim3(blocks_for(p.rows * ceil_div(p.units, 4), kUnitThreads)),
          dim3(kUnitThreads), 0, step, p.rows, memory, parts.splits);
  });
}

}  // namespace dc::cuda
