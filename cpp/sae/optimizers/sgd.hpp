// SPDX-License-Identifier: BSD-3-Clause
// Gradient descent with momentum as PyTorch has it (Sutskever et al. 2013, the rate outside of v):
//   v = momentum v + dw,  w -= rate v;  Nesterov's: w -= rate (dw + momentum v)
#pragma once

#include "sae/optimizers/optimizer.hpp"

namespace sae {

class SgdOptimizer : public Optimizer {
   public:
    explicit SgdOptimizer(const OptimizerOptions& options)
        : momentum_(options.at("momentum")), nesterov_(options.at("nesterov") != 0) {}

    Rule rule() const override { return Rule::sgd; }
    Index n_slots() const override { return 1; }

    void coefficients(Index, double learning_rate, NormalRange, double* numbers) const override {
        numbers[0] = momentum_;
        numbers[1] = nesterov_ ? learning_rate : 0;
        numbers[2] = nesterov_ ? learning_rate * momentum_ : learning_rate;
    }

   private:
    double momentum_;
    bool nesterov_;
};

}  // namespace sae
