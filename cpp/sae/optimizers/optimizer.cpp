// SPDX-License-Identifier: BSD-3-Clause
#include "sae/optimizers/optimizer.hpp"

namespace sae {

#define SAE_DECLARE(name, Struct) \
    template <>                   \
    std::unique_ptr<Optimizer> make<Rule::name>(const OptimizerOptions&);
SAE_RULES(SAE_DECLARE)
#undef SAE_DECLARE

std::unique_ptr<Optimizer> make_optimizer(Rule rule, const OptimizerOptions& options) {
    switch (rule) {
#define SAE_CASE(name, Struct) \
    case Rule::name:           \
        return make<Rule::name>(options);
        SAE_RULES(SAE_CASE)
#undef SAE_CASE
    }
    return nullptr;
}

}  // namespace sae
