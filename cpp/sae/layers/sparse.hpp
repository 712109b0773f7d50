// SPDX-License-Identifier: BSD-3-Clause
// The non-zeros of what the layer reads alone: by sample for the product, by column for the
// gradient. The rows of w that a product gathers do not fit the nearest cache, so it is cut into
// blocks of columns that do, and all samples go through one block before the next. Every sum stays
// in its order.
#pragma once

#include <algorithm>

#include "sae/layers/strategy.hpp"

namespace sae {

// Bytes of a block: a little more than the smallest first-level cache in use, since another visit
// to all samples costs more than that (by hand, docs/performance.md).
inline constexpr Index kBlockBytes = 48 * 1024;

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
        if (train) workspace.columns.reserve(x, n, layer.n_in);
    }

    void forward(const Rows<T>& x, Activation f, View<T> a, Range,
                 Workspace<T>& workspace) const override {
        const Index n_in = layer.n_in;
        const Index row_bytes = layer.w.ld * static_cast<Index>(sizeof(T));
        // of bytes 64 columns at a time
        const Index grain = x.packed.is_bytes() ? 64 : 1;
        const Index grains = (n_in + grain - 1) / grain;
        const Index fit = std::max<Index>(kBlockBytes / row_bytes, 1);
        const bool pays = fit >= columns_of(kBlockEntries, x.density, n_in);
        const Index each = std::max<Index>((fit + grain / 2) / grain, 1);
        const Index n_blocks = pays ? (grains + each - 1) / each : 1;
        const auto begin = [&](Index block) {
            return std::min(grains * block / n_blocks * grain, n_in);
        };
        Index* const next = workspace.next.data();
        std::copy_n(x.start, a.rows, next);
        for (Index block = 0; block < n_blocks; ++block) {
            const Range columns{begin(block), begin(block + 1)};
            const T* b = block + 1 == n_blocks ? layer.b : nullptr;
            k.sparse_forward({x.packed, next, columns}, layer.w, block > 0, b, f, a);
        }
    }

    // Below are units that are linear or, most of them, zero and without a derivative.
    void backward(View<const T> delta, Activation, View<const T> a_in, View<T> delta_in, Range,
                  Workspace<T>&) const override {
        for (Index i = 0; i < delta.rows; ++i) {
            for (Index j = 0; j < layer.n_in; ++j) {
                const bool passes = a_in(i, j) != T(0);
                delta_in(i, j) =
                    passes ? static_cast<T>(k.dot(layer.n_out, delta.row(i), layer.w.row(j)))
                           : T(0);
            }
        }
    }

    // A row's gradient needs the non-zeros of its column, in the order of the batch.
    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>& workspace) override {
        for_each_stretch(x, delta.rows, stretches, workspace, [&](Range rows, const auto& entries) {
            k.sparse_update(rows.count(), entries, delta, update.step, update.from(rows.begin));
        });
    }

    void gradient(const Rows<T>& x, View<const T> delta, View<T> dw, const List<Range>& stretches,
                  Workspace<T>& workspace) override {
        for_each_stretch(x, delta.rows, stretches, workspace, [&](Range rows, const auto& entries) {
            k.sparse_gradient(entries, delta, dw.part(rows));
        });
    }

   private:
    // f(rows of w, the non-zeros of their columns of n samples).
    template <class F>
    static void for_each_stretch(const Rows<T>& x, Index n, const List<Range>& stretches,
                                 Workspace<T>& workspace, const F& f) {
        SparseColumns<T>& columns = workspace.columns;
        columns.choose(x, n, stretches.front().begin);
        for (Index first = 0, last; first < stretches.count(); first = last) {
            const Index begin = stretches[first].begin;
            for (last = first + 1; last < stretches.count(); ++last) {
                if (stretches[last].end - begin > columns.max_columns()) break;
            }
            columns.sort({begin, stretches[last - 1].end});
            for (Index i = first; i < last; ++i) {
                f(stretches[i], columns.from(stretches[i].begin));
            }
        }
    }
};

}  // namespace sae
