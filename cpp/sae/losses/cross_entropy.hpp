// SPDX-License-Identifier: BSD-3-Clause
// -log softmax(z)[label], by log-sum-exp: finite for any finite z. The clipped form is the
// article's, -log clip(softmax(z)[label], 1e-10, 1): below the clip there is no gradient.
#pragma once

#include <algorithm>
#include <cmath>

#include "sae/layers/softmax.hpp"
#include "sae/losses/loss.hpp"

namespace sae {

template <class T, bool clipped>
class CrossEntropy : public Loss<T> {
    static constexpr double kClip = 1e-10;

   public:
    Target target() const override { return Target::label; }

    double value(Index n, T* z, const Batch<T>& batch, Index row) const override {
        const T right = z[batch.labels[row]];
        double sum = 0;
        const T largest = shifted_exponentials(this->k(), n, z, z, sum);
        const double log_p =
            static_cast<double>(right) - static_cast<double>(largest) - std::log(sum);
        return clipped ? -std::max(log_p, std::log(kClip)) : -log_p;
    }

    // softmax(z) - onehot(label)
    void delta(Index n, const T* z, const Batch<T>& batch, Index row, T* delta) const override {
        const std::int64_t label = batch.labels[row];
        softmax_row(this->k(), n, z, delta);
        if (clipped && delta[label] < static_cast<T>(kClip)) {
            std::fill_n(delta, n, T(0));
        } else {
            delta[label] -= T(1);
        }
    }
};

}  // namespace sae
