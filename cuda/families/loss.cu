// Cross-entropy, and the table of the family; formulas in kernels/loss.h. Matrices are (rows, c), contiguous.
// Kernels that need sums along a row take it by a group of threads (rows.cuh): lanes of a warp up to c = 1024, which
// then stays in registers between its passes, a block beyond. What follows from the log-sum-exp alone, the gradient of
// cross-entropy, goes by elements. Softmax: loss_softmax.cuh, binary cross-entropy: loss_binary.cuh.
// Split: groups over rows, or threads over elements. Bound: memory, one read of each matrix and one write of the
// result; cross-entropy reads x once and writes two numbers a row.
#include "families/families.h"
#include "families/loss_binary.cuh"
#include "families/loss_softmax.cuh"
#include "families/walk.cuh"
#include "kernels/loss.h"

namespace dc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kShortRow = 1024;  // of a warp: 32 lanes, 8 quads each
constexpr long long kSummedByBlock = 16384;

// The smoothed part is summed as w (lse - x), after the log-sum-exp: nothing cancels.
template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, Group::kBlocks)
    cross_entropy_rows(CrossEntropyShape<T> s, int size, bool vector, const T* DC_RESTRICT x,
                       const int64_t* DC_RESTRICT labels, const T* DC_RESTRICT weights, T* DC_RESTRICT loss,
                       T* DC_RESTRICT lse) {
  const Group group{size};
  for (long long base = group.first(); base < s.rows; base += group.step()) {
    const RowPart part = group.part(base, s.rows, s.c, vector);
    const T* from = x + part.row * s.c;
    Quad<T> held[kHeld<T, Group>];
    const RowSum<T> row = sum_exponentials(group, part, from, held, false);
    const T level = row.top + log_of(row.sum);
    T spread = 0;
    if (s.smoothing != T(0)) {
      const auto add = [&](const Quad<T>& v, auto q) {
        for (int i = 0; i < 4; ++i) {
          const auto k = part.first(q) + i * part.step();
          if (part.inside(k)) spread = fma_of(weights ? weights[k] : T(1), level - v.of[i], spread);
        }
      };
      for_quads<Group::kRest>(
          part, held, [&](int q, const Quad<T>& v) { add(v, q); },
          [&](long long q) { add(load_quad(from, part, q, T(0)), q); });
      spread = group.reduce(spread, T(0), Sum());
    }
    if (part.rank == 0 && part.row < s.rows) {
      const int64_t label = labels[part.row];
      T value = 0;
      if (label != s.ignore_label && s.c > 0) {
        value = (T(1) - s.smoothing) * (weights ? weights[label] : T(1)) * (level - from[label]);
        if (s.smoothing != T(0)) value += s.smoothing / static_cast<T>(s.c) * spread;
      }
      loss[part.row] = value;
      lse[part.row] = level;
    }
  }
}

// gx = (p (push + even all) - even w - push at the label) g, with p = exp(x - lse), push = (1 - e) w_y, even = e / c
// and all = the sum of the weights (null: c). Four neighbours at a time where c and the pointers allow.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    cross_entropy_grad_kernel(CrossEntropyShape<T> s, bool vector, const T* DC_RESTRICT x,
                              const int64_t* DC_RESTRICT labels, const T* DC_RESTRICT weights,
                              const T* DC_RESTRICT weight_sum, const T* DC_RESTRICT lse, const T* DC_RESTRICT g,
                              long long g_step, T g_scale, T* DC_RESTRICT gx) {
  const T even = s.smoothing / static_cast<T>(s.c), all = weight_sum ? *weight_sum : static_cast<T>(s.c);
  const int width = vector ? 4 : 1;
  const long long columns = s.c / width, units = s.rows * columns;
  for (long long u = first_index(kThreads); u < units; u += grid_step(kThreads)) {
    const long long row = units <= 0x7FFFFFFF ? static_cast<unsigned>(u) / static_cast<unsigned>(columns) : u / columns;
    const long long column = (u - row * columns) * width;
    const int64_t label = labels[row];
    const bool counts = label != s.ignore_label;
    const T scale = g[row * g_step] * g_scale, level = lse[row];
    const T push = (T(1) - s.smoothing) * (weights && counts ? weights[label] : T(1)),
            pull = (push + even * all) * scale;
    const auto at = [&](T v, long long k) {
      T r = exp_of(v - level) * pull;
      if (s.smoothing != T(0)) r = fma_of(-scale, even * (weights ? weights[k] : T(1)), r);
      if (k == label) r -= push * scale;
      return counts ? r : T(0);  // even where x holds NaN
    };
    const long long i = row * s.c + column;
    if constexpr (sizeof(T) == sizeof(float)) {
      if (vector) {
        const float4 v = load<float4>(x + i);
        store(gx + i, float4{at(v.x, column), at(v.y, column + 1), at(v.z, column + 2), at(v.w, column + 3)});
        continue;
      }
    }
    gx[i] = at(x[i], column);
  }
}

// A target of 0 silences a logit of -inf, as 0 log 0 = 0.
template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, Group::kBlocks)
    soft_cross_entropy_rows(long long rows, long long c, int size, bool vector, const T* DC_RESTRICT x,
                            const T* DC_RESTRICT t, const T* DC_RESTRICT weights, T* DC_RESTRICT loss,
                            T* DC_RESTRICT lse) {
  const Group group{size};
  for (long long base = group.first(); base < rows; base += group.step()) {
    const RowPart part = group.part(base, rows, c, vector);
    const T *from = x + part.row * c, *targets = t + part.row * c;
    Quad<T> held[kHeld<T, Group>];
    const RowSum<T> row = sum_exponentials(group, part, from, held, false);
    const T level = row.top + log_of(row.sum);
    T sum = 0;
    const auto add = [&](const Quad<T>& v, auto q) {
      const Quad<T> target = load_quad(targets, part, q, T(0));
      const Quad<T> w = weights ? load_quad(weights, part, q, T(0)) : Quad<T>{T(1), T(1), T(1), T(1)};
      DC_UNROLL
      for (int i = 0; i < 4; ++i)
        if (target.of[i] != T(0)) sum = fma_of(target.of[i] * (level - v.of[i]), w.of[i], sum);
    };
    for_quads<Group::kRest>(
        part, held, [&](int q, const Quad<T>& v) { add(v, q); },
        [&](long long q) { add(load_quad(from, part, q, T(0)), q); });
    sum = group.reduce(sum, T(0), Sum());
    if (part.rank == 0 && part.row < rows) {
      loss[part.row] = sum;
      lse[part.row] = level;
    }
  }
}

// gx = g (exp(x - lse) sum w t - w t), gt = -g w (x - lse).
template <class T, class Group>
DC_KERNEL void DC_LAUNCH_BOUNDS(Group::kThreads, Group::kBlocks)
    soft_cross_entropy_grad_rows(long long rows, long long c, int size, bool vector, const T* DC_RESTRICT x,
                                 const T* DC_RESTRICT t, const T* DC_RESTRICT weights, const T* DC_RESTRICT lse,
                                 const T* DC_RESTRICT g, long long g_step, T g_scale, T* DC_RESTRICT gx,
                                 T* DC_RESTRICT gt) {
  const Group group{size};
  for (long long base = group.first(); base < rows; base += group.step()) {
    const RowPart part = group.part(base, rows, c, vector);
    const long long o = part.row * c;
    const bool live = part.row < rows;
    const T level = live ? lse[part.row] : T(0), scale = live ? g[part.row * g_step] * g_scale : T(0);
    Quad<T> held[kHeld<T, Group>];  // w t
    T mass = 0;
    const auto weights_of = [&](auto q) {
      return weights ? load_quad(weights, part, q, T(0)) : Quad<T>{T(1), T(1), T(1), T(1)};
    };
    const auto weighted = [&](auto q) {
      Quad<T> v = load_quad(t + o, part, q, T(0));
      if (weights) {
        const Quad<T> w = weights_of(q);
        DC_UNROLL
        for (int i = 0; i < 4; ++i) v.of[i] *= w.of[i];
      }
      return v;
    };
    const auto add = [&](const Quad<T>& v) { mass += (v.of[0] + v.of[1]) + (v.of[2] + v.of[3]); };
    if (gx) {
      for_quads<Group::kRest>(
          part, held,
          [&](int q, Quad<T>& v) {
            v = weighted(q);
            add(v);
          },
          [&](long long q) { add(weighted(q)); });
      mass = group.reduce(mass, T(0), Sum());
    }
    const auto give = [&](const Quad<T>& target, auto q) {
      const Quad<T> v = load_quad(x + o, part, q, T(0));
      Quad<T> a, b;
      const Quad<T> w = weights_of(q);
      DC_UNROLL
      for (int i = 0; i < 4; ++i) {
        const T d = v.of[i] - level;
        a.of[i] = gx ? scale * fma_of(exp_of(d), mass, -target.of[i]) : T(0);
        b.of[i] = -scale * (d * w.of[i]);
      }
      if (gx) store_quad(gx + o, part, q, a);
      if (gt) store_quad(gt + o, part, q, b);
    };
    for_quads<Group::kRest>(
        part, held, [&](int q, const Quad<T>& v) { give(v, q); },
        [&](long long q) { give(gx ? weighted(q) : Quad<T>{}, q); });
  }
}

// Sums of parts of x in double: one a block into `partial`, or, by a single block, scaled into y.
template <class From, class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    sum_parts(long long n, double scale, const From* DC_RESTRICT x, double* DC_RESTRICT partial, T* DC_RESTRICT y) {
  const long long begin = block_index().x * kSummedByBlock;
  const long long end = begin + kSummedByBlock < n && grid_size().x > 1 ? begin + kSummedByBlock : n;
  double sum = 0;
  for (long long i = begin + thread_index().x; i < end; i += block_size().x) sum += static_cast<double>(x[i]);
  sum = block_sum(sum);
  if (thread_index().x == 0) {
    if (partial)
      partial[block_index().x] = sum;
    else
      *y = static_cast<T>(sum * scale);
  }
}

// ---- launches ----

template <class T, class Kernels, class... A>
void run_rows(const char* op, Context& context, const RowPlan& plan, const Kernels& kernels, A... arguments) {
  const dim3 grid(plan.blocks), block(plan.threads);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (plan.by_warp) return run(op, context, kernels.template of<WarpRows>(), grid, block, 0, arguments...);
  }
  run(op, context, kernels.template of<BlockRows>(), grid, block, 0, arguments...);
}

// The two kernels of one name.
#define DC_ROW_KERNELS(name)     \
  template <class T>             \
  struct name##_of {             \
    template <class Group>       \
    static constexpr auto of() { \
      return name<T, Group>;     \
    }                            \
  }
DC_ROW_KERNELS(softmax_rows);
DC_ROW_KERNELS(softmax_grad_rows);
DC_ROW_KERNELS(cross_entropy_rows);
DC_ROW_KERNELS(soft_cross_entropy_rows);
DC_ROW_KERNELS(soft_cross_entropy_grad_rows);
#undef DC_ROW_KERNELS

template <class T, bool kLogarithm>
void softmax(int64_t rows, int64_t c, const T* x, T* y, Context& context) {
  const RowPlan plan = plan_rows<T>(rows, c, kShortRow);
  run_rows<T>(kLogarithm ? "log_softmax" : "softmax", context, plan, softmax_rows_of<T>(), rows, c, plan.size,
              quads_aligned<T>({x, y}, c), kLogarithm, x, y);
}

template <class T, bool kLogarithm>
void softmax_grad(int64_t rows, int64_t c, const T* y, const T* g, T* gx, Context& context) {
  const RowPlan plan = plan_rows<T>(rows, c, kShortRow);
  run_rows<T>(kLogarithm ? "log_softmax_grad" : "softmax_grad", context, plan, softmax_grad_rows_of<T>(), rows, c,
              plan.size, quads_aligned<T>({y, g, gx}, c), kLogarithm, y, g, gx);
}

template <class T>
void cross_entropy(const CrossEntropyShape<T>& s, const T* x, const int64_t* labels, const T* weights, T* loss, T* lse,
                   Context& context) {
  const RowPlan plan = plan_rows<T>(s.rows, s.c, kShortRow);
  run_rows<T>("softmax_cross_entropy", context, plan, cross_entropy_rows_of<T>(), s, plan.size,
              quads_aligned<T>({x}, s.c), x, labels, weights, loss, lse);
}

unsigned block_for(int64_t n) { return static_cast<unsigned>(n < kThreads ? (n + 31) / 32 * 32 : kThreads); }

template <class T>
void total(int64_t n, double scale, const T* x, T* y, Context& context) {
  const char* op = "total";
  const int64_t parts = (n + kSummedByBlock - 1) / kSummedByBlock;
  double* none = nullptr;
  if (parts <= 1) return run(op, context, sum_parts<T, T>, dim3(1), dim3(block_for(n + 1)), 0, n, scale, x, none, y);
  const Scratch partial(op, context, static_cast<size_t>(parts) * sizeof(double));
  run(op, context, sum_parts<T, T>, dim3(static_cast<unsigned>(parts)), dim3(kThreads), 0, n, scale, x,
      partial.as<double>(), y);
  run(op, context, sum_parts<double, T>, dim3(1), dim3(kThreads), 0, parts, scale, partial.as<const double>(), none, y);
}

template <class T>
void cross_entropy_grad(const CrossEntropyShape<T>& s, const T* x, const int64_t* labels, const T* weights,
                        const T* lse, const T* g, int64_t g_step, T g_scale, T* gx, Context& context) {
  const char* op = "softmax_cross_entropy_grad";
  const bool vector = quads_aligned<T>({x, gx}, s.c);
  const auto launch_grad = [&](const T* weight_sum) {
    run(op, context, cross_entropy_grad_kernel<T>, dim3(blocks_for(s.rows * s.c, kThreads, vector ? 4 : 1)),
        dim3(kThreads), 0, s, vector, x, labels, weights, weight_sum, lse, g, g_step, g_scale, gx);
  };
  if (!weights || s.smoothing == T(0)) return launch_grad(nullptr);
  const Scratch sum(op, context, sizeof(T));
  total(s.c, 1.0, weights, sum.as<T>(), context);
  launch_grad(sum.as<const T>());
}

template <class T>
void soft_cross_entropy(int64_t rows, int64_t c, const T* x, const T* t, const T* weights, T* loss, T* lse,
                        Context& context) {
  const RowPlan plan = plan_rows<T>(rows, c, kShortRow);
  run_rows<T>("soft_cross_entropy", context, plan, soft_cross_entropy_rows_of<T>(), rows, c, plan.size,
              quads_aligned<T>({x, t, weights}, c), x, t, weights, loss, lse);
}

template <class T>
void soft_cross_entropy_grad(int64_t rows, int64_t c, const T* x, const T* t, const T* weights, const T* lse,
                             const T* g, int64_t g_step, T g_scale, T* gx, T* gt, Context& context) {
  const RowPlan plan = plan_rows<T>(rows, c, kShortRow);
  run_rows<T>("soft_cross_entropy_grad", context, plan, soft_cross_entropy_grad_rows_of<T>(), rows, c, plan.size,
              quads_aligned<T>({x, t, weights, gx, gt}, c), x, t, weights, lse, g, g_step, g_scale, gx, gt);
}

// Whether groups of four neighbours can be taken.
template <class T>
bool by_fours(std::initializer_list<const void*> pointers, int64_t c, const T* pos_weight) {
  return quads_aligned<T>(pointers, pos_weight ? c : 0);
}

template <class T>
void bce_logits(int64_t rows, int64_t c, const T* x, const T* t, const T* pos_weight, T* loss, Context& context) {
  const int64_t n = rows * c;
  const bool vector = by_fours({x, t, loss}, c, pos_weight);
  run("bce_with_logits", context, bce_kernel<T>, dim3(blocks_for(n, kThreads, vector ? 4 : 1)), dim3(kThreads), 0, n, c,
      vector, x, t, pos_weight, loss);
}

template <class T>
void bce_logits_grad(int64_t rows, int64_t c, const T* x, const T* t, const T* pos_weight, const T* g, int64_t g_step,
                     T* gx, T* gt, Context& context) {
  const int64_t n = rows * c;
  const bool vector = by_fours({x, t, g_step ? g : x, gx, gt}, c, pos_weight);
  run("bce_with_logits_grad", context, bce_grad_kernel<T>, dim3(blocks_for(n, kThreads, vector ? 4 : 1)),
      dim3(kThreads), 0, n, c, vector, x, t, pos_weight, g, g_step != 0, gx, gt);
}

template <class T>
inline constexpr LossKernels<T> kLoss = {softmax<T, false>,
                                         softmax<T, true>,
                                         softmax_grad<T, false>,
                                         softmax_grad<T, true>,
                                         cross_entropy<T>,
                                         cross_entropy_grad<T>,
                                         soft_cross_entropy<T>,
                                         soft_cross_entropy_grad<T>,
                                         bce_logits<T>,
                                         bce_logits_grad<T>,
                                         total<T>};

}  // namespace

const LossKernels<float> loss_f32 = kLoss<float>;
const LossKernels<double> loss_f64 = kLoss<double>;

}  // namespace dc::cuda
