// SPDX-License-Identifier: BSD-3-Clause
// What units make of their pre-activations, by name. To add one: a word here, and the struct of it
// in activations.inl.
#pragma once

namespace sae {

// name, struct
#define SAE_ACTIVATIONS(X) \
    X(linear, Linear)      \
    X(relu, Relu)          \
    X(tanh, Tanh)

enum class Activation {
#define SAE_NAME(name, Struct) name,
    SAE_ACTIVATIONS(SAE_NAME)
#undef SAE_NAME
};

}  // namespace sae
