// SPDX-License-Identifier: BSD-3-Clause
#include "sae/loss.hpp"

#include <algorithm>
#include <cmath>

namespace sae {

namespace {

constexpr double kClip = 1e-10;

}  // namespace

template <class T>
void softmax_row(Index n, const T* z, T* p) {
    const T largest = *std::max_element(z, z + n);
    T sum = 0;
    for (Index j = 0; j < n; ++j) {
        p[j] = std::exp(z[j] - largest);
        sum += p[j];
    }
    for (Index j = 0; j < n; ++j) p[j] /= sum;
}

template <class T>
double classification_loss(Loss loss, Index n, const T* z, Index label) {
    const double largest = static_cast<double>(*std::max_element(z, z + n));
    double sum = 0;
    for (Index j = 0; j < n; ++j) sum += std::exp(static_cast<double>(z[j]) - largest);
    const double log_p = static_cast<double>(z[label]) - largest - std::log(sum);
    return loss == Loss::article ? -std::max(log_p, std::log(kClip)) : -log_p;
}

template <class T>
void classification_delta(Loss loss, Index n, const T* z, Index label, T* delta) {
    softmax_row(n, z, delta);
    if (loss == Loss::article && delta[label] < static_cast<T>(kClip)) {
        std::fill_n(delta, n, T(0));
        return;
    }
    delta[label] -= T(1);
}

#define SAE_INSTANTIATE(T)                                             \
    template void softmax_row(Index, const T*, T*);                    \
    template double classification_loss(Loss, Index, const T*, Index); \
    template void classification_delta(Loss, Index, const T*, Index, T*);
SAE_INSTANTIATE(float)
SAE_INSTANTIATE(double)
#undef SAE_INSTANTIATE

}  // namespace sae
