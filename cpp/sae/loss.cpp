// SPDX-License-Identifier: BSD-3-Clause
#include "sae/loss.hpp"

#include <algorithm>
#include <cmath>

namespace sae {

namespace {

constexpr double kClip = 1e-10;

// p = exp(z - max z); returns its sum, in order, and the largest z.
template <class T, class Sum>
T shifted_exponentials(const Kernels<T>& kernels, Index n, const T* z, T* p, Sum& sum) {
    const T largest = *std::max_element(z, z + n);
    kernels.exp_shifted(n, z, largest, p);
    for (Index j = 0; j < n; ++j) sum += static_cast<Sum>(p[j]);
    return largest;
}

}  // namespace

template <class T>
void softmax_row(const Kernels<T>& kernels, Index n, const T* z, T* p) {
    T sum = 0;
    shifted_exponentials(kernels, n, z, p, sum);
    for (Index j = 0; j < n; ++j) p[j] /= sum;
}

template <class T>
double classification_loss(const Kernels<T>& kernels, Loss loss, Index n, T* z, Index label) {
    const T right = z[label];
    double sum = 0;
    const T largest = shifted_exponentials(kernels, n, z, z, sum);
    const double log_p = static_cast<double>(right) - static_cast<double>(largest) - std::log(sum);
    return loss == Loss::article ? -std::max(log_p, std::log(kClip)) : -log_p;
}

template <class T>
void classification_delta(const Kernels<T>& kernels, Loss loss, Index n, const T* z, Index label,
                          T* delta) {
    softmax_row(kernels, n, z, delta);
    if (loss == Loss::article && delta[label] < static_cast<T>(kClip)) {
        std::fill_n(delta, n, T(0));
        return;
    }
    delta[label] -= T(1);
}

#define SAE_INSTANTIATE(T)                                                          \
    template void softmax_row(const Kernels<T>&, Index, const T*, T*);              \
    template double classification_loss(const Kernels<T>&, Loss, Index, T*, Index); \
    template void classification_delta(const Kernels<T>&, Loss, Index, const T*, Index, T*);
SAE_INSTANTIATE(float)
SAE_INSTANTIATE(double)
#undef SAE_INSTANTIATE

}  // namespace sae
