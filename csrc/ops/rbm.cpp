#include "ops/rbm.h"

#include <cmath>

#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/movement.h"

namespace dc::ops {

namespace {

constexpr int64_t kMostUnits = int64_t{1} << 26, kMostChains = int64_t{1} << 40;  // of the counter of random bits
constexpr int64_t kMostStepsOfACall = int64_t{1} << 20;                           // nothing interrupts a call
constexpr uint64_t kMostSteps = uint64_t{1} << 46, kMostLayers = uint64_t{1} << 16;

void check_key(const char* op, const RbmKey& key, int64_t steps) {
  DC_CHECK(key.layer < kMostLayers, ArgumentError, op, ": expected a layer below 2^16, got ", key.layer);
  DC_CHECK(steps >= 0 && steps <= kMostStepsOfACall, ArgumentError, op, ": expected steps from 0 to ",
           kMostStepsOfACall, " in one call, got ", steps);
  DC_CHECK(key.step < kMostSteps && static_cast<uint64_t>(steps) < kMostSteps - key.step, ArgumentError, op,
           ": expected steps below 2^46, got ", key.step, " and ", steps, " more");
}

void check_side(const char* op, const char* side, RbmUnit unit, int64_t group, int64_t count) {
  const int32_t kind = static_cast<int32_t>(unit);
  DC_CHECK(kind >= 0 && kind <= 3, ArgumentError, op, ": expected a kind of ", side, " units from 0 to 3, got ", kind);
  DC_CHECK(count < kMostUnits, ShapeError, op, ": expected fewer than 2^26 ", side, " units, got ", count);
  if (unit == RbmUnit::softmax)
    DC_CHECK(group >= 1 && count % group == 0, ShapeError, op, ": expected ", side, " softmax units in groups of ",
             group, ", got ", count);
}

void check_shape(const char* op, const char* name, const Array& x, const Dims& shape, const Array& like) {
  DC_CHECK(x.shape() == shape, ShapeError, op, ": expected ", name, " ", shape, ", got ", x.shape());
  check_same_dtype(op, like, x);
  check_same_device(op, like, x);
}

MaybeArray checked(const char* op, const char* name, const MaybeArray& x, const Dims& shape, const Array& like) {
  if (!x) return std::nullopt;
  check_shape(op, name, *x, shape, like);
  return contiguous(*x);
}

// Contiguous parameters of agreeing sizes.
RbmParameters checked(const char* op, const RbmOptions& options, const RbmParameters& p) {
  DC_CHECK(p.w.ndim() == 2, ShapeError, op, ": expected w (hidden, visible), got ", p.w.shape());
  const int64_t hidden = p.w.shape(0), visible = p.w.shape(1);
  check_side(op, "visible", options.visible, options.visible_group, visible);
  check_side(op, "hidden", options.hidden, options.hidden_group, hidden);
  check_shape(op, "b", p.b, {visible}, p.w);
  check_shape(op, "c", p.c, {hidden}, p.w);
  DC_CHECK(!p.variance || options.visible == RbmUnit::gaussian, ArgumentError, op,
           ": expected a variance only beside Gaussian visible units");
  DC_CHECK(options.choice >= 0 && options.choice <= visible &&
               (options.choice == 0 || (options.visible == RbmUnit::bernoulli && !options.exact)),
           ArgumentError, op, ": expected a choice of 0 to ", visible,
           " units beside Bernoulli visible ones, not in exact mode, got ", options.choice);
  DC_CHECK(!options.exact || (options.visible == RbmUnit::bernoulli && options.hidden == RbmUnit::bernoulli),
           ArgumentError, op, ": expected Bernoulli units in exact mode");
  return {contiguous(p.w), contiguous(p.b), contiguous(p.c), checked(op, "variance", p.variance, {visible}, p.w)};
}

RbmHold checked(const char* op, const RbmHold& h, const Dims& shape, const Array& like) {
  DC_CHECK(h.where.has_value() == h.value.has_value(), ArgumentError, op,
           ": expected `where` and `value` together, got one of them");
  return {checked(op, "keep", h.keep, shape, like), checked(op, "where", h.where, shape, like),
          checked(op, "value", h.value, shape, like)};
}

template <class T>
const T* pointer(const MaybeArray& a) {
  return a ? a->data<T>() : nullptr;
}

template <class T>
RbmClamp<T> clamp(const RbmHold& h) {
  return {pointer<T>(h.keep), pointer<T>(h.where), pointer<T>(h.value)};
}

template <class T>
RbmModel<T> model(const RbmOptions& o, const RbmParameters& p) {
  return {{p.w.shape(1), o.visible, o.visible == RbmUnit::softmax ? o.visible_group : 1, o.choice, p.b.data<T>(),
           pointer<T>(p.variance)},
          {p.w.shape(0), o.hidden, o.hidden == RbmUnit::softmax ? o.hidden_group : 1, 0, p.c.data<T>(), nullptr},
          p.w.data<T>(),
          o.exact};
}

// Rows of `width` numbers of the type and on the device of `like`.
Array rows_of(const char* op, const char* name, const Array& x, int64_t width, const Array& like) {
  DC_CHECK(x.ndim() == 2 && x.shape(1) == width, ShapeError, op, ": expected ", name, " (rows, ", width, "), got ",
           x.shape());
  DC_CHECK(x.shape(0) < kMostChains, ShapeError, op, ": expected fewer than 2^40 rows, got ", x.shape(0));
  check_same_dtype(op, like, x);
  check_same_device(op, like, x);
  return contiguous(x);
}

// w in the order of the products, kept as long as the result. A single step would read it once: empty.
template <class T>
Array packed(const RbmModel<T>& m, const Array& w, int64_t steps) {
  const auto& kernel = *kernels<T>(w.device()).rbm;
  Array y({m.exact || steps <= 1 ? 0 : kernel.packed_size(m.visible.count, m.hidden.count)}, w.dtype(), w.device());
  if (y.size() > 0) kernel.pack(m, y.template data<T>(), context(w.device()));
  return y;
}

template <class T>
const T* data_or_null(const Array& a) {
  return a.size() ? a.data<T>() : nullptr;
}

}  // namespace

RbmHalfStepResult rbm_half_step(const RbmOptions& options, const RbmKey& key, bool up, const Array& x0,
                                const RbmParameters& parameters0, const MaybeArray& beta0, const RbmHold& hold0,
                                bool sample) {
  const char* op = "rbm_half_step";
  check_key(op, key, 0);
  const RbmParameters parameters = checked(op, options, parameters0);
  const Array x = rows_of(op, "x", x0, parameters.w.shape(up ? 1 : 0), parameters.w);
  const int64_t rows = x.shape(0), outputs = parameters.w.shape(up ? 0 : 1);
  const MaybeArray beta = checked(op, "beta", beta0, {rows}, parameters.w);
  const RbmHold hold = checked(op, hold0, {rows, outputs}, parameters.w);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    RbmHalfStepResult r{Array({rows, outputs}, x.dtype(), x.device()), std::nullopt};
    if (sample) r.sample = Array({rows, outputs}, x.dtype(), x.device());
    if (r.mean.size() > 0) {
      const RbmHalfStep<T> s{rows,
                             up,
                             x.data<T>(),
                             pointer<T>(beta),
                             clamp<T>(hold),
                             r.mean.data<T>(),
                             sample ? r.sample->data<T>() : nullptr,
                             nullptr};
      kernels<T>(x.device()).rbm->half_step(model<T>(options, parameters), s, key, nullptr, context(x.device()));
    }
    return r;
  });
}

RbmGibbsResult rbm_gibbs(const RbmOptions& options, const RbmKey& key, const RbmGibbsOptions& how,
                         const RbmParameters& parameters0, const MaybeArray& data0, const MaybeArray& state0,
                         const MaybeArray& beta0, const MaybeArray& data_keep0, const MaybeArray& hidden_keep0,
                         const RbmHold& visible0) {
  const char* op = "rbm_gibbs";
  check_key(op, key, how.steps);
  const RbmParameters parameters = checked(op, options, parameters0);
  const Array& w = parameters.w;
  const int64_t hidden = w.shape(0), visible = w.shape(1);
  DC_CHECK(how.from_data ? data0 && !state0 : state0.has_value(), ArgumentError, op,
           ": expected a state, or data alone where chains start from data");
  const MaybeArray data = data0 ? MaybeArray(rows_of(op, "data", *data0, visible, w)) : std::nullopt;
  const Array state = how.from_data ? Array({data->shape(0), hidden}, w.dtype(), w.device())
                                    : copy(rows_of(op, "state", *state0, hidden, w));
  const int64_t rows = data ? data->shape(0) : 0, chains = state.shape(0);
  const MaybeArray beta = checked(op, "beta", beta0, {chains}, w);
  const MaybeArray data_keep = checked(op, "data_keep", data_keep0, {rows, hidden}, w);
  const MaybeArray hidden_keep = checked(op, "hidden_keep", hidden_keep0, {chains, hidden}, w);
  const RbmHold hold = checked(op, visible0, {chains, visible}, w);
  return dispatch_float(op, w.dtype(), [&]<class T>(T) {
    const auto make = [&](int64_t n, int64_t width) { return Array({n, width}, w.dtype(), w.device()); };
    const Array v = make(chains, visible), v_mean = how.sample_visible ? make(chains, visible) : v;
    const Array h_mean = how.sample_hidden ? make(chains, hidden) : state;
    const Array fed = make(parameters.variance ? chains : 0, visible);
    RbmGibbsResult r{std::nullopt, v, v_mean, state, h_mean};
    if (data) r.data_mean = make(rows, hidden);
    const RbmModel<T> m = model<T>(options, parameters);
    const Array panels = packed<T>(m, w, how.steps);
    const RbmChains<T> c{.chains = chains,
                         .steps = how.steps,
                         .rows = rows,
                         .from_data = how.from_data,
                         .sample_visible = how.sample_visible,
                         .sample_hidden = how.sample_hidden,
                         .data = pointer<T>(data),
                         .data_clamp = {pointer<T>(data_keep), nullptr, nullptr},
                         .hidden_clamp = {pointer<T>(hidden_keep), nullptr, nullptr},
                         .visible_clamp = clamp<T>(hold),
                         .beta = pointer<T>(beta),
                         .data_mean = pointer<T>(r.data_mean) ? r.data_mean->template data<T>() : nullptr,
                         .v = v.template data<T>(),
                         .v_mean = v_mean.template data<T>(),
                         .v_fed = parameters.variance ? fed.template data<T>() : nullptr,
                         .h = state.template data<T>(),
                         .h_mean = h_mean.template data<T>()};
    kernels<T>(w.device()).rbm->gibbs(m, c, key, data_or_null<T>(panels), context(w.device()));
    return r;
  });
}

Array rbm_free_energy(const Array& x0, const Array& w, const Array& b, const Array& c) {
  const char* op = "rbm_free_energy";
  const RbmOptions options;
  const RbmParameters p = checked(op, options, {w, b, c, std::nullopt});
  const Array x = rows_of(op, "x", x0, p.w.shape(1), p.w);
  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    const int64_t rows = x.shape(0);
    Array z({rows, p.w.shape(0)}, x.dtype(), x.device()), f({rows}, x.dtype(), x.device());
    if (rows > 0)
      kernels<T>(x.device())
          .rbm->free_energy(model<T>(options, p), rows, x.data<T>(), z.template data<T>(), f.template data<T>(),
                            context(x.device()));
    return f;
  });
}

RbmAnnealResult rbm_anneal(const RbmOptions& options, const RbmKey& key, const std::vector<double>& betas,
                           const Array& v0, const RbmParameters& parameters0, const Array& base0,
                           const Array& log_weight0) {
  const char* op = "rbm_anneal";
  DC_CHECK(!betas.empty(), ArgumentError, op, ": expected at least one inverse temperature, got none");
  for (size_t i = 0; i < betas.size(); ++i)
    DC_CHECK(betas[i] >= 0 && betas[i] <= 1 && (i == 0 || (betas[i] >= betas[i - 1]) == (betas.back() >= betas[0])),
             ArgumentError, op, ": expected rising or falling inverse temperatures in [0, 1], got ", betas[i],
             " at place ", i);
  check_key(op, key, static_cast<int64_t>(betas.size()));
  DC_CHECK(!options.exact, ArgumentError, op, ": expected units without exact mode, which annealing does not have");
  DC_CHECK(options.hidden == RbmUnit::bernoulli, ArgumentError, op, ": expected Bernoulli hidden units");
  DC_CHECK(options.visible != RbmUnit::relu, ArgumentError, op, ": expected visible units other than relu");
  const RbmParameters p = checked(op, options, parameters0);
  const Array v = copy(rows_of(op, "v", v0, p.w.shape(1), p.w));
  const int64_t chains = v.shape(0), visible = p.w.shape(1), hidden = p.w.shape(0);
  check_shape(op, "base", base0, {visible}, p.w);
  DC_CHECK(log_weight0.shape() == Dims{chains} && log_weight0.dtype() == DType::float64, ShapeError, op,
           ": expected log_weight (", chains, ",) of float64, got ", log_weight0.shape(), " of ", log_weight0.dtype());
  check_same_device(op, p.w, log_weight0);
  const Array log_weight = copy(log_weight0), base = contiguous(base0);
  return dispatch_float(op, v.dtype(), [&]<class T>(T) {
    const auto make = [&](const Dims& shape) { return Array(shape, v.dtype(), v.device()); };
    const Array h = make({chains, hidden}), h_mean = make({chains, hidden}), terms = make({chains, hidden});
    const Array bias = make({visible});
    const Array fed = p.variance ? binary(BinaryOp::divide, v, *p.variance) : make({0});
    const RbmModel<T> m = model<T>(options, p);
    const Array panels = packed<T>(m, p.w, static_cast<int64_t>(betas.size()) - 1);
    const RbmAnnealing<T> a{.chains = chains,
                            .count = static_cast<int64_t>(betas.size()) - 1,
                            .beta = betas.data(),
                            .base = base.data<T>(),
                            .v = v.data<T>(),
                            .v_fed = p.variance ? fed.template data<T>() : nullptr,
                            .h = h.template data<T>(),
                            .h_mean = h_mean.template data<T>(),
                            .terms = terms.template data<T>(),
                            .bias = bias.template data<T>(),
                            .log_weight = log_weight.data<double>()};
    if (chains > 0) kernels<T>(v.device()).rbm->anneal(m, a, key, data_or_null<T>(panels), context(v.device()));
    return RbmAnnealResult{v, log_weight};
  });
}

RbmStatistics rbm_statistics(const Array& v0_, const Array& h0_, const Array& v1_, const Array& h1_) {
  const char* op = "rbm_statistics";
  DC_CHECK(v0_.ndim() == 2 && h0_.ndim() == 2, ShapeError, op,
           ": expected v (rows, visible) and h (rows, hidden), got ", v0_.shape(), " and ", h0_.shape());
  const int64_t visible = v0_.shape(1), hidden = h0_.shape(1);
  const Array v0 = rows_of(op, "v0", v0_, visible, v0_), h0 = rows_of(op, "h0", h0_, hidden, v0_);
  const Array v1 = rows_of(op, "v1", v1_, visible, v0_), h1 = rows_of(op, "h1", h1_, hidden, v0_);
  const int64_t rows = v0.shape(0), chains = v1.shape(0);
  DC_CHECK(h0.shape(0) == rows && h1.shape(0) == chains, ShapeError, op, ": expected as many rows of h as of v, got ",
           h0.shape(), " for ", v0.shape(), " and ", h1.shape(), " for ", v1.shape());
  return dispatch_float(op, v0.dtype(), [&]<class T>(T) {
    const auto make = [&](const Dims& shape) { return Array(shape, v0.dtype(), v0.device()); };
    const RbmStatistics r{make({hidden, visible}), make({visible}), make({hidden})};
    const Array scratch = make({(rows + chains) * (visible + hidden)});
    if (visible + hidden > 0)
      kernels<T>(v0.device())
          .rbm->statistics({{visible, RbmUnit::bernoulli, 1, 0, nullptr, nullptr},
                            {hidden, RbmUnit::bernoulli, 1, 0, nullptr, nullptr},
                            nullptr,
                            false},
                           rows, v0.data<T>(), h0.data<T>(), chains, v1.data<T>(), h1.data<T>(),
                           scratch.template data<T>(), r.w.template data<T>(), r.b.template data<T>(),
                           r.c.template data<T>(), context(v0.device()));
    return r;
  });
}

RbmSwapResult rbm_swap(const RbmKey& key, int64_t copies, int64_t parity, const Array& beta0, const Array& energy0,
                       const Array& h0) {
  const char* op = "rbm_swap";
  check_key(op, key, 0);
  DC_CHECK(h0.ndim() == 2, ShapeError, op, ": expected h (chains, width), got ", h0.shape());
  const int64_t chains = h0.shape(0);
  DC_CHECK(copies >= 1 && chains % copies == 0, ShapeError, op, ": expected chains in groups of ", copies, ", got ",
           chains);
  DC_CHECK(parity == 0 || parity == 1, ArgumentError, op, ": expected parity 0 or 1, got ", parity);
  check_shape(op, "beta", beta0, {chains}, h0);
  check_shape(op, "energy", energy0, {chains}, h0);
  const Array h = copy(h0), beta = contiguous(beta0), energy = contiguous(energy0);
  return dispatch_float(op, h.dtype(), [&]<class T>(T) {
    Array swapped({chains}, h.dtype(), h.device());
    if (chains > 0)
      kernels<T>(h.device())
          .rbm->swap(chains, copies, parity, h.shape(1), beta.data<T>(), energy.data<T>(), h.data<T>(),
                     swapped.template data<T>(), key, context(h.device()));
    return RbmSwapResult{h, swapped};
  });
}

}  // namespace dc::ops
