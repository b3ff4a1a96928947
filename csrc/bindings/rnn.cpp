#include "ops/rnn.h"

#include "bindings/bindings.h"

namespace dc {

namespace {
// (cell, kind of gate, three slopes, reverse, (share of the old h, of the old c) in zoneout without draws)
using Options = std::tuple<int, int, std::tuple<double, double, double>, bool, std::tuple<double, double>>;
// (lengths, h_mask, zoneout of h, of c)
using Given = std::array<ops::MaybeArray, 4>;

ops::RnnOptions options_from(const Options& o) {
  const auto& [cell, gate, slopes, reverse, mix] = o;
  const auto [a, b, c] = slopes;
  return {
      static_cast<RnnCell>(cell), static_cast<RnnGate>(gate), {a, b, c}, reverse, std::get<0>(mix), std::get<1>(mix)};
}
ops::RnnGiven given_from(const Given& g) { return {g[0], g[1], g[2], g[3]}; }

using ops::MaybeArray;
}  // namespace

void bind_rnn(py::module_& m) {
  using namespace py::literals;
  m.def(
      "rnn",
      [](const Options& options, const ops::RnnTensors& tensors, const Given& given, bool keep,
         const MaybeArray& packed_w, const MaybeArray& packed_u) {
        const auto r = ops::rnn(options_from(options), tensors, given_from(given), keep, packed_w, packed_u);
        return std::tuple(r.y, r.h, r.c, r.saved);
      },
      "options"_a, "tensors"_a, "given"_a, "keep"_a = false, "packed_w"_a = py::none(), "packed_u"_a = py::none(),
      NoGil());
  m.def(
      "rnn_grad",
      [](const Options& options, const MaybeArray& gy, const MaybeArray& gh, const MaybeArray& gc,
         const ops::RnnSaved& saved, const std::array<bool, ops::kRnnTensors>& needed, const ops::RnnTensors& tensors,
         const Given& given) {
        return ops::rnn_grad(options_from(options), gy, gh, gc, saved, tensors, given_from(given), needed);
      },
      "options"_a, "gy"_a, "gh"_a, "gc"_a, "saved"_a, "needed"_a, "tensors"_a, "given"_a, NoGil());
  m.def(
      "pack_rnn",
      [](int cell, const Array& u, const MaybeArray& projection) {
        return ops::pack_rnn(static_cast<RnnCell>(cell), u, projection);
      },
      "cell"_a, "u"_a, "projection"_a = py::none(), NoGil());
}

}  // namespace dc
