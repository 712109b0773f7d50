// SPDX-License-Identifier: BSD-3-Clause
// Our own kernels on layers that no cache of a core holds: work is cut by columns, each thread
// having some of w's for all rows of the batch. Nothing is packed; the way back transposes as much
// of w as one tile needs, and every sum has the bits that it has in a narrow layer.
#pragma once

#include <algorithm>

#include "sae/layers/strategy.hpp"

namespace sae {

template <class T>
class Wide : public Strategy<T> {
    using Strategy<T>::layer;
    using Strategy<T>::k;

    static constexpr Index kGrain = kAlignment / static_cast<Index>(sizeof(T));  // a cache line
    static constexpr Index kTile = 3 * kGrain;  // rows of w that are transposed at a time

   public:
    // A layer that passes nothing back (the first) transposes nothing.
    Wide(const Dense<T>& dense, bool passes_back) : Strategy<T>(dense), passes_back_(passes_back) {}

    Cut cut() const override { return Cut::columns; }
    Index tile() const override { return kGrain; }
    Index task_rows() const override { return 2 * kGrain; }

    void reserve(Workspace<T>& workspace, const Rows<T>&, Index, bool train) const override {
        if (train && passes_back_ && workspace.w_t.rows < layer.n_out) {
            workspace.w_t = Matrix<T>(layer.n_out, kTile);
        }
    }

    void forward(const Rows<T>& x, Activation f, View<T> a, Range columns,
                 Workspace<T>&) const override {
        k.dense_forward(x.dense, layer.w.columns(columns), layer.b + columns.begin, f,
                        a.columns(columns));
    }

    void backward(View<const T> delta, Activation g, View<const T> a_in, View<T> delta_in,
                  Range columns, Workspace<T>& workspace) const override {
        for (Index c = columns.begin; c < columns.end; c += kTile) {
            const Range tile{c, std::min(c + kTile, columns.end)};
            const View<T> w_t = workspace.w_t.part({0, layer.n_out}).columns({0, tile.count()});
            k.transpose(layer.w.part(tile), w_t);
            for (Index j = 0; tile.count() < kTile && j < layer.n_out; ++j) {  // their padding
                std::fill(w_t.row(j) + w_t.cols, w_t.row(j) + kTile, T(0));
            }
            k.dense_backward(delta, w_t, g, a_in.columns(tile), delta_in.columns(tile));
        }
    }

    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>&) override {
        for (const Range rows : stretches) {
            k.dense_update(x.dense.columns(rows), delta, update.step, update.from(rows.begin));
        }
    }

    void gradient(const Rows<T>& x, View<const T> delta, View<T> dw, const List<Range>& stretches,
                  Workspace<T>&) override {
        for (const Range rows : stretches) {
            k.dense_gradient(x.dense.columns(rows), delta, dw.part(rows));
        }
    }

   private:
    bool passes_back_;
};

}  // namespace sae
