// SPDX-License-Identifier: BSD-3-Clause
// Update rules by name. To add one: a word here, the struct of it in rules.inl, and what its
// numbers are at each step in sae/optimizers/.
#pragma once

namespace sae {

// name, struct
#define SAE_RULES(X) \
    X(adam, Adam)    \
    X(sgd, Sgd)

enum class Rule {
#define SAE_NAME(name, Struct) name,
    SAE_RULES(SAE_NAME)
#undef SAE_NAME
};

}  // namespace sae
