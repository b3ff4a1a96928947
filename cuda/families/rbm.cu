// Restricted Boltzmann machines: kernels/rbm.h has formulas, layouts and random bits.
// A half step is a product whose blocks finish the units of their tiles (rbm_units.cuh): bias, temperature, mean,
// random words, sample, constraints. Sums of tensor cores are finished out of shared memory, those of multiply-adds out
// of the cache. rbm_product.cuh says in which tiles, and when in parts. A chain of k steps queues 2 k half steps from
// one call and allocates once, before the first; nothing waits for the host. Both directions read w as it lies, nothing
// is packed. Softmax groups, free energies, weights of annealing and statistics: rbm_rows.cuh. A step of annealing is a
// half step up, which makes the terms of the weights as well, their sums, and a half step down with biases between
// those of the base and of the model.
// Bound: tensor cores where tiles fill the device; small machines by latency, of two to four launches a step.
#include <algorithm>
#include <optional>

#include "families/families.h"
#include "families/matmul.h"
#include "families/rbm_product.cuh"
#include "families/rbm_rows.cuh"

namespace dc::cuda {

namespace {

int64_t packed_size(int64_t, int64_t) { return 0; }

template <class T>
void pack(const RbmModel<T>&, T*, Context&) {}

// Memory for the parts of sums, once for all half steps of a call.
template <class T>
class Parts {
 public:
  Parts(const char* op, Context& context, std::initializer_list<HalfProduct<T>> products) {
    long long numbers = 0;
    for (const HalfProduct<T>& p : products)
      if (p.rows > 0 && p.units > 0) numbers = std::max(numbers, part_numbers(p));
    if (numbers > 0) memory_.emplace(op, context, static_cast<size_t>(numbers) * sizeof(T));
  }
  T* data() const { return memory_ ? memory_->template as<T>() : nullptr; }

 private:
  std::optional<Scratch> memory_;
};

bool is_binary(RbmUnit unit) { return unit == RbmUnit::bernoulli || unit == RbmUnit::softmax; }

// Whether what a side feeds to the other one is 0 and 1.
template <class T>
bool feeds_binary(const RbmSide<T>& side, bool sampled, const RbmClamp<T>& clamp) {
  return sampled && is_binary(side.unit) && !clamp.keep && !clamp.where;
}

template <class T>
UnitStep<T> unit_step(const RbmSide<T>& to, bool up, const RbmClamp<T>& clamp, const RbmKey& key) {
  UnitStep<T> u{};
  u.count = to.count, u.tail = to.count - to.choice, u.unit = to.unit;
  u.bias = to.bias, u.variance = to.unit == RbmUnit::gaussian ? to.variance : nullptr;
  u.keep = clamp.keep, u.where = clamp.where, u.value = clamp.value;
  u.seed = key.seed, u.stream = key.layer << 48 | (2 * key.step + (up ? 1 : 0));
  return u;
}

template <class T>
void queue_half_step(const char* op, Context& context, const RbmModel<T>& model, bool up, const HalfProduct<T>& p,
                     const UnitStep<T>& step, T* memory) {
  half_product(op, context, p, step, memory);
  const RbmSide<T>& to = up ? model.hidden : model.visible;
  const int64_t start = to.count - to.choice, size = to.choice ? to.choice : to.group;
  const long long groups = to.unit == RbmUnit::softmax ? to.count / to.group : to.choice ? 1 : 0;
  if (p.rows * groups == 0) return;
  int lanes = 1;
  while (lanes < 32 && lanes < size) lanes *= 2;
  run(op, context, softmax_units<T>, dim3(blocks_for(p.rows * groups * lanes, kRowThreads)), dim3(kRowThreads), 0, step,
      p.rows, to.choice ? start : 0, size, lanes);
}

template <class T>
void queue_half_step(const char* op, Context& context, const RbmModel<T>& model, const RbmHalfStep<T>& s,
                     const RbmKey& key, const HalfProduct<T>& p, T* memory) {
  UnitStep<T> step = unit_step(s.up ? model.hidden : model.visible, s.up, s.clamp, key);
  step.beta = s.beta, step.mean = s.mean, step.sample = s.sample, step.fed = s.fed;
  queue_half_step(op, context, model, s.up, p, step, memory);
}

template <class T>
void half_step(const RbmModel<T>& model, const RbmHalfStep<T>& s, const RbmKey& key, const T*, Context& context) {
  const char* op = "rbm_half_step";
  if (s.sample) refuse_recording(op, context);
  const HalfProduct<T> p(model, s.up, s.rows, s.x, false, matmul_precision);
  const Parts<T> parts(op, context, {p});
  queue_half_step(op, context, model, s, key, p, parts.data());
}

template <class T>
void gibbs(const RbmModel<T>& model, const RbmChains<T>& c, const RbmKey& key, const T*, Context& context) {
  const char* op = "rbm_gibbs";
  refuse_recording(op, context);
  const Precision precision = matmul_precision;
  const T* fed = c.v_fed ? c.v_fed : c.v;
  // The first state of chains that go on may be anything.
  const bool binary_state = c.from_data && feeds_binary(model.hidden, c.sample_hidden, c.data_clamp);
  const HalfProduct<T> from_data(model, true, c.rows, c.data, false, precision);
  const HalfProduct<T> first(model, false, c.chains, c.h, binary_state, precision);
  const HalfProduct<T> down(model, false, c.chains, c.h, feeds_binary(model.hidden, c.sample_hidden, c.hidden_clamp),
                            precision);
  const HalfProduct<T> up(model, true, c.chains, fed, feeds_binary(model.visible, c.sample_visible, c.visible_clamp),
                          precision);
  const Parts<T> parts(op, context, {from_data, first, down, up});
  RbmKey now = key;
  if (c.rows > 0) {
    T* state = c.from_data && c.sample_hidden ? c.h : nullptr;
    T* copy = c.from_data && !c.sample_hidden ? c.h : nullptr;
    queue_half_step<T>(op, context, model, {c.rows, true, c.data, nullptr, c.data_clamp, c.data_mean, state, copy}, now,
                       from_data, parts.data());
  }
  for (int64_t i = 0; i < c.steps; ++i) {
    ++now.step;
    queue_half_step<T>(
        op, context, model,
        {c.chains, false, c.h, c.beta, c.visible_clamp, c.v_mean, c.sample_visible ? c.v : nullptr, c.v_fed}, now,
        i == 0 ? first : down, parts.data());
    queue_half_step<T>(
        op, context, model,
        {c.chains, true, fed, c.beta, c.hidden_clamp, c.h_mean, c.sample_hidden ? c.h : nullptr, nullptr}, now, up,
        parts.data());
  }
}

template <class T>
void free_energy(const RbmModel<T>& model, int64_t rows, const T* x, T* z, T* f, Context& context) {
  const char* op = "rbm_free_energy";
  if (rows == 0) return;
  const int64_t hidden = model.hidden.count, visible = model.visible.count;
  MatmulShape s{};
  s.m = rows, s.n = hidden, s.k = visible;
  s.a_row = visible, s.a_col = 1;
  s.b_row = 1, s.b_col = visible;
  s.c_row = hidden;
  product(op, matmul_precision, s, x, model.w, model.hidden.bias, z, context);
  run(op, context, free_energies<T>, dim3(blocks_for(rows, 1)), dim3(kRowThreads), 0, rows, visible, hidden, x,
      model.visible.bias, z, f);
}

template <class T>
void anneal(const RbmModel<T>& model, const RbmAnnealing<T>& a, const RbmKey& key, const T*, Context& context) {
  const char* op = "rbm_anneal";
  refuse_recording(op, context);
  const int64_t hidden = model.hidden.count, visible = model.visible.count;
  const T* fed = a.v_fed ? a.v_fed : a.v;
  RbmModel<T> fast = model;
  fast.exact = false;
  const Precision precision = matmul_precision;
  const HalfProduct<T> first(fast, true, a.chains, fed, false, precision);
  const HalfProduct<T> up(fast, true, a.chains, fed, is_binary(model.visible.unit), precision);
  const HalfProduct<T> down(fast, false, a.chains, a.h, true, precision);
  const Parts<T> parts(op, context, {first, up, down});
  RbmKey now = key;
  for (int64_t t = 0; t < a.count; ++t, ++now.step) {
    UnitStep<T> to_hidden = unit_step(model.hidden, true, RbmClamp<T>{}, now);
    to_hidden.mean = a.h_mean, to_hidden.sample = a.h, to_hidden.terms = a.terms;
    to_hidden.warm = static_cast<T>(a.beta[t]), to_hidden.cold = static_cast<T>(a.beta[t + 1]);
    queue_half_step(op, context, model, true, t == 0 ? first : up, to_hidden, parts.data());
    run(op, context, add_weights<T>, dim3(blocks_for(a.chains, 1)), dim3(kRowThreads), 0, a.chains, visible, hidden,
        a.beta[t + 1] - a.beta[t], a.v, model.visible.bias, a.base, a.terms, a.log_weight);
    UnitStep<T> to_visible = unit_step(model.visible, false, RbmClamp<T>{}, now);
    to_visible.mean = to_visible.sample = a.v, to_visible.fed = a.v_fed;  // nobody asks for the mean
    to_visible.base = a.base, to_visible.cold = to_hidden.cold;
    queue_half_step(op, context, model, false, down, to_visible, parts.data());
  }
}

template <class T>
void statistics(const RbmModel<T>& model, int64_t rows, const T* v0, const T* h0, int64_t chains, const T* v1,
                const T* h1, T* scratch, T* gw, T* gb, T* gc, Context& context) {
  const char* op = "rbm_statistics";
  const int64_t visible = model.visible.count, hidden = model.hidden.count, all = rows + chains;
  const Phases<T> p{rows,
                    chains,
                    visible,
                    hidden,
                    v0,
                    h0,
                    v1,
                    h1,
                    rows ? T(-1) / static_cast<T>(rows) : T(0),
                    chains ? T(1) / static_cast<T>(chains) : T(0),
                    scratch,
                    scratch + all * visible};
  if (all > 0) run(op, context, join_phases<T>, dim3(blocks_for(all * (visible + hidden), 256)), dim3(256), 0, p);
  run(op, context, sum_phases<T>, dim3(static_cast<unsigned>(ceil_div(visible, 32) + ceil_div(hidden, 32))),
      dim3(32, kSumRows), 0, p, gb, gc);
  MatmulShape s{};
  s.m = hidden, s.n = visible, s.k = all;
  s.a_row = 1, s.a_col = hidden;
  s.b_row = visible, s.b_col = 1;
  s.c_row = visible;
  const T* none = nullptr;
  product(op, matmul_precision, s, p.h, p.v, none, gw, context);
}

template <class T>
void swap(int64_t chains, int64_t copies, int64_t parity, int64_t width, const T* beta, const T* energy, T* h,
          T* swapped, const RbmKey& key, Context& context) {
  const char* op = "rbm_swap";
  refuse_recording(op, context);
  const uint64_t stream = key.layer << 48 | uint64_t{1} << 47 | key.step;
  run(op, context, swap_states<T>, dim3(blocks_for(chains, 1)), dim3(kRowThreads), 0, chains, copies, parity, width,
      beta, energy, h, swapped, key.seed, stream);
}

template <class T>
inline constexpr RbmKernels<T> kRbm = {packed_size,    pack<T>,   half_step<T>,  gibbs<T>,
                                       free_energy<T>, anneal<T>, statistics<T>, swap<T>};

}  // namespace

const RbmKernels<float> rbm_f32 = kRbm<float>;
const RbmKernels<double> rbm_f64 = kRbm<double>;

}  // namespace dc::cuda
