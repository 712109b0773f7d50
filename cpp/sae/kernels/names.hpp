// SPDX-License-Identifier: BSD-3-Clause
// What units make of their pre-activations, and how parameters move, by name. To add one: a word
// here and its struct in activations.inl or rules.inl; of a rule also its numbers at each step, in
// sae/optimizers/.
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
    X(softplus, Softplus)
SAE_ENUM(Activation, SAE_ACTIVATIONS)

#define SAE_RULES(X) \
    X(adam, Adam)    \
    X(adamw, AdamW)  \
    X(sgd, Sgd)      \
    X(rmsprop, RmsProp)
SAE_ENUM(Rule, SAE_RULES)

}  // namespace sae
