// SPDX-License-Identifier: BSD-3-Clause
#include "sae/layers/strategy.hpp"

#include <algorithm>

namespace sae {

template <class T>
void Strategy<T>::update_bias(View<const T> delta, LayerUpdate<T> update) const {
    const T one = 1;  // every row of delta counts once: a product with a row of ones
    update.step.weight_decay = 0;
    kernels_.dense_update(1, layer_.n_out, delta.rows, &one, 0, 0, delta.data, delta.ld,
                          update.step, update.rows);
}

template <class T>
std::unique_ptr<Strategy<T>> choose_strategy(const Dense<T>& layer, bool first) {
    // From this size on BLAS, which packs its operands; up to there our tiles are as fast or faster
    // (benchmarks/test_kernels.py).
    constexpr Index kWide = 256;
    if (std::min(layer.n_in, layer.n_out) >= kWide) return make_blas(layer);
    return make_narrow(layer, !first);
}

template class Strategy<float>;
template class Strategy<double>;
template std::unique_ptr<Strategy<float>> choose_strategy(const Dense<float>&, bool);
template std::unique_ptr<Strategy<double>> choose_strategy(const Dense<double>&, bool);

}  // namespace sae
