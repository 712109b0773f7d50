// SPDX-License-Identifier: BSD-3-Clause
#include "sae/losses/loss.hpp"

#include <stdexcept>

namespace sae {

#define SAE_DECLARE(name)                             \
    template <>                                       \
    const Loss<float>& loss<float, LossName::name>(); \
    template <>                                       \
    const Loss<double>& loss<double, LossName::name>();
SAE_LOSSES(SAE_DECLARE)
#undef SAE_DECLARE

template <class T>
const Loss<T>& find_loss(LossName which) {
    switch (which) {
#define SAE_CASE(name)   \
    case LossName::name: \
        return loss<T, LossName::name>();
        SAE_LOSSES(SAE_CASE)
#undef SAE_CASE
    }
    throw std::invalid_argument("no such loss");
}

template const Loss<float>& find_loss(LossName);
template const Loss<double>& find_loss(LossName);

}  // namespace sae
