// SPDX-License-Identifier: BSD-3-Clause
// Softmax over a row of logits, and the class that they say.
#pragma once

#include <cmath>

#include "sae/kernels/kernels.hpp"

namespace sae {

// p = exp(z - max z) for n logits, both padded, which may be the same array; returns the largest z
// and adds the p, in their order, to `sum`.
template <class T, class Sum>
T shifted_exponentials(const Kernels<T>& kernels, Index n, const T* z, T* p, Sum& sum) {
    T largest = z[0];
    for (Index j = 1; j < n; ++j) largest = largest < z[j] ? z[j] : largest;
    kernels.exp_shifted(n, z, largest, p);
    for (Index j = 0; j < n; ++j) sum += static_cast<Sum>(p[j]);
    return largest;
}

// p = softmax(z); they may be the same array.
template <class T>
void softmax_row(const Kernels<T>& kernels, Index n, const T* z, T* p) {
    T sum = 0;
    shifted_exponentials(kernels, n, z, p, sum);
    for (Index j = 0; j < n; ++j) p[j] /= sum;
}

// The place of a row's largest element, the first of equals; -1 if that is infinite or one is NaN.
template <class T>
Index largest(View<const T> a, Index row) {
    const T* z = a.row(row);
    Index place = 0;
    for (Index j = 0; j < a.cols; ++j) {
        if (std::isnan(z[j])) return -1;
        if (z[place] < z[j]) place = j;
    }
    return std::isfinite(z[place]) ? place : -1;
}

}  // namespace sae
