// SPDX-License-Identifier: BSD-3-Clause
// Adam (Kingma and Ba 2015). TensorFlow 1 adds epsilon to the uncorrected sqrt(v), PyTorch to the
// corrected one:
//   m += (1 - beta1) (dw - m),  v += (1 - beta2) (dw^2 - v),  c1 = 1 - beta1^t,  c2 = 1 - beta2^t
//   w -= rate / c1 * m / (sqrt(v / c2) + epsilon),  or  w -= rate sqrt(c2) / c1 * m / (sqrt(v) +
//   epsilon)
#pragma once

#include <algorithm>
#include <cmath>

#include "sae/optimizers/optimizer.hpp"

namespace sae {

class AdamOptimizer : public Optimizer {
   public:
    explicit AdamOptimizer(const OptimizerOptions& options)
        : beta1_(options.at("beta1")),
          beta2_(options.at("beta2")),
          epsilon_(options.at("epsilon")),
          corrected_(options.at("corrected_epsilon") != 0) {}

    Rule rule() const override { return Rule::adam; }
    Index n_slots() const override { return 2; }

    void coefficients(Index step, double learning_rate, NormalRange range,
                      double* numbers) const override {
        const auto t = static_cast<double>(step);
        const double correction1 = 1 - std::pow(beta1_, t);
        const double correction2 = std::sqrt(1 - std::pow(beta2_, t));
        const double size = learning_rate / correction1;
        // of a rate too small or too large, so that an idle weight's 0 / 0 is none
        const auto normal = [&](double x) { return std::clamp(x, range.smallest, range.largest); };
        numbers[0] = 1 - beta1_;
        numbers[1] = 1 - beta2_;
        numbers[2] = normal(1 / (size * correction2));
        numbers[3] = normal(epsilon_ / (size * (corrected_ ? 1 : correction2)));
    }

   private:
    double beta1_, beta2_, epsilon_;
    bool corrected_;
};

}  // namespace sae
