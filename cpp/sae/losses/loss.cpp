// SPDX-License-Identifier: BSD-3-Clause
#include "sae/losses/loss.hpp"

#include "sae/losses/cross_entropy.hpp"
#include "sae/losses/squared_error.hpp"

namespace sae {

template <class T>
const Loss<T>& find_loss(LossName name) {
    static const SquaredError<T> squared_error;
    static const CrossEntropy<T, false> cross_entropy;
    static const CrossEntropy<T, true> clipped_cross_entropy;
    switch (name) {
#define SAE_CASE(name)   \
    case LossName::name: \
        return name;
        SAE_LOSSES(SAE_CASE)
#undef SAE_CASE
    }
    return squared_error;
}

template const Loss<float>& find_loss(LossName);
template const Loss<double>& find_loss(LossName);

}  // namespace sae
