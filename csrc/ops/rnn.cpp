#include "ops/rnn.h"

#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/range.h"
#include "ops/reduce.h"

namespace dc::ops {

namespace {

constexpr double kEpsilon = 1e-5;  // of norms
constexpr const char* kNames[kRnnTensors] = {"x",        "w",          "u",       "bias",    "bias_h",
                                             "peephole", "projection", "gain_x",  "shift_x", "gain_h",
                                             "shift_h",  "gain_c",     "shift_c", "h0",      "c0"};

template <class T>
T* pointer(const MaybeArray& a) {
  return a ? a->data<T>() : nullptr;
}

void check_cell(const char* op, RnnCell cell, RnnGate gate) {
  const auto c = static_cast<int32_t>(cell), g = static_cast<int32_t>(gate);
  DC_CHECK(c >= 0 && c < kRnnCells, ArgumentError, op, ": expected a cell from 0 to ", kRnnCells - 1, ", got ", c);
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
  int64_t steps, batch, inputs, hidden, size, gates;
  int64_t width() const { return gates * hidden; }
  Dims y() const { return {steps, batch, size}; }
  Dims h() const { return {batch, size}; }
  Dims c() const { return {batch, hidden}; }
  Dims slots(int64_t units) const { return {steps + 1, batch, units}; }
  Dims all(int64_t units) const { return {steps, batch, units}; }
};

Sizes sizes_of(const char* op, const RnnOptions& o, const RnnTensors& a) {
  check_cell(op, o.cell, o.gate);
  DC_CHECK(a[kX] && a[kW] && a[kU], ArgumentError, op, ": expected x, w and u");
  const Array &x = *a[kX], &w = *a[kW], &u = *a[kU];
  const int64_t gates = rnn_gates(o.cell);
  DC_CHECK(x.ndim() == 3, ShapeError, op, ": expected x (steps, batch, inputs), got ", x.shape());
  const MaybeArray& projection = a[kProjection];
  if (projection) {
    DC_CHECK(rnn_has_c(o.cell), ArgumentError, op, ": this cell has no projection");
    DC_CHECK(projection->ndim() == 2, ShapeError, op, ": expected projection (size, hidden), got ",
             projection->shape());
  }
  const char* columns = projection ? "size" : "hidden";
  DC_CHECK(u.ndim() == 2 && (!projection || u.shape(1) == projection->shape(0)), ShapeError, op, ": expected u (",
           gates, " hidden, ", columns, "), got ", u.shape());
  const int64_t hidden = projection ? projection->shape(1) : u.shape(1);
  const Sizes s{x.shape(0), x.shape(1), x.shape(2), hidden, u.shape(1), gates};
  DC_CHECK(!projection || (s.size > 0 && hidden > 0), ShapeError, op, ": expected projection (size, hidden), got ",
           projection->shape());
  int64_t width;
  DC_CHECK(!__builtin_mul_overflow(gates, hidden, &width) && u.shape(0) == width, ShapeError, op, ": expected u (",
           gates, " hidden, ", columns, "), got ", u.shape());
  DC_CHECK(w.shape() == (Dims{width, s.inputs}), ShapeError, op, ": expected w ", (Dims{width, s.inputs}), " for x ",
           x.shape(), ", got ", w.shape());
  for (const Array* each : {&w, &u}) {
    check_same_dtype(op, x, *each);
    check_same_device(op, x, *each);
  }
  count({s.steps + 1, s.batch, width});
  count({s.steps + 1, s.batch, s.size});
  for (const double mix : {o.mix_h, o.mix_c})
    DC_CHECK(mix >= 0 && mix < 1, ArgumentError, op, ": expected zoneout in [0, 1), got ", mix);
  return s;
}

bool has_norm(const RnnTensors& a) { return a[kGainH].has_value(); }

// x as it is, the others checked and contiguous, but for w, which the product reads in place.
RnnTensors checked(const char* op, const RnnOptions& o, const Sizes& s, const RnnTensors& a) {
  const int64_t holes = rnn_peepholes(o.cell), width = s.width();
  const bool has_c = rnn_has_c(o.cell), norm = has_norm(a);
  RnnTensors r = a;
  const auto check = [&](RnnTensor i, const Dims& shape, bool known) {
    r[i] = checked(op, kNames[i], a[i], shape, *a[kX], known);
  };
  r[kU] = contiguous(*a[kU]);
  check(kBias, {width}, true);
  check(kBiasH, {s.hidden}, o.cell == RnnCell::gru);
  check(kPeephole, {holes, s.hidden}, holes > 0);
  check(kProjection, {s.size, s.hidden}, has_c);
  for (const RnnTensor i : {kGainX, kShiftX, kGainH, kShiftH}) check(i, {width}, !rnn_two_products(o.cell));
  for (const RnnTensor i : {kGainC, kShiftC}) check(i, {s.hidden}, has_c);
  for (size_t i = kGainX; i <= kShiftC; ++i)
    DC_CHECK(a[i].has_value() == (norm && (has_c || i < kGainC)), ArgumentError, op, ": expected all gains and shifts",
             has_c ? "" : " but those of c", ", or none");
  DC_CHECK(!norm || !a[kPeephole], ArgumentError, op, ": expected layer norm without peepholes");
  check(kH0, s.h(), true);
  check(kC0, s.c(), has_c);
  return r;
}

RnnGiven checked(const char* op, const RnnOptions& o, const Sizes& s, const Array& x, const RnnGiven& given) {
  RnnGiven r;
  if (const MaybeArray& lengths = given.lengths) {
    DC_CHECK(lengths->shape() == Dims{s.batch}, ShapeError, op, ": expected lengths (", s.batch, ",), got ",
             lengths->shape());
    DC_CHECK(lengths->dtype() == DType::int64, DtypeError, op, ": expected lengths in int64, got ", lengths->dtype());
    check_same_device(op, x, *lengths);
    r.lengths = in_range(op, "lengths", contiguous(*lengths), {.low = 0, .high = s.steps + 1});
  }
  const bool has_c = rnn_has_c(o.cell);
  r.h_mask = checked(op, "h_mask", given.h_mask, s.h(), x);
  r.zoneout_h = checked(op, "zoneout of h", given.zoneout_h, s.y(), x);
  r.zoneout_c = checked(op, "zoneout of c", given.zoneout_c, s.all(s.hidden), x, has_c);
  DC_CHECK(has_c || o.mix_c == 0, ArgumentError, op, ": this cell has no c to zone out");
  return r;
}

template <class T>
RnnNorm<T> norm_of(const RnnTensors& a) {
  return {pointer<T>(a[kGainH]), pointer<T>(a[kShiftH]), pointer<T>(a[kGainC]), pointer<T>(a[kShiftC]),
          static_cast<T>(kEpsilon)};
}

template <class T>
RnnShape<T> shape_of(const RnnOptions& o, const Sizes& s, const RnnTensors& a, const RnnGiven& given,
                     const RnnNorm<T>& norm) {
  RnnShape<T> r{};
  r.steps = s.steps, r.batch = s.batch, r.hidden = s.hidden, r.size = s.size;
  r.cell = o.cell, r.gate = o.gate, r.reverse = o.reverse;
  for (size_t i = 0; i < 3; ++i) r.slope[i] = static_cast<T>(o.slope[i]);
  r.lengths = pointer<int64_t>(given.lengths);
  r.u = pointer<T>(a[kU]), r.peephole = pointer<T>(a[kPeephole]), r.bias_h = pointer<T>(a[kBiasH]);
  r.projection = pointer<T>(a[kProjection]);
  r.h_mask = pointer<T>(given.h_mask);
  r.zoneout_h = pointer<T>(given.zoneout_h), r.zoneout_c = pointer<T>(given.zoneout_c);
  r.mix_h = static_cast<T>(o.mix_h), r.mix_c = static_cast<T>(o.mix_c);
  r.norm = has_norm(a) ? &norm : nullptr;
  return r;
}

template <class P, class T>
RnnKept<P> pointers(const RnnSaved& a) {
  return {pointer<T>(a[kGates]), pointer<T>(a[kH]),   pointer<T>(a[kC]),     pointer<T>(a[kExtra]), pointer<T>(a[kFed]),
          pointer<T>(a[kFresh]), pointer<T>(a[kOut]), pointer<T>(a[kInner]), pointer<T>(a[kStats])};
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

void check_packed(const char* op, const char* name, const MaybeArray& packed, int64_t size, const Array& like) {
  if (!packed) return;
  checked(op, name, packed, {size}, like);
  DC_CHECK(packed->is_contiguous(), ShapeError, op, ": expected ", name, " contiguous");
}

}  // namespace

Array pack_rnn(RnnCell cell, const Array& u0, const MaybeArray& projection0) {
  const char* op = "pack_rnn";
  check_cell(op, cell, RnnGate::sigmoid);
  const Array u = contiguous(u0);
  const int64_t gates = rnn_gates(cell);
  DC_CHECK(u.ndim() == 2 && u.shape(0) % gates == 0 && (projection0 || u.shape(0) / gates == u.shape(1)), ShapeError,
           op, ": expected u (", gates, " hidden, ", projection0 ? "size" : "hidden", "), got ", u.shape());
  const int64_t hidden = u.shape(0) / gates, size = u.shape(1);
  const MaybeArray projection = checked(op, "projection", projection0, {size, hidden}, u, rnn_has_c(cell));
  return dispatch_float(op, u.dtype(), [&]<class T>(T) {
    const RnnKernels<T>& kernel = *kernels<T>(u.device()).rnn;
    RnnShape<T> shape{};
    shape.cell = cell, shape.hidden = hidden, shape.size = size;
    shape.u = u.data<T>(), shape.projection = pointer<T>(projection);
    Array packed({kernel.packed_size(shape)}, u.dtype(), u.device());
    if (packed.size() > 0) kernel.pack(shape, packed.template data<T>(), context(u.device()));
    return packed;
  });
}

RnnResult rnn(const RnnOptions& o, const RnnTensors& tensors, const RnnGiven& given0, bool keep,
              const MaybeArray& packed_w, const MaybeArray& packed_u) {
  const char* op = "recurrent";
  const Sizes s = sizes_of(op, o, tensors);
  const RnnTensors a = checked(op, o, s, tensors);
  const Array& x = *a[kX];
  const RnnGiven given = checked(op, o, s, x, given0);
  const bool has_c = rnn_has_c(o.cell), norm = has_norm(a);
  const auto make = [&](const Dims& shape) { return Array(shape, x.dtype(), x.device()); };
  const int64_t start = o.reverse ? s.steps : 0, end = o.reverse ? 0 : s.steps, first = o.reverse ? 0 : 1;

  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    const RnnKernels<T>& kernel = *kernels<T>(x.device()).rnn;
    const RnnNorm<T> of_norm = norm_of<T>(a);
    RnnShape<T> shape = shape_of<T>(o, s, a, given, of_norm);
    check_packed(op, "packed u", packed_u, kernel.packed_size(shape), x);
    shape.packed = pointer<T>(packed_u);
    const bool in_steps = x.size() > 0 && kernel.reads_inputs(shape, s.inputs);
    const Array inputs_x = contiguous(x), w = in_steps ? contiguous(*a[kW]) : *a[kW];
    RnnSaved r;
    if (norm) {
      const Array raw = linear(inputs_x, w, std::nullopt, Activation::none, packed_w, true);
      const Array shift = a[kBias] ? binary(BinaryOp::add, *a[kShiftX], *a[kBias]) : *a[kShiftX];
      const auto [normal, mean, rstd] = layer_norm(raw, a[kGainX], shift, 1, kEpsilon);
      r[kGates] = normal;
      if (keep) r[kRaw] = raw, r[kRawMean] = mean, r[kRawRstd] = rstd;
    } else if (!in_steps) {
      r[kGates] = linear(inputs_x, w, a[kBias], Activation::none, packed_w, true);
    } else {
      if (keep) r[kGates] = make(s.all(s.width()));
      if (packed_w)
        check_packed(op, "packed w", packed_w, kernels<T>(x.device()).matmul->packed_b_size(s.inputs, w.shape(0)), x);
    }
    const RnnInputs<T> inputs{inputs_x.data<T>(), s.inputs, w.data<T>(), pointer<T>(packed_w), pointer<T>(a[kBias])};
    r[kH] = make(s.slots(s.size));
    start_from(a[kH0], slot(*r[kH], start));
    const auto per_step = [&](int64_t units) { return make(keep ? s.all(units) : Dims{s.batch, units}); };
    if (has_c) {
      r[kC] = make(keep ? s.slots(s.hidden) : s.c());
      start_from(a[kC0], keep ? slot(*r[kC], start) : *r[kC]);
    }
    if (rnn_has_extra(o.cell) && (keep || rnn_two_products(o.cell))) r[kExtra] = per_step(s.hidden);
    if (given.h_mask) {
      r[kFed] = make(s.slots(s.size));
      start_from(a[kH0] ? MaybeArray(binary(BinaryOp::multiply, *a[kH0], *given.h_mask)) : std::nullopt,
                 slot(*r[kFed], start));
    }
    if (shape.zoned_c() && (keep || norm)) r[kFresh] = per_step(s.hidden);
    if (a[kProjection]) r[kOut] = per_step(s.hidden);
    if (norm) {
      r[kInner] = per_step(s.width());
      if (keep) r[kStats] = make({4, s.steps, s.batch});
    }
    if (s.batch > 0 && s.hidden > 0 && s.size > 0 && s.steps > 0)
      kernel.forward(shape, RnnForward<T>{in_steps ? &inputs : nullptr, pointers<T*, T>(r), keep, !a[kH0]},
                     context(x.device()));
    Array y = slots(*r[kH], first, s.steps);
    if (given.lengths) {  // what is beyond a sequence's end repeats its state
      const Array steps = to_device(arange(0, static_cast<double>(s.steps), 1, DType::int64), x.device());
      const Array inside =
          compare(CompareOp::less, reshape(steps, {s.steps, 1, 1}), reshape(*given.lengths, {s.batch, 1}));
      y = where(inside, y, full({}, 0, x.dtype(), x.device()));
    }
    RnnResult result{y, slot(*r[kH], end), has_c ? MaybeArray(keep ? slot(*r[kC], end) : *r[kC]) : std::nullopt,
                     std::nullopt};
    if (keep) result.saved = r;
    return result;
  });
}

RnnTensors rnn_grad(const RnnOptions& o, const MaybeArray& gy0, const MaybeArray& gh, const MaybeArray& gc,
                    const RnnSaved& saved, const RnnTensors& tensors, const RnnGiven& given0,
                    const std::array<bool, kRnnTensors>& needed) {
  const char* op = "recurrent_grad";
  const Sizes s = sizes_of(op, o, tensors);
  const RnnTensors a = checked(op, o, s, tensors);
  const Array& x = *a[kX];
  const RnnGiven given = checked(op, o, s, x, given0);
  const bool has_c = rnn_has_c(o.cell), has_extra = rnn_has_extra(o.cell), two = rnn_two_products(o.cell);
  const bool norm = has_norm(a), zoned_c = given.zoneout_c || o.mix_c != 0;
  const int64_t width = s.width(), rows = s.steps * s.batch;
  const MaybeArray gy = checked(op, "cotangent of y", gy0, s.y(), x);
  checked(op, "cotangent of h", gh, s.h(), x);
  checked(op, "cotangent of c", gc, s.c(), x, has_c);
  const auto check_saved = [&](RnnSavedArray which, const char* name, const Dims& shape, bool there) {
    const MaybeArray& array = saved[which];
    DC_CHECK(array.has_value() == there, ArgumentError, op, ": expected ", name, there ? "" : " to be none");
    if (!array) return;
    checked(op, name, array, shape, x);
    DC_CHECK(array->is_contiguous(), ShapeError, op, ": expected ", name, " contiguous");
  };
  check_saved(kGates, "saved gates", s.all(width), true);
  check_saved(kH, "saved h", s.slots(s.size), true);
  check_saved(kC, "saved c", s.slots(s.hidden), has_c);
  check_saved(kExtra, "saved extra", s.all(s.hidden), has_extra);
  check_saved(kFed, "saved fed", s.slots(s.size), given.h_mask.has_value());
  check_saved(kFresh, "saved fresh", s.all(s.hidden), zoned_c);
  check_saved(kOut, "saved out", s.all(s.hidden), a[kProjection].has_value());
  check_saved(kInner, "saved inner", s.all(width), norm);
  check_saved(kStats, "saved stats", {4, s.steps, s.batch}, norm);
  check_saved(kRaw, "saved raw", s.all(width), norm);
  check_saved(kRawMean, "saved mean", {s.steps, s.batch}, norm);
  check_saved(kRawRstd, "saved rstd", {s.steps, s.batch}, norm);

  return dispatch_float(op, x.dtype(), [&]<class T>(T) {
    const auto make = [&](const Dims& shape, bool there = true) {
      return there ? MaybeArray(Array(shape, x.dtype(), x.device())) : std::nullopt;
    };
    const Array dh = *make(s.h()), dz = *make(s.all(width));
    start_from(gh, dh);
    const MaybeArray dc = make(s.c(), has_c), dextra = make(s.all(s.hidden), o.cell == RnnCell::gru);
    if (dc) start_from(gc, *dc);
    const bool projected = a[kProjection].has_value();
    const MaybeArray dfresh = make(s.y(), projected || norm), dout = make(s.c(), projected && norm);
    const MaybeArray dinner = make(s.all(width), norm), dshown = make(s.all(s.hidden), norm && has_c);
    const RnnNorm<T> of_norm = norm_of<T>(a);
    if (s.batch > 0 && s.hidden > 0 && s.size > 0 && s.steps > 0)
      kernels<T>(x.device())
          .rnn->backward(shape_of<T>(o, s, a, given, of_norm),
                         RnnBackward<T>{pointers<const T*, T>(saved), pointer<T>(gy), dh.data<T>(), pointer<T>(dc),
                                        dz.data<T>(), pointer<T>(dextra), pointer<T>(dfresh), pointer<T>(dout),
                                        pointer<T>(dinner), pointer<T>(dshown), needed[kH0]},
                         context(x.device()));
    RnnTensors r;
    const int64_t before = o.reverse ? 1 : 0;
    const auto flat = [&](const Array& all) { return reshape(all, {rows, all.shape(2)}); };
    // Columns [begin, end) of those of all steps.
    const auto columns = [&](const Array& all, int64_t begin, int64_t end) {
      return slice(flat(all), {0, begin}, {rows, end - begin}, {1, 1});
    };
    const auto across = [](const Array& each) { return transpose(each, {1, 0}); };
    const auto total = [&](const Array& each) { return reduce(ReduceOp::sum, each, {0}, false, false); };
    const int64_t split = width - s.hidden;  // of the last gate

    Array dsums = dz;  // of W x
    if (norm) {
      const bool affine = needed[kGainX] || needed[kShiftX];
      const auto [gx, ggain, gshift] = layer_norm_grad(*saved[kRaw], dz, *saved[kRawMean], *saved[kRawRstd], a[kGainX],
                                                       1, needed[kX] || needed[kW], affine);
      if (gx) dsums = *gx;
      r[kGainX] = ggain, r[kShiftX] = gshift;
    }
    if (needed[kX]) r[kX] = reshape(matmul(flat(dsums), *a[kW]), x.shape());
    if (needed[kW]) r[kW] = matmul(across(flat(dsums)), reshape(x, {rows, s.inputs}));
    if (needed[kU]) {
      const Array h = flat(slots(*saved[given.h_mask ? kFed : kH], before, s.steps));
      if (has_extra && !norm) {
        const Array inner =
            two ? matmul(across(columns(dz, split, width)), flat(*saved[kExtra])) : matmul(across(flat(*dextra)), h);
        r[kU] = concatenate({matmul(across(columns(dz, 0, split)), h), inner}, 0);
      } else {
        r[kU] = matmul(across(flat(norm ? *dinner : dz)), h);
      }
    }
    if (needed[kBias]) r[kBias] = total(flat(dz));
    if (needed[kBiasH] && dextra) r[kBiasH] = total(flat(*dextra));
    // c of every step before zoneout.
    const auto c_fresh = [&] { return zoned_c ? *saved[kFresh] : slots(*saved[kC], 1 - before, s.steps); };
    if (needed[kPeephole] && a[kPeephole]) {
      const Array c_before = flat(slots(*saved[kC], before, s.steps)), c = flat(c_fresh());
      const int64_t holes = rnn_peepholes(o.cell);
      std::vector<Array> parts;
      for (int64_t i = 0; i < holes; ++i) {
        const bool last = i + 1 == holes;
        const int64_t begin = (last ? rnn_output_gate(o.cell) : i) * s.hidden;
        const Array each = binary(BinaryOp::multiply, columns(dz, begin, begin + s.hidden), last ? c : c_before);
        parts.push_back(reshape(total(each), {1, s.hidden}));
      }
      r[kPeephole] = concatenate(parts, 0);
    }
    if (needed[kProjection] && dfresh) r[kProjection] = matmul(across(flat(*dfresh)), flat(*saved[kOut]));
    const auto stats = [&](int64_t which) {
      return reshape(slice(*saved[kStats], {which, 0, 0}, {1, s.steps, s.batch}, {1, 1, 1}), {s.steps, s.batch});
    };
    if (norm && (needed[kGainH] || needed[kShiftH])) {
      const Array g = dextra ? concatenate({columns(dz, 0, split), flat(*dextra)}, 1) : flat(dz);
      const Grads grads =
          layer_norm_grad(*saved[kInner], reshape(g, dz.shape()), stats(0), stats(1), a[kGainH], 1, false, true);
      r[kGainH] = std::get<1>(grads), r[kShiftH] = std::get<2>(grads);
    }
    if (dshown && (needed[kGainC] || needed[kShiftC])) {
      const Grads grads =
          layer_norm_grad(contiguous(c_fresh()), *dshown, stats(2), stats(3), a[kGainC], 1, false, true);
      r[kGainC] = std::get<1>(grads), r[kShiftC] = std::get<2>(grads);
    }
    if (needed[kH0]) r[kH0] = dh;
    if (needed[kC0]) r[kC0] = dc;
    return r;
  });
}

}  // namespace dc::ops
