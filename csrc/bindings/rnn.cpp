#include "ops/rnn.h"

#include "bindings/bindings.h"

namespace dc {

namespace {
// (cell, kind of gate, three slopes, reverse)
using Options = std::tuple<int, int, std::tuple<double, double, double>, bool>;
// For x, w, u, bias, bias_h, peephole, h0, c0
using Needed = std::tuple<bool, bool, bool, bool, bool, bool, bool, bool>;
// (gates, h, c, extra)
using Saved = std::tuple<Array, Array, ops::MaybeArray, ops::MaybeArray>;

ops::RnnOptions options_from(const Options& o) {
  const auto [a, b, c] = std::get<2>(o);
  return {static_cast<RnnCell>(std::get<0>(o)), static_cast<RnnGate>(std::get<1>(o)), {a, b, c}, std::get<3>(o)};
}

using ops::MaybeArray;
}  // namespace

void bind_rnn(py::module_& m) {
  using namespace py::literals;
  m.def(
      "rnn",
      [](const Options& options, const Array& x, const Array& w, const Array& u, const MaybeArray& bias,
         const MaybeArray& bias_h, const MaybeArray& peephole, const MaybeArray& h0, const MaybeArray& c0,
         const MaybeArray& lengths, bool keep, const MaybeArray& packed_w, const MaybeArray& packed_u) {
        const auto r = ops::rnn(options_from(options), x, {w, u, bias, bias_h, peephole}, h0, c0, lengths, keep,
                                packed_w, packed_u);
        std::optional<Saved> saved;
        if (r.saved) saved = Saved{r.saved->gates, r.saved->h, r.saved->c, r.saved->extra};
        return std::tuple(r.y, r.h, r.c, saved);
      },
      "options"_a, "x"_a, "w"_a, "u"_a, "bias"_a = py::none(), "bias_h"_a = py::none(), "peephole"_a = py::none(),
      "h0"_a = py::none(), "c0"_a = py::none(), "lengths"_a = py::none(), "keep"_a = false, "packed_w"_a = py::none(),
      "packed_u"_a = py::none(), NoGil());
  m.def(
      "rnn_grad",
      [](const Options& options, const MaybeArray& gy, const MaybeArray& gh, const MaybeArray& gc, const Saved& saved,
         const Needed& needed, const Array& x, const Array& w, const Array& u, const MaybeArray& bias,
         const MaybeArray& bias_h, const MaybeArray& peephole, const MaybeArray& lengths) {
        const auto r = ops::rnn_grad(options_from(options), gy, gh, gc,
                                     {std::get<0>(saved), std::get<1>(saved), std::get<2>(saved), std::get<3>(saved)},
                                     x, {w, u, bias, bias_h, peephole}, lengths,
                                     std::apply([](auto... n) { return std::array<bool, 8>{n...}; }, needed));
        return std::tuple(r.x, r.w, r.u, r.bias, r.bias_h, r.peephole, r.h0, r.c0);
      },
      "options"_a, "gy"_a, "gh"_a, "gc"_a, "saved"_a, "needed"_a, "x"_a, "w"_a, "u"_a, "bias"_a = py::none(),
      "bias_h"_a = py::none(), "peephole"_a = py::none(), "lengths"_a = py::none(), NoGil());
  m.def(
      "pack_rnn", [](int cell, const Array& u) { return ops::pack_rnn(static_cast<RnnCell>(cell), u); }, "cell"_a,
      "u"_a, NoGil());
}

}  // namespace dc
