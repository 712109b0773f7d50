// SPDX-License-Identifier: BSD-3-Clause
// What training minimizes, row by row: the loss of a row in float64, and its gradient with respect
// to the last layer's output. A batch's loss is the sum over its rows, never the mean.
#pragma once

#include "sae/kernels/kernels.hpp"
#include "sae/view.hpp"

namespace sae {

enum class Loss {
    squared_error,  // sum of (x - a)^2, the target being the input
    cross_entropy,  // -log softmax(z)[label], by log-sum-exp: finite for any finite z
    article,        // -log clip(softmax(z)[label], 1e-10, 1); below the clip there is no gradient
};

// Rows of n elements, all padded.

// p = softmax(z); they may be the same array.
template <class T>
void softmax_row(const Kernels<T>& kernels, Index n, const T* z, T* p);

// Loss of one row of logits, which are lost.
template <class T>
double classification_loss(const Kernels<T>& kernels, Loss loss, Index n, T* z, Index label);

// delta = d loss / d z: softmax(z) - onehot(label), or zero where the article's clip cuts.
template <class T>
void classification_delta(const Kernels<T>& kernels, Loss loss, Index n, const T* z, Index label,
                          T* delta);

}  // namespace sae
