#include "ops/optim.h"

#include "ops/dispatch.h"
#include "ops/movement.h"

namespace dc::ops {

namespace {

void check_lists(const char* op, const Arrays& params, const Arrays& other, const char* name) {
  DC_CHECK(params.size() == other.size(), ArgumentError, op, ": expected ", params.size(), " ", name, ", got ",
           other.size());
  for (size_t i = 0; i < params.size(); ++i) {
    DC_CHECK(params[i].shape() == other[i].shape(), ShapeError, op, ": expected ", name, " ", i, " of shape ",
             params[i].shape(), ", got ", other[i].shape());
    check_same_dtype(op, params[0], other[i]);
    check_same_device(op, params[0], other[i]);
  }
}

void check_writable(const char* op, const Arrays& arrays, const char* name) {
  for (const Array& a : arrays) {
    DC_CHECK(a.is_contiguous(), ShapeError, op, ": expected contiguous ", name, ", got shape ", a.shape(),
             " with strides ", a.strides());
    DC_CHECK(!a.storage()->readonly(), ArgumentError, op, ": ", name, " of shape ", a.shape(), " is read-only memory");
    check_same_dtype(op, arrays[0], a);
    check_same_device(op, arrays[0], a);
  }
}

void touch(const Arrays& arrays) {
  for (const Array& a : arrays) a.storage()->touch();
}

// A TensorList over params, grads and up to three lists of states, and the memory it points to.
template <class T>
struct List {
  std::vector<int64_t> size;
  std::vector<T*> param, state[3];
  std::vector<const T*> grad;
  TensorList<T> list;

  List(const Arrays& params, const Arrays& grads, std::initializer_list<const Arrays*> states) {
    for (const Array& p : params) size.push_back(p.size()), param.push_back(p.data<T>());
    for (const Array& g : grads) grad.push_back(g.data<T>());
    int j = 0;
    for (const Arrays* s : states) {
      for (const Array& a : *s) state[j].push_back(a.data<T>());
      ++j;
    }
    list = {static_cast<int64_t>(params.size()),
            size.data(),
            param.data(),
            grad.data(),
            {state[0].data(), state[1].data(), state[2].data()}};
  }
};

Arrays all_contiguous(const Arrays& arrays) {
  Arrays result;
  for (const Array& a : arrays) result.push_back(contiguous(a));
  return result;
}

// Checks, then f(kernels, list) with the element type of the parameters; empty lists of states are left out.
template <class F>
void run_step(const char* op, const Arrays& params, const Arrays& grads0, std::initializer_list<const Arrays*> states,
              const F& f) {
  if (params.empty()) return;
  check_writable(op, params, "parameters");
  check_lists(op, params, grads0, "gradients");
  for (const Arrays* s : states) {
    if (s->empty()) continue;
    check_lists(op, params, *s, "states");
    check_writable(op, *s, "states");
  }
  const Arrays grads = all_contiguous(grads0);
  dispatch_float(op, params[0].dtype(), [&]<class T>(T) {
    const List<T> list(params, grads, states);
    f(*kernels<T>(params[0].device()).optim, list.list, context(params[0].device()));
  });
  touch(params);
  for (const Arrays* s : states) touch(*s);
}

template <class T, class Step>
Step with_common(const StepOptions& o) {
  Step s{};
  s.rate = static_cast<T>(o.rate);
  s.grad_scale = static_cast<T>(o.grad_scale);
  s.l2 = static_cast<T>(o.l2);
  s.keep = static_cast<T>(o.keep);
  return s;
}

void check_has(const char* op, const Arrays& params, const Arrays& states, bool needed, const char* name) {
  DC_CHECK(!needed || params.size() == states.size(), ArgumentError, op, ": expected ", params.size(), " ", name,
           ", got ", states.size());
}

}  // namespace

void sgd_step(const Arrays& params, const Arrays& grads, const Arrays& momenta, const StepOptions& common,
              double momentum, bool nesterov) {
  check_has("sgd", params, momenta, momentum != 0, "momenta");
  run_step("sgd", params, grads, {&momenta}, [&]<class T>(const OptimKernels<T>& k, const auto& list, Context& c) {
    auto s = with_common<T, SgdStep<T>>(common);
    s.momentum = static_cast<T>(momentum);
    s.nesterov = nesterov;
    require(k.sgd, "sgd", c.device)(list, s, c);
  });
}

void adagrad_step(const Arrays& params, const Arrays& grads, const Arrays& sums, const StepOptions& common,
                  double epsilon) {
  check_has("adagrad", params, sums, true, "sums");
  run_step("adagrad", params, grads, {&sums}, [&]<class T>(const OptimKernels<T>& k, const auto& list, Context& c) {
    auto s = with_common<T, AdagradStep<T>>(common);
    s.epsilon = static_cast<T>(epsilon);
    require(k.adagrad, "adagrad", c.device)(list, s, c);
  });
}

void rmsprop_step(const Arrays& params, const Arrays& grads, const Arrays& squares, const Arrays& means,
                  const Arrays& momenta, const StepOptions& common, double decay, double epsilon, double momentum) {
  check_has("rmsprop", params, squares, true, "squares");
  check_has("rmsprop", params, means, !means.empty(), "means");
  check_has("rmsprop", params, momenta, momentum != 0, "momenta");
  run_step("rmsprop", params, grads, {&squares, &means, &momenta},
           [&]<class T>(const OptimKernels<T>& k, const auto& list, Context& c) {
             auto s = with_common<T, RmspropStep<T>>(common);
             s.decay = static_cast<T>(decay);
             s.epsilon = static_cast<T>(epsilon);
             s.centred = !means.empty();
             s.momentum = static_cast<T>(momentum);
             require(k.rmsprop, "rmsprop", c.device)(list, s, c);
           });
}

void adadelta_step(const Arrays& params, const Arrays& grads, const Arrays& squares, const Arrays& moved,
                   const StepOptions& common, double decay, double epsilon) {
  check_has("adadelta", params, squares, true, "squares");
  check_has("adadelta", params, moved, true, "moved squares");
  run_step("adadelta", params, grads, {&squares, &moved},
           [&]<class T>(const OptimKernels<T>& k, const auto& list, Context& c) {
             auto s = with_common<T, AdadeltaStep<T>>(common);
             s.decay = static_cast<T>(decay);
             s.epsilon = static_cast<T>(epsilon);
             require(k.adadelta, "adadelta", c.device)(list, s, c);
           });
}

void adam_step(const Arrays& params, const Arrays& grads, const Arrays& means, const Arrays& squares,
               const Arrays& largest, const StepOptions& common, const AdamOptions& options) {
  check_has("adam", params, means, true, "means");
  check_has("adam", params, squares, true, "squares");
  run_step("adam", params, grads, {&means, &squares, &largest},
           [&]<class T>(const OptimKernels<T>& k, const auto& list, Context& c) {
             auto s = with_common<T, AdamStep<T>>(common);
             s.beta1 = static_cast<T>(options.beta1);
             s.beta2 = static_cast<T>(options.beta2);
             s.epsilon = static_cast<T>(options.epsilon);
             s.rate_g = static_cast<T>(options.rate_g);
             s.root_scale = static_cast<T>(options.root_scale);
             s.amsgrad = !largest.empty();
             s.adaptive = options.adaptive;
             require(k.adam, "adam", c.device)(list, s, c);
           });
}

void lion_step(const Arrays& params, const Arrays& grads, const Arrays& means, const StepOptions& common, double beta1,
               double beta2) {
  check_has("lion", params, means, true, "means");
  run_step("lion", params, grads, {&means}, [&]<class T>(const OptimKernels<T>& k, const auto& list, Context& c) {
    auto s = with_common<T, LionStep<T>>(common);
    s.beta1 = static_cast<T>(beta1);
    s.beta2 = static_cast<T>(beta2);
    require(k.lion, "lion", c.device)(list, s, c);
  });
}

std::vector<double> squared_norms(const Arrays& arrays0) {
  std::vector<double> result(arrays0.size());
  if (arrays0.empty()) return result;
  const Arrays arrays = all_contiguous(arrays0);
  for (const Array& a : arrays) {
    check_same_dtype("squared_norms", arrays[0], a);
    check_same_device("squared_norms", arrays[0], a);
  }
  dispatch_float("squared_norms", arrays[0].dtype(), [&]<class T>(T) {
    const Device device = arrays[0].device();
    const List<T> list(arrays, arrays, {});
    require(kernels<T>(device).optim->squared_norms, "squared_norms", device)(list.list, result.data(),
                                                                              context(device));
  });
  return result;
}

void scale_in_place(const Arrays& arrays, double factor) {
  if (arrays.empty()) return;
  check_writable("scale", arrays, "arrays");
  dispatch_float("scale", arrays[0].dtype(), [&]<class T>(T) {
    const Device device = arrays[0].device();
    const List<T> list(arrays, arrays, {});
    require(kernels<T>(device).optim->scale, "scale", device)(list.list, static_cast<T>(factor), context(device));
  });
  touch(arrays);
}

void average_step(const Arrays& averages, const Arrays& arrays0, double decay) {
  if (averages.empty() && arrays0.empty()) return;
  DC_CHECK(decay >= 0 && decay <= 1, ArgumentError, "average: expected a decay in [0, 1], got ", decay);
  check_lists("average", averages, arrays0, "arrays");
  check_writable("average", averages, "averages");
  const Arrays arrays = all_contiguous(arrays0);
  dispatch_float("average", averages[0].dtype(), [&]<class T>(T) {
    const Device device = averages[0].device();
    const List<T> list(arrays, arrays, {&averages});
    require(kernels<T>(device).optim->average, "average", device)(list.list, static_cast<T>(decay), context(device));
  });
  touch(averages);
}

int64_t first_not_finite(const Arrays& arrays0) {
  if (arrays0.empty()) return -1;
  const Arrays arrays = all_contiguous(arrays0);
  std::vector<uint8_t> finite(arrays.size(), 1);
  for (const Array& a : arrays) {
    check_same_dtype("first_not_finite", arrays[0], a);
    check_same_device("first_not_finite", arrays[0], a);
  }
  dispatch_float("first_not_finite", arrays[0].dtype(), [&]<class T>(T) {
    const Device device = arrays[0].device();
    const List<T> list(arrays, arrays, {});
    require(kernels<T>(device).optim->all_finite, "first_not_finite", device)(list.list, finite.data(),
                                                                              context(device));
  });
  for (size_t i = 0; i < finite.size(); ++i)
    if (!finite[i]) return static_cast<int64_t>(i);
  return -1;
}

void max_norm(const Array& w, int64_t axis0, double limit) {
  const int axis = normalize_axis("max_norm", axis0, w.ndim());
  DC_CHECK(limit > 0, ArgumentError, "max_norm: expected a limit > 0, got ", limit);
  check_writable("max_norm", {w}, "weights");
  int64_t outer = 1, inner = 1;
  for (int d = 0; d < w.ndim(); ++d)
    if (d != axis) (d < axis ? outer : inner) *= w.shape(d);
  dispatch_float("max_norm", w.dtype(), [&]<class T>(T) {
    if (w.size() > 0)
      require(kernels<T>(w.device()).optim->max_norm, "max_norm", w.device())(
          outer, w.shape(axis), inner, static_cast<T>(limit), w.data<T>(), context(w.device()));
  });
  w.storage()->touch();
}

}  // namespace dc::ops
