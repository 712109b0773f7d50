// SPDX-License-Identifier: BSD-3-Clause
#include "sae/optimizers/optimizer.hpp"

#include "sae/optimizers/adam.hpp"
#include "sae/optimizers/sgd.hpp"

namespace sae {

std::unique_ptr<Optimizer> make_optimizer(Rule rule, const OptimizerOptions& options) {
    switch (rule) {
#define SAE_CASE(name, Struct) \
    case Rule::name:           \
        return std::make_unique<Struct##Optimizer>(options);
        SAE_RULES(SAE_CASE)
#undef SAE_CASE
    }
    return nullptr;
}

}  // namespace sae
