// SPDX-License-Identifier: BSD-3-Clause
// Samples as the kernels read them, wherever they lie: as a matrix, or as the non-zeros of each.
#pragma once

#include <type_traits>

#include "sae/base/parallel.hpp"
#include "sae/base/view.hpp"
#include "sae/kernels/kernels.hpp"

namespace sae {

template <class T>
struct Rows {
    Rows() = default;
    Rows(View<T> matrix) : dense(matrix) {}
    Rows(PackedRows<T> nonzeros, Index* starts, double share)
        : packed(nonzeros), start(starts), density(share) {}

    View<T> dense;           // (n, n_features), its rows padded; empty if sparse
    PackedRows<T> packed{};  // else
    Index* start = nullptr;  // (n): where each sample begins in `packed`
    double density = 1;      // share of non-zeros, about

    bool sparse() const { return start != nullptr; }

    // Some of them.
    Rows part(Range rows) const {
        Rows some = *this;
        if (sparse()) {
            some.start += rows.begin;
        } else {
            some.dense = dense.part(rows);
        }
        return some;
    }

    // f(column, value) for each non-zero of a sparse row, in order of columns.
    template <class F>
    void for_each_nonzero(Index row, const F& f) const {
        with_packed(packed, [&](const auto* columns, auto values) {
            using Column = std::decay_t<decltype(*columns)>;
            for (Index at = start[row]; columns[at] != kNoColumn<Column>; ++at) {
                f(static_cast<Index>(columns[at]), values[at]);
            }
        });
    }
};

}  // namespace sae
