// SPDX-License-Identifier: BSD-3-Clause
#include "sae/layers/strategy.hpp"

#include "sae/layers/blas.hpp"
#include "sae/layers/narrow.hpp"
#include "sae/layers/similarity.hpp"
#include "sae/layers/sparse.hpp"
#include "sae/layers/wide.hpp"

namespace sae {

template <class T>
void Strategy<T>::update_bias(View<const T> delta, const LayerUpdate<T>& update) const {
    const T one = 1;  // every row of delta counts once: a product with a row of ones
    k.dense_update({&one, delta.rows, 1, 0}, delta, update.step.of_biases(), update.rows);
}

template <class T>
void Strategy<T>::bias_gradient(View<const T> delta, T* db) const {
    const T one = 1;
    k.dense_gradient({&one, delta.rows, 1, 0}, delta, {db, 1, layer.n_out, layer.w.ld});
}

template <class T>
std::unique_ptr<Strategy<T>> choose_strategy(const Dense<T>& layer, bool first, View<T> w_t) {
    // From this size on a layer is cut by columns, up to there by rows: both take the same tiles,
    // and where between 128 and 512 the border is makes no difference (docs/performance.md).
    constexpr Index kWide = 256;
    if (layer.centers) return std::make_unique<Similarity<T>>(layer);
    if (std::min(layer.n_in, layer.n_out) >= kWide) {
        // BLAS is ahead in float64, and where our kernels may not use the processor's vectors.
        if (sizeof(T) == 8 || active_isa() == Isa::baseline) {
            return std::make_unique<Blas<T>>(layer);
        }
        return std::make_unique<Wide<T>>(layer, !first);
    }
    return std::make_unique<Narrow<T>>(layer, !first, w_t);
}

template <class T>
std::unique_ptr<Strategy<T>> sparse_strategy(const Dense<T>& layer) {
    return std::make_unique<Sparse<T>>(layer);
}

#define SAE_INSTANTIATE(T)                                                                 \
    template class Strategy<T>;                                                            \
    template std::unique_ptr<Strategy<T>> choose_strategy(const Dense<T>&, bool, View<T>); \
    template std::unique_ptr<Strategy<T>> sparse_strategy(const Dense<T>&);
SAE_INSTANTIATE(float)
SAE_INSTANTIATE(double)
#undef SAE_INSTANTIATE

}  // namespace sae
