// Normalisation: the launches of norm_slab_forward.cuh, norm_slab_grad.cuh (batch, group and instance norm) and
// norm_rows.cuh (layer norm), and the running statistics of batch norm.
#include "families/families.h"
#include "families/norm_rows.cuh"
#include "families/norm_slab_forward.cuh"
#include "families/norm_slab_grad.cuh"
#include "families/walk.cuh"
#include "kernels/norm.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kShortList = 128;  // what a warp adds of a statistic's chunks; longer lists take a block

// Four channels a thread where that is aligned; double takes one.
template <class T>
bool by_fours(const SlabNormShape& s, std::initializer_list<const void*> pointers) {
  return quads_aligned<T>(pointers, s.c);
}

// Calls f with the number of channels of a thread.
template <class T, class F>
void with_width(bool fours, const F& f) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (fours) return f(std::integral_constant<int, 4>());
  }
  f(std::integral_constant<int, 1>());
}

// f(kernel's group, plan) for `rows` lists of `entries`. double always takes warps.
template <class T, class F>
void with_lists(int64_t rows, int64_t entries, const F& f) {
  const RowPlan plan =
      plan_rows<float>(rows, sizeof(T) == sizeof(float) || entries <= kShortList ? entries : kShortList, kShortList);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (!plan.by_warp) return f(BlockRows(), plan);
  }
  f(WarpRows(), plan);
}

template <class T>
void slab_apply(const SlabNormShape& s, const T* x, const T* mean, const T* rstd, const T* gamma, const T* beta, T* y,
                Context& context) {
  with_width<T>(by_fours<T>(s, {x, y, mean, rstd, gamma, beta}), [&](auto width) {
    constexpr int V = decltype(width)::value;
    const SlabTiles t = slab_tiles<T>(s, V);
    const dim3 grid(static_cast<unsigned>(t.blocks(s.slabs))),
        block(static_cast<unsigned>(t.tx), static_cast<unsigned>(t.ty));
    run("norm", context, slab_apply_kernel<T, V>, grid, block, 0, s, t, x, mean, rstd, gamma, beta, y);
  });
}

template <class T>
void slab(const SlabNormShape& s, T epsilon, const T* x, const T* gamma, const T* beta, T* y, T* mean, T* rstd,
          T* variance, Context& context) {
  const char* op = "norm";
  with_width<T>(by_fours<T>(s, {x, y, mean, rstd, variance, gamma, beta}), [&](auto width) {
    constexpr int V = decltype(width)::value;
    const SlabTiles t = slab_tiles<T>(s, V);
    const dim3 grid(static_cast<unsigned>(t.blocks(s.slabs))),
        block(static_cast<unsigned>(t.tx), static_cast<unsigned>(t.ty));
    if (t.whole)
      return run(op, context, slab_whole<T, V>, grid, block, 0, s, t, epsilon, x, gamma, beta, y, mean, rstd, variance);
    const Scratch partial(op, context, static_cast<size_t>(2 * s.slabs * s.c * t.chunks) * sizeof(T));
    run(op, context, slab_moments<T, V>, grid, block, 0, s, t, x, partial.as<T>());
    with_lists<T>(s.slabs * s.groups, s.c / s.groups * t.chunks, [&](auto group, const RowPlan& plan) {
      run(op, context, slab_statistics<T, decltype(group)>, dim3(plan.blocks), dim3(plan.threads), 0, s, t, plan.size,
          epsilon, partial.as<const T>(), mean, rstd, variance);
    });
    run(op, context, slab_apply_kernel<T, V>, grid, block, 0, s, t, x, static_cast<const T*>(mean),
        static_cast<const T*>(rstd), gamma, beta, y);
  });
}

template <class T>
void slab_grad(const SlabNormShape& s, const T* x, const T* g, const T* mean, const T* rstd, const T* gamma,
               const T* beta, T* gx, T* ggamma, T* gbeta, Context& context) {
  const char* op = "norm_grad";
  if (s.c == 0 || (!gx && !ggamma)) return;
  with_width<T>(by_fours<T>(s, {x, g, gx, mean, rstd, gamma, beta, ggamma, gbeta}), [&](auto width) {
    constexpr int V = decltype(width)::value;
    const SlabTiles t = slab_tiles<T>(s, V);
    const dim3 grid(static_cast<unsigned>(t.blocks(s.slabs))),
        block(static_cast<unsigned>(t.tx), static_cast<unsigned>(t.ty));
    const int64_t sums = 2 * s.slabs * s.c * t.chunks, groups = s.slabs * s.groups;
    const Scratch memory(op, context, static_cast<size_t>(sums + 2 * groups) * sizeof(T));
    T *partial = memory.as<T>(), *pull = t.chunks > 0 && gx && !t.whole ? partial + sums : nullptr;
    if (t.whole) {
      run(op, context, slab_grad_whole<T, V>, grid, block, 0, s, t, x, g, mean, rstd, gamma, beta, gx, ggamma, gbeta,
          s.slabs > 1 && ggamma ? partial : nullptr);
      if (s.slabs == 1) return;
    } else if (t.chunks > 0)
      run(op, context, slab_grad_sums<T, V>, grid, block, 0, s, t, x, g, mean, rstd, gamma, beta, partial);
    const int64_t rows = (pull ? groups : 0) + (ggamma ? s.c : 0), width_of = s.c / s.groups;
    if (rows > 0)
      with_lists<T>(rows, (width_of > s.slabs ? width_of : s.slabs) * t.chunks, [&](auto group, const RowPlan& plan) {
        run(op, context, slab_grad_factors<T, decltype(group)>, dim3(plan.blocks), dim3(plan.threads), 0, s, t,
            plan.size, static_cast<const T*>(partial), rstd, gamma, pull, ggamma, gbeta);
      });
    if (pull)
      run(op, context, slab_grad_apply<T, V>, grid, block, 0, s, t, x, g, mean, rstd, gamma, beta,
          static_cast<const T*>(pull), gx);
  });
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    update_running_kernel(long long c, T unbias, T momentum, const T* DC_RESTRICT mean, const T* DC_RESTRICT variance,
                          T* DC_RESTRICT running_mean, T* DC_RESTRICT running_variance) {
  for (long long k = first_index(kThreads); k < c; k += grid_step(kThreads)) {
    running_mean[k] += momentum * (mean[k] - running_mean[k]);
    running_variance[k] += momentum * (variance[k] * unbias - running_variance[k]);
  }
}

template <class T>
void update_running(int64_t c, int64_t rows, T momentum, const T* mean, const T* variance, T* running_mean,
                    T* running_variance, Context& context) {
  const T unbias = rows > 1 ? static_cast<T>(rows) / static_cast<T>(rows - 1) : T(1);
  run("update_running", context, update_running_kernel<T>, dim3(blocks_for(c, kThreads)), dim3(kThreads), 0, c, unbias,
      momentum, mean, variance, running_mean, running_variance);
}

template <class T>
void row(int64_t rows, int64_t c, T epsilon, const T* x, const T* gamma, const T* beta, T* y, T* mean, T* rstd,
         Context& context) {
  const RowPlan plan = plan_rows<T>(rows, c, kShortRow);
  const bool vector = quads_aligned<T>({x, gamma, beta, y}, c);
  const auto launch_rows = [&](auto group) {
    run("layer_norm", context, norm_rows<T, decltype(group)>, dim3(plan.blocks), dim3(plan.threads), 0, rows, c,
        plan.size, vector, epsilon, x, gamma, beta, y, mean, rstd);
  };
  if constexpr (sizeof(T) == sizeof(float)) {
    if (plan.by_warp) return launch_rows(WarpRows());
  }
  launch_rows(BlockRows());
}

template <class T>
void row_grad(int64_t rows, int64_t c, const T* x, const T* g, const T* mean, const T* rstd, const T* gamma, T* gx,
              T* ggamma, T* gbeta, Context& context) {
  const char* op = "layer_norm_grad";
  if (c == 0 || (!gx && !ggamma)) return;
  RowPlan plan = plan_rows<T>(rows, c, kShortGradRow);
  // Where blocks leave sums, each takes several rows: what it leaves is little beside what it read.
  if (ggamma) {
    const int groups = plan.by_warp ? static_cast<int>(plan.threads) / plan.size : 1;
    plan.blocks = rows > 0 ? blocks_for(rows, groups, 8, plan.by_warp ? 528 : 264) : 0;
  }
  const bool vector = quads_aligned<T>({x, g, gamma, gx}, c);
  const Scratch partial(op, context,
                        (ggamma ? static_cast<size_t>(plan.blocks) * 2 * static_cast<size_t>(c) : 1) * sizeof(T));
  const auto launch_rows = [&](auto group) {
    run(op, context, norm_grad_rows<T, decltype(group)>, dim3(plan.blocks), dim3(plan.threads), 0, rows, c, plan.size,
        vector, x, g, mean, rstd, gamma, gx, ggamma ? partial.as<T>() : nullptr);
  };
  if (rows > 0) {
    if constexpr (sizeof(T) == sizeof(float))
      plan.by_warp ? launch_rows(WarpRows()) : launch_rows(BlockRows());
    else
      launch_rows(BlockRows());
  }
  if (ggamma) {
    const dim3 block(kAddColumns, static_cast<unsigned>(power_of_two_from(plan.blocks, 32)));
    run(op, context, add_parts<T>, dim3(static_cast<unsigned>((2 * c + kAddColumns - 1) / kAddColumns)), block, 0,
        static_cast<long long>(plan.blocks), c, partial.as<const T>(), ggamma, gbeta);
  }
}

template <class T>
inline constexpr NormKernels<T> kNorm = {slab<T>, slab_apply<T>, slab_grad<T>, update_running<T>, row<T>, row_grad<T>};

}  // namespace

const NormKernels<float> norm_f32 = kNorm<float>;
const NormKernels<double> norm_f64 = kNorm<double>;

}  // namespace dc::cuda
