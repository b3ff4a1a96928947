// Recurrent layers, step by step: kernels/rnn.h has formulas and layouts, kernels/rnn_cells.h the cells.
// A launch is one product of a step and the cell on its sums (rnn_product.cuh): a block owns some rows and all gates of
// some units, a thread of the cell one unit of one row. Cells of two products take two launches a step, a projection
// one more; with norm the cells stand in a launch of their own, a block a row (rnn_rows.cuh). Backward, a step begins
// with what the gates of the step after it give back, so that it takes as many; the state before the first step takes
// one more. Nothing is packed: forward reads u along its rows, backward across. No scratch, no waits.
// Bound: latency of the launches up to some hundred units, then that of rnn_product.cuh.
#include "families/families.h"
#include "families/rnn_rows.cuh"
#include "families/rnn_steps.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

template <class T>
struct Layer {
  const RnnShape<T>& s;
  int gates;
  int64_t width, h_step, c_step;  // gates hidden, sizes of a step's h and c
  bool shown;                     // norm of c
  explicit Layer(const RnnShape<T>& shape)
      : s(shape),
        gates(rnn_gates(shape.cell)),
        width(gates * shape.hidden),
        h_step(shape.batch * shape.size),
        c_step(shape.batch * shape.hidden),
        shown(shape.norm && rnn_has_c(shape.cell)) {}

  int64_t time(int64_t step) const { return s.reverse ? s.steps - 1 - step : step; }
  int64_t slot(int64_t step) const { return s.reverse ? s.steps - step : step; }

  StepOf<T> of(int64_t step, bool keep) const {
    return {s.cell,
            {s.gate,
             {s.slope[0], s.slope[1], s.slope[2]},
             s.peephole,
             s.bias_h,
             s.hidden,
             s.hidden,
             1,
             keep,
             s.zoned_h(),
             s.zoned_c(),
             shown,
             rnn_output_gate(s.cell),
             s.mix_h,
             s.mix_c},
            s.lengths,
            time(step),
            s.batch,
            s.hidden,
            s.size,
            width,
            s.h_mask,
            moved(s.zoneout_h, time(step) * h_step),
            moved(s.zoneout_c, time(step) * c_step)};
  }
  StepProduct<T> product(const RowTerms<T>& a, int64_t k, const T* u, int64_t u_row, int64_t units) const {
    const bool wide = multiple_of_4(a.first_row) && multiple_of_4(a.second_row) && multiple_of_4(a.split) &&
                      multiple_of_4(k) && multiple_of_4(u_row) && aligned(a.first) && aligned(a.second) && aligned(u);
    return {a, u, u_row, s.batch, units, k, wide};
  }
  StepProduct<T> product(const T* a, int64_t a_row, int64_t k, const T* u, int64_t u_row, int64_t units) const {
    return product({a, a_row, a_row, a, a_row}, k, u, u_row, units);
  }
};

template <int kGates, class T>
void queue_forward(Context& context, const StepProduct<T>& product, const ForwardStep<T>& step) {
  with_step_tile<T, GateWeights<T, kGates>>(product.rows, product.units, [&]<class Tile>(Tile, unsigned blocks) {
    run("recurrent", context, rnn_forward_step<T, kGates, Tile>, dim3(blocks), dim3(kRnnThreads), 0, product, step);
  });
}

template <class T>
void forward(const RnnShape<T>& s, const RnnForward<T>& f, Context& context) {
  const Layer<T> layer(s);
  const int64_t H = s.hidden, K = s.size;
  const int first = first_gates(s.cell);
  for (int64_t i = 0; i < s.steps; ++i) {
    const int64_t t = layer.time(i), from = layer.slot(i), to = layer.slot(i + 1), kept = f.keep ? t : 0;
    const T* before = f.to.h + from * layer.h_step;
    ForwardStep<T> step{layer.of(i, f.keep),
                        s.norm ? ForwardPart::inner : ForwardPart::gates,
                        f.to.gates + t * s.batch * layer.width,
                        before,
                        f.to.fed ? f.to.fed + from * layer.h_step : before,
                        f.to.h + to * layer.h_step,
                        moved(f.to.fed, to * layer.h_step),
                        moved(f.to.c, f.keep ? from * layer.c_step : 0),
                        moved(f.to.c, f.keep ? to * layer.c_step : 0),
                        moved(f.to.extra, kept * layer.c_step),
                        moved(f.to.fresh, kept * layer.c_step),
                        moved(f.to.out, kept * layer.c_step),
                        moved(f.to.inner, kept * s.batch * layer.width)};
    const int64_t k = f.at_rest && i == 0 ? 0 : K;
    const StepProduct<T> product = layer.product(step.fed, K, k, s.u, K, H);
    if (first == 1) queue_forward<1>(context, product, step);
    if (first == 2) queue_forward<2>(context, product, step);
    if (first == 3) queue_forward<3>(context, product, step);
    if (first == 4) queue_forward<4>(context, product, step);
    if (rnn_two_products(s.cell)) {
      step.part = ForwardPart::second;
      queue_forward<1>(context, layer.product(step.extra, H, k, s.u + first * H * H, H, H), step);
    }
    if (s.norm)
      run("recurrent", context, rnn_forward_rows<T>, dim3(blocks_for(s.batch, 1)), dim3(kRnnThreads), 0, step, *s.norm,
          moved(f.to.stats, t * s.batch), static_cast<long long>(s.steps * s.batch));
    if (s.projection) {
      step.part = ForwardPart::projection;
      queue_forward<1>(context, layer.product(step.out, H, H, s.projection, H, K), step);
    }
  }
}

template <class T>
void backward(const RnnShape<T>& s, const RnnBackward<T>& b, Context& context) {
  const char* op = "recurrent_grad";
  const Layer<T> layer(s);
  const int64_t H = s.hidden, K = s.size, width = layer.width, inner = width - H;
  const auto queue = [&](const StepProduct<T>& product, const BackwardStep<T>& step) {
    with_step_tile<T, StateWeights<T>>(s.batch, product.units, [&]<class Tile>(Tile, unsigned blocks) {
      run(op, context, rnn_backward_step<T, Tile>, dim3(blocks), dim3(kRnnThreads), 0, product, step);
    });
  };
  // What the dz of a step give to the state before it.
  const auto given_by = [&](int64_t step) {
    const int64_t t = layer.time(step);
    const T* dz = (s.norm ? b.dinner : b.dz) + t * s.batch * width;
    if (s.cell == RnnCell::gru && !s.norm)
      return layer.product({dz, width, inner, b.dextra + t * layer.c_step, H}, width, s.u, K, K);
    return layer.product(dz, width, rnn_two_products(s.cell) ? inner : width, s.u, K, K);
  };
  const bool apart = s.projection || s.norm;
  BackwardStep<T> step{};
  for (int64_t i = s.steps - 1; i >= 0; --i) {
    const int64_t t = layer.time(i), from = layer.slot(i), to = layer.slot(i + 1);
    const T* gates = b.from.gates + t * s.batch * width;
    T* dz = b.dz + t * s.batch * width;
    step = {
        layer.of(i, true), apart ? BackwardPart::states : BackwardPart::gates, gates, b.from.h + from * layer.h_step,
        // The functions of cells without gates are differentiated by their values.
        layer.gates == 1 && s.zoned_h() ? gates : b.from.h + to * layer.h_step, moved(b.from.c, from * layer.c_step),
        b.from.fresh ? b.from.fresh + t * layer.c_step : moved(b.from.c, to * layer.c_step),
        moved(b.from.extra, t * layer.c_step), moved(b.from.fed, from * layer.h_step),
        moved(b.from.inner, t * s.batch * width), moved(b.g, t * layer.h_step), b.dh, b.dc, dz,
        moved(b.dextra, t * layer.c_step), moved(b.dfresh, t * layer.h_step), b.dout,
        moved(b.dinner, t * s.batch * width), moved(b.dshown, t * layer.c_step), !s.projection};
    queue(i + 1 < s.steps ? given_by(i + 1) : layer.product(dz, width, 0, s.u, K, K), step);
    if (s.projection) {
      step.part = s.norm ? BackwardPart::outputs : BackwardPart::cell;
      queue(layer.product(step.dfresh, K, K, s.projection, H, H), step);
    }
    if (s.norm)
      run(op, context, rnn_backward_rows<T>, dim3(blocks_for(s.batch, 1)), dim3(kRnnThreads), 0, step, *s.norm,
          b.from.stats + t * s.batch, static_cast<long long>(s.steps * s.batch));
    if (rnn_two_products(s.cell)) {
      step.part = BackwardPart::second;
      queue(layer.product(dz + inner, width, H, s.u + inner * H, H, H), step);
    }
  }
  if (!b.to_start || s.steps == 0) return;
  step.part = BackwardPart::start;
  queue(given_by(0), step);
}

template <class T>
int64_t packed_size(const RnnShape<T>&) {
  return 0;
}

template <class T>
void pack(const RnnShape<T>&, T*, Context&) {}

template <class T>
bool reads_inputs(const RnnShape<T>&, int64_t) {
  return false;
}

template <class T>
inline constexpr RnnKernels<T> kRnn = {reads_inputs<T>, packed_size<T>, pack<T>, forward<T>, backward<T>};

}  // namespace

const RnnKernels<float> rnn_f32 = kRnn<float>;
const RnnKernels<double> rnn_f64 = kRnn<double>;

}  // namespace dc::cuda
