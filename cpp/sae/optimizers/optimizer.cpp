// SPDX-License-Identifier: BSD-3-Clause
#include "sae/optimizers/optimizer.hpp"

#include <cmath>

namespace sae {

namespace {

// Adam (Kingma and Ba 2015). TensorFlow 1 adds epsilon to the uncorrected sqrt(v), PyTorch to the
// corrected one:
//   m += (1 - beta1) (dw - m),  v += (1 - beta2) (dw^2 - v),  c1 = 1 - beta1^t,  c2 = 1 - beta2^t
//   w -= rate / c1 * m / (sqrt(v / c2) + epsilon),  or  w -= rate sqrt(c2) / c1 * m / (sqrt(v) +
//   epsilon)
Optimizer adam(const OptimizerOptions& options) {
    const double beta1 = options.at("beta1"), beta2 = options.at("beta2");
    const double epsilon = options.at("epsilon");
    const bool corrected = options.at("corrected_epsilon") != 0;
    return {Rule::adam, 2, [=](Index step, double learning_rate, NormalRange range) {
                const auto t = static_cast<double>(step);
                const double correction1 = 1 - std::pow(beta1, t);
                const double correction2 = std::sqrt(1 - std::pow(beta2, t));
                const double size = learning_rate / correction1;
                // of a rate too small or too large, so that an idle weight's 0 / 0 is none
                const auto normal = [&](double x) {
                    return std::clamp(x, range.smallest, range.largest);
                };
                return Coefficients{1 - beta1, 1 - beta2, normal(1 / (size * correction2)),
                                    normal(epsilon / (size * (corrected ? 1 : correction2)))};
            }};
}

// Gradient descent with momentum as PyTorch has it (Sutskever et al. 2013, the rate outside of v):
//   v = momentum v + dw,  w -= rate v;  Nesterov's: w -= rate (dw + momentum v)
Optimizer sgd(const OptimizerOptions& options) {
    const double momentum = options.at("momentum");
    const bool nesterov = options.at("nesterov") != 0;
    return {Rule::sgd, 1, [=](Index, double learning_rate, NormalRange) {
                return Coefficients{momentum, nesterov ? learning_rate : 0,
                                    nesterov ? learning_rate * momentum : learning_rate};
            }};
}

// Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019), in PyTorch's form:
//   w *= 1 - rate weight_decay, then as above
Optimizer adamw(const OptimizerOptions& options) {
    Optimizer optimizer = adam(options);
    optimizer.rule = Rule::adamw;
    optimizer.weight_decay = options.at("weight_decay");
    return optimizer;
}

// RMSprop (Tieleman and Hinton 2012) as PyTorch has it:
//   v = alpha v + (1 - alpha) dw^2,  w -= rate dw / (sqrt(v) + epsilon)
Optimizer rmsprop(const OptimizerOptions& options) {
    const double alpha = options.at("alpha"), epsilon = options.at("epsilon");
    return {Rule::rmsprop, 1, [=](Index, double learning_rate, NormalRange range) {
                return Coefficients{1 - alpha, learning_rate, std::max(epsilon, range.smallest)};
            }};
}

}  // namespace

Optimizer make_optimizer(Rule rule, const OptimizerOptions& options) {
#define SAE_FUNCTION(name, Struct) name,
    constexpr Optimizer (*rules[])(const OptimizerOptions&) = {SAE_RULES(SAE_FUNCTION)};
    return rules[static_cast<int>(rule)](options);
}

}  // namespace sae
