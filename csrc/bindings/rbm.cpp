#include "ops/rbm.h"

#include "bindings/bindings.h"

namespace dc {

namespace {
// (visible kind, its group, hidden kind, its group, exact)
using Units = std::tuple<int, int64_t, int, int64_t, bool>;
// (seed, layer, step), each taken modulo 2^64
using Key = std::tuple<py::int_, py::int_, py::int_>;

ops::RbmOptions options_from(const Units& u) {
  return {static_cast<RbmUnit>(std::get<0>(u)), std::get<1>(u), static_cast<RbmUnit>(std::get<2>(u)), std::get<3>(u),
          std::get<4>(u)};
}

RbmKey key_from(const Key& key) {
  const RandomKey k = random_key_from(key);
  return {k.seed, k.stream, k.offset};
}

using ops::MaybeArray;
}  // namespace

void bind_rbm(py::module_& m) {
  using namespace py::literals;
  m.def(
      "rbm_half_step",
      [](const Units& units, const Key& key, bool up, const Array& x, const Array& w, const Array& b, const Array& c,
         const MaybeArray& variance, const MaybeArray& beta, const MaybeArray& keep, const MaybeArray& where,
         const MaybeArray& value, bool sample) {
        const RbmKey k = key_from(key);
        py::gil_scoped_release release;
        const auto r =
            ops::rbm_half_step(options_from(units), k, up, x, {w, b, c, variance}, beta, {keep, where, value}, sample);
        return std::pair(r.mean, r.sample);
      },
      "units"_a, "key"_a, "up"_a, "x"_a, "w"_a, "b"_a, "c"_a, "variance"_a = py::none(), "beta"_a = py::none(),
      "keep"_a = py::none(), "where"_a = py::none(), "value"_a = py::none(), "sample"_a = true);
  m.def(
      "rbm_gibbs",
      [](const Units& units, const Key& key, int64_t steps, const Array& w, const Array& b, const Array& c,
         const MaybeArray& variance, const MaybeArray& data, const MaybeArray& state, bool sample_visible,
         bool sample_hidden, const MaybeArray& beta, const MaybeArray& data_keep, const MaybeArray& hidden_keep,
         const MaybeArray& keep, const MaybeArray& where, const MaybeArray& value) {
        const RbmKey k = key_from(key);
        py::gil_scoped_release release;
        const auto r =
            ops::rbm_gibbs(options_from(units), k, {steps, !state, sample_visible, sample_hidden}, {w, b, c, variance},
                           data, state, beta, data_keep, hidden_keep, {keep, where, value});
        return std::tuple(r.data_mean, r.v, r.v_mean, r.h, r.h_mean);
      },
      "units"_a, "key"_a, "steps"_a, "w"_a, "b"_a, "c"_a, "variance"_a = py::none(), "data"_a = py::none(),
      "state"_a = py::none(), "sample_visible"_a = true, "sample_hidden"_a = true, "beta"_a = py::none(),
      "data_keep"_a = py::none(), "hidden_keep"_a = py::none(), "keep"_a = py::none(), "where"_a = py::none(),
      "value"_a = py::none());
  m.def("rbm_free_energy", &ops::rbm_free_energy, "x"_a, "w"_a, "b"_a, "c"_a, NoGil());
  m.def(
      "rbm_anneal",
      [](const Units& units, const Key& key, const std::vector<double>& betas, const Array& v, const Array& w,
         const Array& b, const Array& c, const MaybeArray& variance, const Array& base, const Array& log_weight) {
        const RbmKey k = key_from(key);
        py::gil_scoped_release release;
        const auto r = ops::rbm_anneal(options_from(units), k, betas, v, {w, b, c, variance}, base, log_weight);
        return std::pair(r.v, r.log_weight);
      },
      "units"_a, "key"_a, "betas"_a, "v"_a, "w"_a, "b"_a, "c"_a, "variance"_a, "base"_a, "log_weight"_a);
  m.def(
      "rbm_statistics",
      [](const Array& v0, const Array& h0, const Array& v1, const Array& h1) {
        const auto r = ops::rbm_statistics(v0, h0, v1, h1);
        return std::tuple(r.w, r.b, r.c);
      },
      "v0"_a, "h0"_a, "v1"_a, "h1"_a, NoGil());
  m.def(
      "rbm_swap",
      [](const Key& key, int64_t copies, int64_t parity, const Array& beta, const Array& energy, const Array& h) {
        const RbmKey k = key_from(key);
        py::gil_scoped_release release;
        const auto r = ops::rbm_swap(k, copies, parity, beta, energy, h);
        return std::pair(r.h, r.swapped);
      },
      "key"_a, "copies"_a, "parity"_a, "beta"_a, "energy"_a, "h"_a);
}

}  // namespace dc
