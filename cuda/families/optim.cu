// Optimizer steps in place over lists of tensors; formulas in kernels/optim.h, steps in optim_steps.cuh.
// One launch for a list of any length: a table on the device holds pointers and sizes, all tensors are cut into chunks
// of kChunk elements, and a block that takes a chunk finds its tensor by binary search over the first chunks.
// Split: blocks over chunks, threads over the elements of a chunk, 16 bytes at a time where the pointers allow.
// Sums: a number for each chunk, then a block for each tensor adds those in double, in a fixed order that depends on
// the tensor's size alone. Bound: memory (Adam: four reads and three writes an element, 28 bytes in float).
#include <type_traits>
#include <vector>

#include "device/block.cuh"
#include "families/families.h"
#include "families/optim_steps.cuh"
#include "families/unit.cuh"
#include "kernels/optim.h"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

constexpr long long kChunk = 4096;
constexpr int kThreads = 256, kColumns = 32, kColumnRows = 8;

template <class T>
struct TensorEntry {
  T* param;
  const T* grad;
  T* state[3];
  long long size, first_chunk;  // one more entry at the end has the number of all chunks
  long long vector;             // pointers that are multiples of 16
};

// The last entry whose first chunk is not above `chunk`: empty tensors share theirs with the next one.
template <class T>
DC_DEVICE const TensorEntry<T>& tensor_of(const TensorEntry<T>* tensors, int count, long long chunk) {
  int low = 0, high = count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (tensors[middle].first_chunk <= chunk)
      low = middle;
    else
      high = middle;
  }
  return tensors[low];
}

template <class T, class Step>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, sizeof(T) == sizeof(float) ? 3 : 2)
    step_kernel(Step passed, const Step* recorded, const TensorEntry<T>* DC_RESTRICT tensors, int count,
                long long chunks) {
  constexpr int W = kWidth<T>;
  Step step = passed;
  if (recorded) step = *recorded;
  const Uses u = uses(step);
  const int threads = static_cast<int>(block_size().x), me = static_cast<int>(thread_index().x);
  for (long long chunk = block_index().x; chunk < chunks; chunk += grid_size().x) {
    const TensorEntry<T>& t = tensor_of(tensors, count, chunk);
    const long long begin = (chunk - t.first_chunk) * kChunk, left = t.size - begin;
    const int n = static_cast<int>(left < kChunk ? left : kChunk), whole = t.vector ? n / W * W : 0;
    T* p = t.param + begin;
    const T* g = u.grad ? t.grad + begin : nullptr;
    T* const s[3] = {u.state[0] ? t.state[0] + begin : nullptr, u.state[1] ? t.state[1] + begin : nullptr,
                     u.state[2] ? t.state[2] + begin : nullptr};
    for (int i = me * W; i < whole; i += threads * W) {
      T ps[W], gs[W] = {}, ss[3][W] = {};
      load_unit(p + i, ps);
      if (u.grad) load_unit(g + i, gs);
      DC_UNROLL
      for (int j = 0; j < 3; ++j)
        if (u.state[j]) load_unit(s[j] + i, ss[j]);
      DC_UNROLL
      for (int k = 0; k < W; ++k) {
        Element<T> e{ps[k], gs[k], {ss[0][k], ss[1][k], ss[2][k]}};
        update(step, e);
        ps[k] = e.p, ss[0][k] = e.s[0], ss[1][k] = e.s[1], ss[2][k] = e.s[2];
      }
      if (u.param) store_unit(p + i, ps);
      DC_UNROLL
      for (int j = 0; j < 3; ++j)
        if (u.state[j]) store_unit(s[j] + i, ss[j]);
    }
    for (int i = whole + me; i < n; i += threads) {
      Element<T> e{p[i], u.grad ? g[i] : T(0), {}};
      DC_UNROLL
      for (int j = 0; j < 3; ++j)
        if (u.state[j]) e.s[j] = s[j][i];
      update(step, e);
      if (u.param) p[i] = e.p;
      DC_UNROLL
      for (int j = 0; j < 3; ++j)
        if (u.state[j]) s[j][i] = e.s[j];
    }
  }
}

// partial[chunk] = sum of grad^2 over a chunk, or how many of its numbers are not finite.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) sum_chunks(bool not_finite, const TensorEntry<T>* DC_RESTRICT tensors,
                                                   int count, long long chunks, double* DC_RESTRICT partial) {
  constexpr int W = kWidth<T>;
  const int threads = static_cast<int>(block_size().x), me = static_cast<int>(thread_index().x);
  for (long long chunk = block_index().x; chunk < chunks; chunk += grid_size().x) {
    const TensorEntry<T>& t = tensor_of(tensors, count, chunk);
    const long long begin = (chunk - t.first_chunk) * kChunk, left = t.size - begin;
    const int n = static_cast<int>(left < kChunk ? left : kChunk), whole = t.vector ? n / W * W : 0;
    const T* g = t.grad + begin;
    T sum = 0;
    const auto add = [&](T v) {
      if (not_finite)
        sum += v * T(0) == T(0) ? T(0) : T(1);
      else
        sum = fma_of(v, v, sum);
    };
    for (int i = me * W; i < whole; i += threads * W) {
      T v[W];
      load_unit(g + i, v);
      DC_UNROLL
      for (int k = 0; k < W; ++k) add(v[k]);
    }
    for (int i = whole + me; i < n; i += threads) add(g[i]);
    const double all = block_sum(static_cast<double>(sum));
    if (me == 0) partial[chunk] = all;
  }
}

// A block for each tensor.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(128, 8) sum_tensors(const TensorEntry<T>* DC_RESTRICT tensors, int count,
                                                    const double* DC_RESTRICT partial, double* DC_RESTRICT sums) {
  for (int t = static_cast<int>(block_index().x); t < count; t += static_cast<int>(grid_size().x)) {
    double sum = 0;
    for (long long c = tensors[t].first_chunk + thread_index().x; c < tensors[t + 1].first_chunk; c += block_size().x)
      sum += partial[c];
    sum = block_sum(sum);
    if (thread_index().x == 0) sums[t] = sum;
  }
}

template <class T>
DC_DEVICE T shrink_factor(double square, T limit) {
  const double norm = ::sqrt(square);
  return norm > static_cast<double>(limit) ? static_cast<T>(static_cast<double>(limit) / norm) : T(1);
}

// A block for each unit: its elements are `outer` runs of `inner` neighbours.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    max_norm_units(long long outer, long long units, long long inner, T limit, T* w) {
  for (long long u = block_index().x; u < units; u += grid_size().x) {
    const auto at = [&](long long i) {
      const long long run = outer == 1 ? 0 : i / inner;
      return (run * units + u) * inner + (i - run * inner);
    };
    double sum = 0;
    for (long long i = thread_index().x; i < outer * inner; i += block_size().x) {
      const double v = static_cast<double>(w[at(i)]);
      sum += v * v;
    }
    const T factor = shrink_factor(block_sum(sum), limit);
    if (factor != T(1))
      for (long long i = thread_index().x; i < outer * inner; i += block_size().x) w[at(i)] *= factor;
  }
}

// inner = 1: units are columns, eight threads of a block to each.
template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) max_norm_columns(long long rows, long long units, T limit, T* w) {
  DC_SHARED(double[kColumnRows][kColumns], squares);
  const int column = static_cast<int>(thread_index().x), part = static_cast<int>(thread_index().y);
  for (long long first = static_cast<long long>(block_index().x) * kColumns; first < units;
       first += static_cast<long long>(grid_size().x) * kColumns) {
    const long long u = first + column;
    double sum = 0;
    if (u < units)
      for (long long i = part; i < rows; i += kColumnRows) {
        const double v = static_cast<double>(w[i * units + u]);
        sum += v * v;
      }
    squares[part][column] = sum;
    sync_block();
    sum = 0;
    for (int k = 0; k < kColumnRows; ++k) sum += squares[k][column];
    sync_block();
    const T factor = shrink_factor(sum, limit);
    if (u < units && factor != T(1))
      for (long long i = part; i < rows; i += kColumnRows) w[i * units + u] *= factor;
  }
}

// The list as a table on the device, and what a launch over its chunks needs.
template <class T>
struct ListPlan {
  const TensorEntry<T>* tensors;
  int count;
  long long chunks;
  dim3 grid, block;
};

template <class T>
ListPlan<T> plan(const char* op, const TensorList<T>& list, Context& context) {
  std::vector<TensorEntry<T>> entries(static_cast<size_t>(list.count) + 1);
  long long chunks = 0, largest = 0;
  for (int64_t i = 0; i <= list.count; ++i) {
    TensorEntry<T>& e = entries[static_cast<size_t>(i)];
    e = {};
    e.first_chunk = chunks;
    if (i == list.count) break;
    e.size = list.size[i];
    uintptr_t bits = 0;
    if (list.param) bits |= reinterpret_cast<uintptr_t>(e.param = list.param[i]);
    if (list.grad) bits |= reinterpret_cast<uintptr_t>(e.grad = list.grad[i]);
    for (int j = 0; j < 3; ++j)
      if (list.state[j]) bits |= reinterpret_cast<uintptr_t>(e.state[j] = list.state[j][i]);
    e.vector = bits % 16 == 0;
    chunks += (e.size + kChunk - 1) / kChunk;
    if (e.size > largest) largest = e.size;
  }
  const void* table =
      chunks > 0 ? device_table(op, context, entries.data(), entries.size() * sizeof(TensorEntry<T>)) : nullptr;
  const long long wanted = (largest + 127) / 128 * 32;
  const dim3 block(static_cast<unsigned>(wanted < kThreads ? wanted : kThreads)), grid(blocks_for(chunks, 1));
  return {static_cast<const TensorEntry<T>*>(table), static_cast<int>(list.count), chunks, grid, block};
}

template <class T, class Step>
void step(const char* op, const TensorList<T>& list, const Step& s, Context& context) {
  const ListPlan<T> p = plan(op, list, context);
  if (p.chunks == 0) return;
  const Step* recorded = nullptr;  // rates and corrections change from step to step, factors of averages do not
  if constexpr (std::is_base_of_v<StepCommon<T>, Step>) recorded = recorded_value(op, context, s);
  run(op, context, step_kernel<T, Step>, p.grid, p.block, 0, s, recorded, p.tensors, p.count, p.chunks);
}

template <class T>
void sgd(const TensorList<T>& list, const SgdStep<T>& s, Context& context) {
  step("sgd_step", list, s, context);
}
template <class T>
void adagrad(const TensorList<T>& list, const AdagradStep<T>& s, Context& context) {
  step("adagrad_step", list, s, context);
}
template <class T>
void rmsprop(const TensorList<T>& list, const RmspropStep<T>& s, Context& context) {
  step("rmsprop_step", list, s, context);
}
template <class T>
void adadelta(const TensorList<T>& list, const AdadeltaStep<T>& s, Context& context) {
  step("adadelta_step", list, s, context);
}
template <class T>
void adam(const TensorList<T>& list, const AdamStep<T>& s, Context& context) {
  step("adam_step", list, s, context);
}
template <class T>
void lion(const TensorList<T>& list, const LionStep<T>& s, Context& context) {
  step("lion_step", list, s, context);
}
template <class T>
void scale(const TensorList<T>& list, T factor, Context& context) {
  step("scale", list, ScaleStep<T>{factor}, context);
}
template <class T>
void average(const TensorList<T>& list, T decay, Context& context) {
  step("moving_average", list, AverageStep<T>{T(1) - decay}, context);
}

// sums: one for each tensor, on the host.
template <class T>
void sum_grads(const char* op, bool not_finite, const TensorList<T>& list, double* sums, Context& context) {
  const ListPlan<T> p = plan(op, list, context);
  if (p.chunks == 0) {
    for (int64_t i = 0; i < list.count; ++i) sums[i] = 0;
    return;
  }
  const size_t count = static_cast<size_t>(p.count);
  const Scratch memory(op, context, (static_cast<size_t>(p.chunks) + count) * sizeof(double));
  double *partial = memory.as<double>(), *of_tensors = partial + p.chunks;
  run(op, context, sum_chunks<T>, p.grid, p.block, 0, not_finite, p.tensors, p.count, p.chunks, partial);
  run(op, context, sum_tensors<T>, dim3(blocks_for(p.count, 1)), dim3(p.chunks > p.count ? 128 : 32), 0, p.tensors,
      p.count, partial, of_tensors);
  read_back(op, context, sums, of_tensors, count * sizeof(double));
}

template <class T>
void squared_norms(const TensorList<T>& list, double* squares, Context& context) {
  sum_grads("squared_norms", false, list, squares, context);
}

template <class T>
void all_finite(const TensorList<T>& list, uint8_t* finite, Context& context) {
  std::vector<double> found(static_cast<size_t>(list.count));
  sum_grads("first_not_finite", true, list, found.data(), context);
  for (size_t i = 0; i < found.size(); ++i) finite[i] = found[i] == 0;
}

template <class T>
void max_norm(int64_t outer, int64_t units, int64_t inner, T limit, T* w, Context& context) {
  if (inner == 1)
    return run("max_norm", context, max_norm_columns<T>, dim3(blocks_for(units, kColumns)), dim3(kColumns, kColumnRows),
               0, outer, units, limit, w);
  const int64_t wanted = (outer * inner + 127) / 128 * 32;
  run("max_norm", context, max_norm_units<T>, dim3(blocks_for(units, 1)),
      dim3(static_cast<unsigned>(wanted < kThreads ? wanted : kThreads)), 0, outer, units, inner, limit, w);
}

template <class T>
inline constexpr OptimKernels<T> kOptim = {sgd<T>,           adagrad<T>, rmsprop<T>, adadelta<T>,   adam<T>,    lion<T>,
                                           squared_norms<T>, scale<T>,   average<T>, all_finite<T>, max_norm<T>};

}  // namespace

const OptimKernels<float> optim_f32 = kOptim<float>;
const OptimKernels<double> optim_f64 = kOptim<double>;

}  // namespace dc::cuda
