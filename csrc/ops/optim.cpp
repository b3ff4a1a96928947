#include "ops/optim.h"

#include <cmath>

#include "ops/dispatch.h"
#include "ops/matmul.h"

namespace dc::ops {

namespace {

// The lists of a step as pointers, after checks: equal lengths, shapes, one type, contiguous, writable.
template <class T>
struct Lists {
  std::vector<int64_t> size;
  std::vector<T*> param, state[3];
  std::vector<const T*> grad;
  TensorList<T> list{};

  Lists(const char* op, const Arrays* params, const Arrays* grads, const std::vector<Arrays>& states) {
    const Arrays& lead = params ? *params : *grads;
    const auto check = [&](const Arrays& arrays, bool written) {
      DC_CHECK(arrays.size() == lead.size(), ArgumentError, op, ": expected lists of ", lead.size(), " arrays, got ",
               arrays.size());
      for (size_t i = 0; i < arrays.size(); ++i) {
        DC_CHECK(arrays[i].shape() == lead[i].shape(), ShapeError, op, ": array ", i, ": expected shape ",
                 lead[i].shape(), ", got ", arrays[i].shape());
        DC_CHECK(arrays[i].dtype() == dtype_of<T>(), DtypeError, op, ": array ", i, ": expected ", dtype_of<T>(),
                 ", got ", arrays[i].dtype());
        check_same_device(op, lead[0], arrays[i]);
        DC_CHECK(arrays[i].is_contiguous(), ShapeError, op, ": array ", i, " is not contiguous");
        if (written) {
          DC_CHECK(!arrays[i].storage()->readonly(), ArgumentError, op, ": array ", i, " is read-only");
          arrays[i].storage()->touch();
        }
      }
    };
    for (const Array& a : lead) size.push_back(a.size());
    if (params) {
      check(*params, true);
      for (const Array& a : *params) param.push_back(a.data<T>());
      list.param = param.data();
    }
    if (grads) {
      check(*grads, false);
      for (const Array& a : *grads) grad.push_back(a.data<T>());
      list.grad = grad.data();
    }
    DC_CHECK(states.size() <= 3, ArgumentError, op, ": expected at most 3 states");
    for (size_t j = 0; j < states.size(); ++j) {
      if (states[j].empty() && !lead.empty()) continue;
      check(states[j], true);
      for (const Array& a : states[j]) state[j].push_back(a.data<T>());
      list.state[j] = state[j].data();
    }
    list.count = static_cast<int64_t>(size.size());
    list.size = size.data();
  }
};

template <class F>
void with_lists(const char* op, const Arrays* params, const Arrays* grads, const std::vector<Arrays>& states,
                const F& f) {
  const Arrays& lead = params ? *params : *grads;
  if (lead.empty()) return;
  dispatch_float(op, lead[0].dtype(), [&]<class T>(T) {
    const Lists<T> lists(op, params, grads, states);
    f.template operator()<T>(lists.list, *kernels<T>(lead[0].device()).optim, context(lead[0].device()));
  });
}

template <class T, class Step>
Step common(Step step, const StepOptions& o) {
  step.rate = static_cast<T>(o.rate);
  step.grad_scale = static_cast<T>(o.grad_scale);
  step.l2 = static_cast<T>(o.l2);
  step.keep = static_cast<T>(o.keep);
  return step;
}

void need_states(const char* op, const std::vector<Arrays>& states, size_t n) {
  DC_CHECK(states.size() == n, ArgumentError, op, ": expected ", n, " lists of states, got ", states.size());
}

}  // namespace

void sgd_step(const Arrays& params, const Arrays& grads, const Arrays& velocity, const StepOptions& o, double momentum,
              bool nesterov) {
  DC_CHECK(momentum == 0 || velocity.size() == params.size(), ArgumentError,
           "sgd_step: momentum needs a velocity per parameter");
  with_lists("sgd_step", &params, &grads, {velocity}, [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
    SgdStep<T> step = common<T>(SgdStep<T>{}, o);
    step.momentum = static_cast<T>(momentum);
    step.nesterov = nesterov;
    k.sgd(l, step, c);
  });
}

void sgd_step_of_product(const Array& param, const Array& a, const Array& b, const StepOptions& o) {
  const GemmCall call = gemm_call(a, b);
  DC_CHECK(param.ndim() == 2 && call.shape == param.shape(), ShapeError,
           "sgd_step_of_product: expected a parameter (m, n) and a product of its shape, got ", param.shape(), " and ",
           call.shape);
  check_same_dtype("sgd_step_of_product", a, param);
  check_same_device("sgd_step_of_product", a, param);
  if (param.size() == 0) return;
  const Arrays params{param};
  bool done = false;
  with_lists("sgd_step", &params, nullptr, {}, [&]<class T>(const TensorList<T>& l, const auto&, Context& c) {
    done = kernels<T>(param.device())
               .matmul->gemm_sgd(call.s, call.a.template data<T>(), call.b.template data<T>(),
                                 common<T>(SgdStep<T>{}, o), l.param[0], c);
  });
  if (!done) sgd_step(params, {matmul(a, b)}, {}, o, 0, false);
}

void adagrad_step(const Arrays& params, const Arrays& grads, const Arrays& squares, const StepOptions& o,
                  double epsilon) {
  with_lists("adagrad_step", &params, &grads, {squares},
             [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
               DC_CHECK(l.state[0], ArgumentError, "adagrad_step: expected a state per parameter");
               AdagradStep<T> step = common<T>(AdagradStep<T>{}, o);
               step.epsilon = static_cast<T>(epsilon);
               k.adagrad(l, step, c);
             });
}

void rmsprop_step(const Arrays& params, const Arrays& grads, const std::vector<Arrays>& states, const StepOptions& o,
                  double decay, double epsilon, bool centred, double momentum) {
  need_states("rmsprop_step", states, 3);
  with_lists("rmsprop_step", &params, &grads, states, [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
    DC_CHECK(l.state[0] && (l.state[1] || !centred) && (l.state[2] || momentum == 0), ArgumentError,
             "rmsprop_step: a state is missing");
    RmspropStep<T> step = common<T>(RmspropStep<T>{}, o);
    step.decay = static_cast<T>(decay);
    step.epsilon = static_cast<T>(epsilon);
    step.centred = centred;
    step.momentum = static_cast<T>(momentum);
    k.rmsprop(l, step, c);
  });
}

void adadelta_step(const Arrays& params, const Arrays& grads, const std::vector<Arrays>& states, const StepOptions& o,
                   double decay, double epsilon) {
  need_states("adadelta_step", states, 2);
  with_lists("adadelta_step", &params, &grads, states, [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
    DC_CHECK(l.state[0] && l.state[1], ArgumentError, "adadelta_step: a state is missing");
    AdadeltaStep<T> step = common<T>(AdadeltaStep<T>{}, o);
    step.decay = static_cast<T>(decay);
    step.epsilon = static_cast<T>(epsilon);
    k.adadelta(l, step, c);
  });
}

void adam_step(const Arrays& params, const Arrays& grads, const std::vector<Arrays>& states, const StepOptions& o,
               double beta1, double beta2, double epsilon, double rate_g, double root_scale, bool amsgrad,
               bool adaptive) {
  need_states("adam_step", states, 3);
  with_lists("adam_step", &params, &grads, states, [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
    DC_CHECK(l.state[0] && l.state[1] && (l.state[2] || !amsgrad), ArgumentError, "adam_step: a state is missing");
    AdamStep<T> step = common<T>(AdamStep<T>{}, o);
    step.beta1 = static_cast<T>(beta1);
    step.beta2 = static_cast<T>(beta2);
    step.epsilon = static_cast<T>(epsilon);
    step.rate_g = static_cast<T>(rate_g);
    step.root_scale = static_cast<T>(root_scale);
    step.amsgrad = amsgrad;
    step.adaptive = adaptive;
    k.adam(l, step, c);
  });
}

void lion_step(const Arrays& params, const Arrays& grads, const Arrays& momentum, const StepOptions& o, double beta1,
               double beta2) {
  with_lists("lion_step", &params, &grads, {momentum}, [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
    DC_CHECK(l.state[0], ArgumentError, "lion_step: expected a state per parameter");
    LionStep<T> step = common<T>(LionStep<T>{}, o);
    step.beta1 = static_cast<T>(beta1);
    step.beta2 = static_cast<T>(beta2);
    k.lion(l, step, c);
  });
}

std::vector<double> squared_norms(const Arrays& grads) {
  std::vector<double> squares(grads.size());
  with_lists("squared_norms", nullptr, &grads, {}, [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
    k.squared_norms(l, squares.data(), c);
  });
  return squares;
}

void scale(const Arrays& arrays, double factor) {
  with_lists("scale", &arrays, nullptr, {}, [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
    k.scale(l, static_cast<T>(factor), c);
  });
}

void moving_average(const Arrays& params, const Arrays& averages, double decay) {
  DC_CHECK(decay >= 0 && decay <= 1, ArgumentError, "moving_average: expected decay in [0, 1], got ", decay);
  with_lists("moving_average", &params, nullptr, {averages},
             [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) {
               DC_CHECK(l.state[0], ArgumentError, "moving_average: expected an average per parameter");
               k.average(l, static_cast<T>(decay), c);
             });
}

int64_t first_not_finite(const Arrays& arrays) {
  std::vector<uint8_t> finite(arrays.size(), 1);
  with_lists("first_not_finite", nullptr, &arrays, {},
             [&]<class T>(const TensorList<T>& l, const auto& k, Context& c) { k.all_finite(l, finite.data(), c); });
  for (size_t i = 0; i < finite.size(); ++i)
    if (!finite[i]) return static_cast<int64_t>(i);
  return -1;
}

void max_norm(const Array& w, int64_t outer, int64_t units, int64_t inner, double limit) {
  DC_CHECK(limit > 0 && std::isfinite(limit), ArgumentError, "max_norm: expected a positive limit, got ", limit);
  DC_CHECK(w.is_contiguous() && !w.storage()->readonly(), ArgumentError, "max_norm: expected a plain writable array");
  DC_CHECK(count({outer, units, inner}) == w.size(), ShapeError, "max_norm: expected sizes that cover ", w.shape(),
           ", got ", outer, " x ", units, " x ", inner);
  if (w.size() == 0) return;
  dispatch_float("max_norm", w.dtype(), [&]<class T>(T) {
    kernels<T>(w.device())
        .optim->max_norm(outer, units, inner, static_cast<T>(limit), w.data<T>(), context(w.device()));
  });
  w.storage()->touch();
}

}  // namespace dc::ops
