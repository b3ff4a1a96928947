// Softmax and cross-entropy kernels against their formulas in double.
#include "kernels/loss.h"

#include "kernel_test.h"

DECLARE_TABLES(LossKernels, loss)

using test::close;
using test::Numbers;
using test::Ringed;

namespace {

template <class T>
double lse_of(const Ringed<T>& x, int64_t row, int64_t c) {
  double top = -INFINITY, sum = 0;
  for (int64_t k = 0; k < c; ++k) top = std::fmax(top, x[row * c + k]);
  for (int64_t k = 0; k < c; ++k) sum += std::exp(x[row * c + k] - top);
  return top + std::log(sum);
}

template <class T>
void check_softmax(int64_t rows, int64_t c, const Ringed<T>& x, const Ringed<T>& g, const dc::LossKernels<T>& table) {
  Ringed<T> y(rows * c), z(rows * c), gy(rows * c), gz(rows * c);
  table.softmax(rows, c, x.data(), y.data(), test::context());
  table.log_softmax(rows, c, x.data(), z.data(), test::context());
  table.softmax_grad(rows, c, y.data(), g.data(), gy.data(), test::context());
  table.log_softmax_grad(rows, c, z.data(), g.data(), gz.data(), test::context());
  for (int64_t i = 0; i < rows; ++i) {
    const double lse = lse_of(x, i, c);
    double dot = 0, sum = 0;
    for (int64_t k = 0; k < c; ++k) dot += g[i * c + k] * std::exp(x[i * c + k] - lse), sum += g[i * c + k];
    for (int64_t k = 0; k < c; ++k) {
      const int64_t at = i * c + k;
      const double p = std::exp(x[at] - lse);
      CHECK(close<T>(y[at], p, 1e-3, 64));
      CHECK(close<T>(z[at], x[at] - lse, 1, 16));
      CHECK(close<T>(gy[at], p * (g[at] - dot), 1, 16));
      CHECK(close<T>(gz[at], g[at] - p * sum, 4, 16));
    }
  }
}

template <class T>
void check_labels(int64_t rows, int64_t c, const Ringed<T>& x, const Ringed<T>& g, const dc::LossKernels<T>& table) {
  Numbers numbers(8);
  Ringed<int64_t> labels(rows);
  for (int64_t i = 0; i < rows; ++i)
    labels[i] = i % 5 == 3 ? int64_t{-100} : static_cast<int64_t>(numbers.bits() % static_cast<uint32_t>(c));
  Ringed<T> weights = numbers.array<T>(c);
  for (int64_t k = 0; k < c; ++k) weights[k] += T(1.25);
  for (bool weighted : {false, true})
    for (T smoothing : {T(0), T(0.125)})
      for (int64_t g_step : {0, 1}) {
        const dc::CrossEntropyShape<T> s{rows, c, smoothing, -100};
        const T* w = weighted ? weights.data() : nullptr;
        std::vector<Ringed<T>> results;
        for (int threads : {1, 2}) {
          dc::set_thread_count(threads);
          Ringed<T> loss(rows), lse(rows), gx(rows * c);
          table.cross_entropy(s, x.data(), labels.data(), w, loss.data(), lse.data(), test::context());
          table.cross_entropy_grad(s, x.data(), labels.data(), w, lse.data(), g.data(), g_step, T(0.5), gx.data(),
                                   test::context());
          results.push_back(loss), results.push_back(gx);
        }
        CHECK(results[0].same_bits(results[2]) && results[1].same_bits(results[3]));
        for (int64_t i = 0; i < rows; ++i) {
          const double lse = lse_of(x, i, c);
          const bool ignored = labels[i] == -100;
          double loss = 0;
          for (int64_t k = 0; k < c && !ignored; ++k)
            loss += ((k == labels[i] ? 1.0 - smoothing : 0.0) + smoothing / static_cast<double>(c)) *
                    (weighted ? weights[k] : 1.0) * (lse - x[i * c + k]);
          CHECK(close<T>(results[0][i], loss, 8, 16));
          for (int64_t k = 0; k < c; ++k) {
            double d = 0;
            for (int64_t j = 0; j < c && !ignored; ++j)
              d += ((j == labels[i] ? 1.0 - smoothing : 0.0) + smoothing / static_cast<double>(c)) *
                   (weighted ? weights[j] : 1.0) * (std::exp(x[i * c + k] - lse) - (j == k ? 1.0 : 0.0));
            CHECK(close<T>(results[1][i * c + k], 0.5 * g[i * g_step] * d, 2, 16));
          }
        }
      }
}

template <class T>
void check_soft(int64_t rows, int64_t c, const Ringed<T>& x, const Ringed<T>& g, const dc::LossKernels<T>& table) {
  Numbers numbers(21);
  Ringed<T> t = numbers.array<T>(rows * c), weights = numbers.array<T>(c);
  for (int64_t i = 0; i < t.size(); ++i) t[i] = i % 4 ? std::fabs(t[i]) : T(0);
  for (int64_t k = 0; k < c; ++k) weights[k] += T(1.25);
  for (bool weighted : {false, true}) {
    const T* w = weighted ? weights.data() : nullptr;
    Ringed<T> loss(rows), lse(rows), gx(rows * c), gt(rows * c);
    table.soft_cross_entropy(rows, c, x.data(), t.data(), w, loss.data(), lse.data(), test::context());
    table.soft_cross_entropy_grad(rows, c, x.data(), t.data(), w, lse.data(), g.data(), 1, T(1), gx.data(), gt.data(),
                                  test::context());
    Ringed<T> bce(rows * c), bx(rows * c), bt(rows * c);
    table.bce_logits(rows, c, x.data(), t.data(), w, bce.data(), test::context());
    table.bce_logits_grad(rows, c, x.data(), t.data(), w, x.data(), 1, bx.data(), bt.data(), test::context());
    for (int64_t i = 0; i < rows; ++i) {
      const double e = lse_of(x, i, c);
      double total = 0, mass = 0;
      for (int64_t k = 0; k < c; ++k) {
        const double m = t[i * c + k] * (weighted ? weights[k] : 1.0);
        total += m * (e - x[i * c + k]), mass += m;
      }
      CHECK(close<T>(loss[i], total, static_cast<double>(c), 16));
      for (int64_t k = 0; k < c; ++k) {
        const int64_t at = i * c + k;
        const double v = weighted ? weights[k] : 1.0, xv = x[at], tv = t[at];
        CHECK(close<T>(gx[at], g[i] * (std::exp(xv - e) * mass - v * tv), 4, 32));
        CHECK(close<T>(gt[at], g[i] * v * (e - xv), 8, 16));
        const double soft = std::log1p(std::exp(-std::fabs(xv))) + std::fmax(-xv, 0.0);
        const double rest = 1 / (1 + std::exp(xv));
        CHECK(close<T>(bce[at], (1 - tv) * xv + (1 + (v - 1) * tv) * soft, 8, 16));
        CHECK(close<T>(bx[at], xv * ((1 - tv) - (1 + (v - 1) * tv) * rest), 8, 16));
        CHECK(close<T>(bt[at], xv * ((v - 1) * soft - xv), 64, 16));
      }
    }
  }
}

template <class T>
void check(const dc::LossKernels<T>& table) {
  Numbers numbers(4);
  for (int64_t rows : {0, 1, 5, 16, 33, 700})
    for (int64_t c : {1, 2, 7, 10, 16, 17, 32, 33, 100, 333}) {
      if (rows == 700 && c > 33) continue;
      Ringed<T> x = numbers.array<T>(rows * c), g = numbers.array<T>(rows * c + 1);
      for (int64_t i = 0; i < x.size(); ++i) x[i] *= T(6);
      check_softmax(rows, c, x, g, table);
      check_labels(rows, c, x, g, table);
      check_soft(rows, c, x, g, table);
    }
  Ringed<T> x(40), y(40), huge(2);
  for (int64_t i = 0; i < 40; ++i) x[i] = i < 20 ? T(-1e30) : T(3e30);
  x[19] = T(-1e30) * T(0.5);
  table.softmax(2, 20, x.data(), y.data(), test::context());
  CHECK(y[19] == T(1) && y[0] == T(0) && close<T>(y[25], 0.05, 1, 4));
}

}  // namespace

int main() {
  FOR_TABLES(loss, check);
  return test::finish("loss");
}
