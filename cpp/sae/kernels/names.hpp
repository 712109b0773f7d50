// SPDX-License-Identifier: BSD-3-Clause
// What units make of their pre-activations, what compares values, and how parameters move, by name.
// To add one: a word here and its struct in activations.inl, losses.inl or rules.inl; of a loss
// also its class in sae/losses/, of a rule its numbers at each step, in sae/optimizers/.
#pragma once

#include "sae/base/enum.hpp"

namespace sae {

#define SAE_ACTIVATIONS(X)   \
    X(linear, Linear)        \
    X(relu, Relu)            \
    X(leaky_relu, LeakyRelu) \
    X(elu, Elu)              \
    X(selu, Selu)            \
    X(sigmoid, Sigmoid)      \
    X(tanh, Tanh)            \
    X(softplus, Softplus)    \
    X(top_k, TopK)
SAE_ENUM(Activation, SAE_ACTIVATIONS)

#define SAE_VALUE_LOSSES(X)                     \
    X(squared_error, SquaredError)              \
    X(binary_cross_entropy, BinaryCrossEntropy) \
    X(huber, Huber)                             \
    X(absolute_error, AbsoluteError)            \
    X(poisson, Poisson)
SAE_ENUM(ValueLoss, SAE_VALUE_LOSSES)

// What a mean that a loss takes the logarithm of is at least, in float32 too.
inline constexpr double kSmallestMean = 1e-30;

#define SAE_RULES(X) \
    X(adam, Adam)    \
    X(adamw, AdamW)  \
    X(sgd, Sgd)      \
    X(rmsprop, RmsProp)
SAE_ENUM(Rule, SAE_RULES)

}  // namespace sae
