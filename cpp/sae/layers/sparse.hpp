// SPDX-License-Identifier: BSD-3-Clause
// The non-zeros of the input alone: by sample for the product, by column for the gradient. The rows
// of w that a product gathers do not fit the nearest cache, so it is cut into blocks of columns
// that do, and all samples go through one block before the next. Every sum stays in its order.
#pragma once

#include <algorithm>
#include <stdexcept>

#include "sae/layers/strategy.hpp"

namespace sae {

// Bytes of a block: what the smallest first-level cache in use holds.
inline constexpr Index kBlockBytes = 32 * 1024;

template <class T>
class Sparse : public Strategy<T> {
    using Strategy<T>::layer;
    using Strategy<T>::k;

   public:
    using Strategy<T>::Strategy;

    Cut cut() const override { return Cut::rows; }
    Index task_rows() const override { return kFewestColumns; }

    void reserve(Workspace<T>& workspace, const Rows<T>& x, Index n, bool train) const override {
        workspace.next = Buffer<Index>(n);
        if (train) workspace.columns = {n, layer.n_in, x.density};
    }

    void forward(const Rows<T>& x, Activation f, View<T> a, Range,
                 Workspace<T>& workspace) const override {
        const Index n_in = layer.n_in;
        const Index row_bytes = layer.w.ld * static_cast<Index>(sizeof(T));
        const Index fit = std::max<Index>(kBlockBytes / row_bytes, 1);
        const bool pays = fit >= columns_of(kBlockEntries, x.density, n_in);
        const Index n_blocks = pays ? (n_in + fit - 1) / fit : 1;
        Index* const next = workspace.next.data();
        std::copy_n(x.start, a.rows, next);
        for (Index block = 0; block < n_blocks; ++block) {
            const auto limit = static_cast<std::uint32_t>(n_in * (block + 1) / n_blocks);
            const T* b = block + 1 == n_blocks ? layer.b : nullptr;
            k.sparse_forward({x.packed, next, limit}, layer.w, block > 0, b, f, a);
        }
    }

    void backward(View<const T>, Activation, View<const T>, View<T>, Range) const override {
        throw std::logic_error("there is nothing below a sparse input");
    }

    // A row's gradient needs the non-zeros of its column, in the order of the batch.
    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>& workspace) override {
        SparseColumns<T>& columns = workspace.columns;
        columns.choose(x, delta.rows, stretches.front().begin);
        for (Index first = 0, last; first < stretches.count(); first = last) {
            const Index begin = stretches[first].begin;
            for (last = first + 1; last < stretches.count(); ++last) {
                if (stretches[last].end - begin > columns.max_columns()) break;
            }
            columns.sort({begin, stretches[last - 1].end});
            for (Index i = first; i < last; ++i) {
                const Range rows = stretches[i];
                k.sparse_update(rows.count(), columns.from(rows.begin), delta, update.step,
                                update.from(rows.begin));
            }
        }
    }
};

}  // namespace sae
