// Optimizer steps against their formulas in double, several steps in a row.
#include "kernels/optim.h"

#include <functional>

#include "kernel_test.h"

DECLARE_TABLES(OptimKernels, optim)

using test::close;
using test::Numbers;
using test::Ringed;

namespace {

struct Cell {
  double p, g, s[3];
};

template <class T>
struct Lists {
  std::vector<int64_t> size = {1, 0, 7, 16, 33, 16384, 40000, 3};
  std::vector<Ringed<T>> param, grad, state[3];
  std::vector<T*> p, s[3];
  std::vector<const T*> g;
  dc::TensorList<T> list{};
  Lists() {
    Numbers numbers(11);
    for (int64_t n : size) {
      param.push_back(numbers.array<T>(n));
      grad.push_back(numbers.array<T>(n));
      for (int j = 0; j < 3; ++j) state[j].push_back(Ringed<T>(n, T(0)));
    }
    for (size_t i = 0; i < size.size(); ++i) {
      p.push_back(param[i].data()), g.push_back(grad[i].data());
      for (int j = 0; j < 3; ++j) s[j].push_back(state[j][i].data());
    }
    list = {
        static_cast<int64_t>(size.size()), size.data(), p.data(), g.data(), {s[0].data(), s[1].data(), s[2].data()}};
  }
};

// run: three kernel steps; cell: the same step on one element in double.
template <class T>
void compare(const std::function<void(const dc::TensorList<T>&)>& run, const std::function<void(Cell&)>& cell,
             double ulps) {
  Lists<T> start, one, two;
  dc::set_thread_count(1);
  for (int i = 0; i < 3; ++i) run(one.list);
  dc::set_thread_count(2);
  for (int i = 0; i < 3; ++i) run(two.list);
  for (size_t t = 0; t < start.size.size(); ++t) {
    CHECK(one.param[t].same_bits(two.param[t]));
    for (int64_t k = 0; k < start.size[t]; ++k) {
      Cell c{start.param[t][k], start.grad[t][k], {0, 0, 0}};
      for (int i = 0; i < 3; ++i) cell(c);
      CHECK(close<T>(two.param[t][k], c.p, 1, ulps));
      for (int j = 0; j < 3; ++j) CHECK(close<T>(two.state[j][t][k], c.s[j], 1, ulps));
    }
  }
}

template <class T>
void check(const dc::OptimKernels<T>& table) {
  dc::Context& context = test::context();
  const double rate = 0.0625, l2 = 0.03125, keep = 0.96875, scale = 0.75;
  const auto common = [&](auto& step) {
    step.rate = static_cast<T>(rate), step.grad_scale = static_cast<T>(scale);
    step.l2 = static_cast<T>(l2), step.keep = static_cast<T>(keep);
  };
  const auto begin = [&](Cell& c) {
    const double g = c.g * scale + l2 * c.p;
    c.p *= keep;
    return g;
  };
  for (double momentum : {0.0, 0.875})
    for (bool nesterov : {false, true}) {
      dc::SgdStep<T> s{};
      common(s);
      s.momentum = static_cast<T>(momentum), s.nesterov = nesterov;
      compare<T>([&](const auto& list) { table.sgd(list, s, context); },
                 [&](Cell& c) {
                   const double g = begin(c), v = momentum * c.s[0] + g;
                   if (momentum != 0) c.s[0] = v;
                   c.p -= rate * (momentum == 0 ? g : nesterov ? g + momentum * v : v);
                 },
                 16);
    }
  dc::AdagradStep<T> ada{};
  common(ada);
  ada.epsilon = static_cast<T>(0.0009765625);
  compare<T>([&](const auto& list) { table.adagrad(list, ada, context); },
             [&](Cell& c) {
               const double g = begin(c);
               c.s[0] += g * g;
               c.p -= rate * g / (std::sqrt(c.s[0]) + 0.0009765625);
             },
             16);
  for (bool centred : {false, true})
    for (double momentum : {0.0, 0.875}) {
      dc::RmspropStep<T> s{};
      common(s);
      s.decay = T(0.75), s.epsilon = T(0.125), s.centred = centred, s.momentum = static_cast<T>(momentum);
      compare<T>([&](const auto& list) { table.rmsprop(list, s, context); },
                 [&](Cell& c) {
                   const double g = begin(c);
                   c.s[0] = 0.75 * c.s[0] + 0.25 * g * g;
                   if (centred) c.s[1] = 0.75 * c.s[1] + 0.25 * g;
                   const double d = g / (std::sqrt(c.s[0] - c.s[1] * c.s[1]) + 0.125);
                   if (momentum != 0) c.s[2] = momentum * c.s[2] + d;
                   c.p -= rate * (momentum != 0 ? c.s[2] : d);
                 },
                 64);
    }
  dc::AdadeltaStep<T> delta{};
  common(delta);
  delta.decay = T(0.75), delta.epsilon = T(0.0009765625);
  compare<T>([&](const auto& list) { table.adadelta(list, delta, context); },
             [&](Cell& c) {
               const double g = begin(c);
               c.s[0] = 0.75 * c.s[0] + 0.25 * g * g;
               const double d = g * std::sqrt(c.s[1] + 0.0009765625) / std::sqrt(c.s[0] + 0.0009765625);
               c.s[1] = 0.75 * c.s[1] + 0.25 * d * d;
               c.p -= rate * d;
             },
             32);
  for (bool amsgrad : {false, true})
    for (bool adaptive : {false, true})
      for (double rate_g : {0.0, 0.125}) {
        dc::AdamStep<T> s{};
        common(s);
        s.beta1 = T(0.875), s.beta2 = T(0.96875), s.epsilon = T(0.0009765625);
        s.rate_g = static_cast<T>(rate_g), s.root_scale = T(1.5), s.amsgrad = amsgrad, s.adaptive = adaptive;
        compare<T>([&](const auto& list) { table.adam(list, s, context); },
                   [&](Cell& c) {
                     const double g = begin(c);
                     c.s[0] = 0.875 * c.s[0] + 0.125 * g;
                     c.s[1] = 0.96875 * c.s[1] + 0.03125 * g * g;
                     if (amsgrad && adaptive) c.s[2] = std::fmax(c.s[2], c.s[1]);
                     const double v = amsgrad ? c.s[2] : c.s[1];
                     const double d = adaptive ? std::sqrt(v) * 1.5 + 0.0009765625 : 1.0;
                     c.p -= (rate * c.s[0] + rate_g * g) / d;
                   },
                   64);
      }
  dc::LionStep<T> lion{};
  lion.rate = T(0.0625), lion.beta1 = T(0.875), lion.beta2 = T(0.96875);
  compare<T>([&](const auto& list) { table.lion(list, lion, context); },
             [&](Cell& c) {
               const double d = 0.875 * c.s[0] + 0.125 * c.g;
               c.p -= rate * (d > 0 ? 1 : d < 0 ? -1 : 0);
               c.s[0] = 0.96875 * c.s[0] + 0.03125 * c.g;
             },
             16);
  compare<T>([&](const auto& list) { table.scale(list, T(0.75), context); }, [&](Cell& c) { c.p *= 0.75; }, 4);
  compare<T>([&](const auto& list) { table.average(list, T(0.75), context); },
             [&](Cell& c) { c.s[0] = 0.75 * c.s[0] + 0.25 * c.p; }, 8);

  Lists<T> lists;
  std::vector<double> squares(lists.size.size());
  std::vector<uint8_t> finite(lists.size.size());
  table.squared_norms(lists.list, squares.data(), context);
  table.all_finite(lists.list, finite.data(), context);
  for (size_t t = 0; t < squares.size(); ++t) {
    double sum = 0;
    for (int64_t k = 0; k < lists.size[t]; ++k) sum += std::pow(lists.grad[t][k], 2);
    CHECK(close<T>(static_cast<T>(squares[t]), sum, 0, 64));
    CHECK(finite[t] == 1);
  }
  lists.grad[4][32] = std::numeric_limits<T>::quiet_NaN();
  lists.grad[6][20000] = static_cast<T>(-INFINITY);
  table.all_finite(lists.list, finite.data(), context);
  for (size_t t = 0; t < squares.size(); ++t) CHECK(finite[t] == (t != 4 && t != 6));

  Numbers numbers(6);
  for (int64_t outer : {1, 3, 100})
    for (int64_t units : {1, 5, 33, 300})
      for (int64_t inner : {1, 2, 19}) {
        const Ringed<T> start = numbers.array<T>(outer * units * inner);
        Ringed<T> w = start;
        const double limit = 0.5 * std::sqrt(static_cast<double>(outer * inner));
        table.max_norm(outer, units, inner, static_cast<T>(limit), w.data(), context);
        for (int64_t u = 0; u < units; ++u) {
          double sum = 0;
          for (int64_t i = 0; i < outer; ++i)
            for (int64_t k = 0; k < inner; ++k) sum += std::pow(start[(i * units + u) * inner + k], 2);
          const double factor = std::sqrt(sum) > limit ? limit / std::sqrt(sum) : 1.0;
          for (int64_t i = 0; i < outer; ++i)
            for (int64_t k = 0; k < inner; ++k) {
              const int64_t at = (i * units + u) * inner + k;
              CHECK(close<T>(w[at], start[at] * factor, 0.1, 64));
            }
        }
      }
}

}  // namespace

int main() {
  FOR_TABLES(optim, check);
  return test::finish("optim");
}
