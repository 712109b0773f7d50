// SPDX-License-Identifier: BSD-3-Clause
// The sum of (x - a)^2; of a sparse x, delta is 2 a, and -2 x at its non-zeros.
#pragma once

#include "sae/losses/loss.hpp"

namespace sae {

template <class T>
class SquaredError : public Loss<T> {
   public:
    Target target() const override { return Target::values; }
    bool reads_sparse() const override { return true; }
    bool expands() const override { return true; }

    double value(Index n, T* a, const Batch<T>& batch, Index row) const override {
        return this->k().squared_error(n, a, batch.target.dense.row(row));
    }

    void delta(Index n, const T* a, const Batch<T>& batch, Index row, T* delta) const override {
        const bool sparse = batch.target.sparse();
        this->k().squared_error_delta(n, a, sparse ? nullptr : batch.target.dense.row(row), delta);
        if (!sparse) return;
        batch.target.for_each_nonzero(row, [&](Index j, T x) { delta[j] -= 2 * x; });
    }
};

}  // namespace sae
