#include "ops/rnn.h"

#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/range.h"
#include "ops/reduce.h"

namespace dc::ops {

namespace {

template <class T>
T* pointer(const MaybeArray& a) {
  return a ? a->data<T>() : nullptr;
}

void check_cell(const char* op, RnnCell cell, RnnGate gate) {
  const auto c = static_cast<int32_t>(cell), g = static_cast<int32_t>(gate);
  DC_CHECK(c >= 0 && c <= static_cast<int32_t>(RnnCell::mgu), ArgumentError, op, ": expected a cell from 0 to 6, got ",
           c);
  DC_CHECK(g >= 0 && g <= static_cast<int32_t>(RnnGate::binary), ArgumentError, op,
           ": expected a kind of gate from 0 to 2, got ", g);
}

MaybeArray checked(const char* op, const char* name, const MaybeArray& a, const Dims& shape, const Array& like,
                   bool known = true) {
  if (!a) return std::nullopt;
  DC_CHECK(known, ArgumentError, op, ": this cell has no ", name);
  DC_CHECK(a->shape() == shape, ShapeError, op, ": expected ", name, " ", shape, ", got ", a->shape());
  check_same_dtype(op, like, *a);
  check_same_device(op, like, *a);
  return contiguous(*a);
}

struct Sizes {
  int64_t steps, batch, inputs, hidden, gates;
  Dims per_step() const { return {steps, batch, hidden}; }
  Dims state() const { return {batch, hidden}; }
};

Sizes sizes_of(const char* op, const RnnOptions& o, const Array& x, const RnnWeights& w) {
  check_cell(op, o.cell, o.gate);
  const int64_t gates = rnn_gates(o.cell);
  DC_CHECK(x.ndim() == 3, ShapeError, op, ": expected x (steps, batch, inputs), got ", x.shape());
  DC_CHECK(w.u.ndim() == 2, ShapeError, op, ": expected u (", gates, " hidden, hidden), got ", w.u.shape());
  const Sizes s{x.shape(0), x.shape(1), x.shape(2), w.u.shape(1), gates};
  int64_t width;
  DC_CHECK(!__builtin_mul_overflow(gates, s.hidden, &width) && w.u.shape(0) == width, ShapeError, op, ": expected u (",
           gates, " hidden, hidden), got ", w.u.shape());
  DC_CHECK(w.w.shape() == (Dims{width, s.inputs}), ShapeError, op, ": expected w ", (Dims{width, s.inputs}), " for x ",
           x.shape(), ", got ", w.w.shape());
  for (const Array* a : {&w.w, &w.u}) {
    check_same_dtype(op, x, *a);
    check_same_device(op, x, *a);
  }
  count({s.steps + 1, s.batch, width});
  return s;
}

RnnWeights checked(const char* op, const RnnOptions& o, const Sizes& s, const Array& x, const RnnWeights& w) {
  const int64_t holes = rnn_peepholes(o.cell);
  return {w.w, contiguous(w.u), checked(op, "bias", w.bias, {s.gates * s.hidden}, x),
          checked(op, "bias_h", w.bias_h, {s.hidden}, x, o.cell == RnnCell::gru),
          checked(op, "peephole", w.peephole, {holes, s.hidden}, x, holes > 0)};
}

MaybeArray checked_lengths(const char* op, const Sizes& s, const Array& x, const MaybeArray& lengths) {
  if (!lengths) return std::nullopt;
  DC_CHECK(lengths->shape() == Dims{s.batch}, ShapeError, op, ": expected lengths (", s.batch, ",), got ",
           lengths->shape());
  DC_CHECK(lengths->dtype() == DType::int64, DtypeError, op, ": expected lengths in int64, got ", lengths->dtype());
  check_same_device(op, x, *lengths);
  return in_range(op, "lengths", contiguous(*lengths), {.low = 0, .high = s.steps + 1});
}

template <class T>
RnnShape<T> shape_of(const RnnOptions& o, const Sizes& s, const RnnWeights& w, const MaybeArray& lengths) {
  return {s.steps,
          s.batch,
          s.hidden,
          o.cell,
          o.gate,
          o.reverse,
          {static_cast<T>(o.slope[0]), static_cast<T>(o.slope[1]), static_cast<T>(o.slope[2])},
          pointer<int64_t>(lengths),
          w.u.data<T>(),
          pointer<T>(w.peephole),
          pointer<T>(w.bias_h),
          nullptr};
}

// Slots [first, first + steps) of an array with a slot for the state before the first step.
Array slots(const Array& all, int64_t first, int64_t steps) {
  return slice(all, {first, 0, 0}, {steps, all.shape(1), all.shape(2)}, {1, 1, 1});
}
Array slot(const Array& all, int64_t which) { return reshape(slots(all, which, 1), {all.shape(1), all.shape(2)}); }

// The state, or 0, written over `target`.
void start_from(const MaybeArray& state, Array target) {
  copy_into(state ? *state : full(target.shape(), 0, target.dtype(), target.device()), target);
}

}  // namespace

Array pack_rnn(RnnCell cell, const Array& u0) {
  check_cell("pack_rnn", cell, RnnGate::sigmoid);
  DC_CHECK(u0.ndim() == 2 && u0.shape(0) / rnn_gates(cell) == u0.shape(1) && u0.shape(0) % rnn_gates(cell) == 0,
           ShapeError, "pack_rnn: expected u (", rnn_gates(cell), " hidden, hidden), got ", u0.shape());
  const Array u = contiguous(u0);
  return dispatch_float("pack_rnn", u.dtype(), [&]<class T>(T) {
    const RnnKernels<T>& kernel = *kernels<T>(u.device()).rnn;
    Array packed({kernel.packed_size(cell, u.shape(1))}, u.dtype(), u.device());
    if (packed.size() > 0) kernel.pack(cell, u.shape(1), u.data<T>(), packed.template data<T>(), context(u.device()));
    return packed;
  });
}

RnnResult rnn(const RnnOptions& o, const Array& x, const RnnWeights& weights, const MaybeArray& h0,
              const MaybeArray& c0, const MaybeArray& lengths0, bool keep, const MaybeArray& packed_w,
              const MaybeArray& packed_u) {
  const char* op = "recurrent";
  const Sizes s = sizes_of(op, o, x, weights);
  const RnnWeights w = checked(op, o, s, x, weights);
  const bool has_c = rnn_has_c(o.cell);
  checked(op, "h0", h0, s.state(), x);
  checked(op, "c0", c0, s.state(), x, has_c);
  const MaybeArray lengths = checked_lengths(op, s, x, lengths0);
  const auto make = [&](const Dims& shape) { return Array(shape, x.dtype(), x.device()); };
  const int64_t start = o.reverse ? s.steps : 0, end = o.reverse ? 0 : s.steps, first = o.reverse ? 0 : 1;

  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    const RnnKernels<T>& kernel = *kernels<T>(x.device()).rnn;
    RnnShape<T> shape = shape_of<T>(o, s, w, lengths);
    if (packed_u) {
      checked(op, "packed u", packed_u, {kernel.packed_size(o.cell, s.hidden)}, x);
      DC_CHECK(packed_u->is_contiguous(), ShapeError, op, ": expected packed u contiguous");
      shape.packed = packed_u->template data<T>();
    }
    const bool in_steps = x.size() > 0 && kernel.reads_inputs(shape, s.inputs);
    const Array given = contiguous(x), w_given = in_steps ? contiguous(w.w) : w.w;
    MaybeArray gates;
    if (!in_steps)
      gates = linear(given, w.w, w.bias, Activation::none, packed_w, true);
    else if (keep)
      gates = make({s.steps, s.batch, s.gates * s.hidden});
    if (in_steps && packed_w) {
      checked(op, "packed w", packed_w, {kernels<T>(x.device()).matmul->packed_b_size(s.inputs, w.w.shape(0))}, x);
      DC_CHECK(packed_w->is_contiguous(), ShapeError, op, ": expected packed w contiguous");
    }
    const RnnInputs<T> inputs{given.data<T>(), s.inputs, w_given.data<T>(), pointer<T>(packed_w), pointer<T>(w.bias)};
    const Array h = make({s.steps + 1, s.batch, s.hidden});
    MaybeArray c, extra;
    start_from(h0, slot(h, start));
    if (has_c) {
      c = keep ? make({s.steps + 1, s.batch, s.hidden}) : make(s.state());
      start_from(c0, keep ? slot(*c, start) : *c);
    }
    if (rnn_has_extra(o.cell) && (keep || rnn_two_products(o.cell))) extra = make(keep ? s.per_step() : s.state());
    if (s.batch > 0 && s.hidden > 0 && s.steps > 0)
      kernel.forward(shape,
                     RnnForward<T>{in_steps ? &inputs : nullptr, pointer<T>(gates), h.data<T>(), pointer<T>(c),
                                   pointer<T>(extra), keep, !h0},
                     context(x.device()));
    Array y = slots(h, first, s.steps);
    if (lengths) {  // what is beyond a sequence's end repeats its state
      const Array steps = to_device(arange(0, static_cast<double>(s.steps), 1, DType::int64), x.device());
      const Array inside = compare(CompareOp::less, reshape(steps, {s.steps, 1, 1}), reshape(*lengths, {s.batch, 1}));
      y = where(inside, y, full({}, 0, x.dtype(), x.device()));
    }
    RnnResult r{y, slot(h, end), has_c ? MaybeArray(keep ? slot(*c, end) : *c) : std::nullopt, std::nullopt};
    if (keep) r.saved = RnnSaved{*gates, h, c, extra};
    return r;
  });
}

RnnGrads rnn_grad(const RnnOptions& o, const MaybeArray& gy0, const MaybeArray& gh, const MaybeArray& gc,
                  const RnnSaved& saved, const Array& x, const RnnWeights& weights, const MaybeArray& lengths0,
                  const std::array<bool, 8>& needed) {
  const char* op = "recurrent_grad";
  const Sizes s = sizes_of(op, o, x, weights);
  const RnnWeights w = checked(op, o, s, x, weights);
  const bool has_c = rnn_has_c(o.cell), has_extra = rnn_has_extra(o.cell), two = rnn_two_products(o.cell);
  const int64_t width = s.gates * s.hidden;
  const MaybeArray gy = checked(op, "cotangent of y", gy0, s.per_step(), x);
  checked(op, "cotangent of h", gh, s.state(), x);
  checked(op, "cotangent of c", gc, s.state(), x, has_c);
  const auto check_saved = [&](const char* name, const MaybeArray& a, const Dims& shape, bool there) {
    DC_CHECK(a.has_value() == there, ArgumentError, op, ": expected ", name, there ? "" : " to be none");
    if (!a) return;
    checked(op, name, a, shape, x);
    DC_CHECK(a->is_contiguous(), ShapeError, op, ": expected ", name, " contiguous");
  };
  const Dims with_start{s.steps + 1, s.batch, s.hidden};
  check_saved("saved gates", saved.gates, {s.steps, s.batch, width}, true);
  check_saved("saved h", saved.h, with_start, true);
  check_saved("saved c", saved.c, with_start, has_c);
  check_saved("saved extra", saved.extra, s.per_step(), has_extra);
  const MaybeArray lengths = checked_lengths(op, s, x, lengths0);

  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    const auto make = [&](const Dims& shape) { return Array(shape, x.dtype(), x.device()); };
    const Array dh = make(s.state()), dz = make({s.steps, s.batch, width});
    start_from(gh, dh);
    MaybeArray dc, dextra;
    if (has_c) {
      dc = make(s.state());
      start_from(gc, *dc);
    }
    if (o.cell == RnnCell::gru) dextra = make(s.per_step());
    const bool need_h0 = needed[6];
    if (s.batch > 0 && s.hidden > 0 && s.steps > 0)
      kernels<T>(x.device())
          .rnn->backward(
              shape_of<T>(o, s, w, lengths),
              RnnBackward<T>{saved.gates.data<T>(), saved.h.data<T>(), pointer<T>(saved.c), pointer<T>(saved.extra),
                             pointer<T>(gy), dh.data<T>(), pointer<T>(dc), dz.data<T>(), pointer<T>(dextra), need_h0},
              context(x.device()));
    RnnGrads r;
    const int64_t rows = s.steps * s.batch, before = o.reverse ? 1 : 0;
    const auto flat = [&](const Array& a) { return reshape(a, {rows, a.shape(2)}); };
    // Columns [begin, end) of dz, of all steps.
    const auto columns = [&](int64_t begin, int64_t end) {
      return slice(flat(dz), {0, begin}, {rows, end - begin}, {1, 1});
    };
    const auto across = [](const Array& a) { return transpose(a, {1, 0}); };
    if (needed[0]) r.x = reshape(matmul(flat(dz), w.w), x.shape());
    if (needed[1]) r.w = matmul(across(flat(dz)), reshape(x, {rows, s.inputs}));
    if (needed[2]) {
      const Array h = flat(slots(saved.h, before, s.steps));
      const int64_t split = width - s.hidden;
      if (has_extra) {
        const Array inner =
            two ? matmul(across(columns(split, width)), flat(*saved.extra)) : matmul(across(flat(*dextra)), h);
        r.u = concatenate({matmul(across(columns(0, split)), h), inner}, 0);
      } else {
        r.u = matmul(across(flat(dz)), h);
      }
    }
    const auto total = [&](const Array& a) { return reduce(ReduceOp::sum, a, {0}, false, false); };
    if (needed[3]) r.bias = total(flat(dz));
    if (needed[4] && dextra) r.bias_h = total(flat(*dextra));
    if (needed[5] && w.peephole) {
      const Array c_before = flat(slots(*saved.c, before, s.steps)), c = flat(slots(*saved.c, 1 - before, s.steps));
      const int64_t holes = rnn_peepholes(o.cell);
      std::vector<Array> parts;
      for (int64_t i = 0; i < holes; ++i) {
        const bool last = i + 1 == holes;
        const int64_t begin = last ? width - s.hidden : i * s.hidden;
        const Array each = binary(BinaryOp::multiply, columns(begin, begin + s.hidden), last ? c : c_before);
        parts.push_back(reshape(total(each), {1, s.hidden}));
      }
      r.peephole = concatenate(parts, 0);
    }
    if (need_h0) r.h0 = dh;
    if (needed[7]) r.c0 = dc;
    return r;
  });
}

}  // namespace dc::ops
