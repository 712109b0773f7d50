// SPDX-License-Identifier: BSD-3-Clause
// Our own kernels on layers that no cache of a core holds: work is cut by columns, each thread
// having some of w's for all rows of the batch, so many rows at a time as caches hold. Nothing is
// packed; the way back transposes as much of w as one tile needs. Every sum has the bits that it
// has in a narrow layer, but for gradients over more rows than are taken at a time.
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
    static constexpr Index kRows = 512;         // of the batch at a time (docs/performance.md)

   public:
    // A layer that passes nothing back (the first) transposes nothing.
    Wide(const Dense<T>& dense, bool passes_back) : Strategy<T>(dense), passes_back_(passes_back) {}

    Cut cut() const override { return Cut::columns; }
    Index tile() const override { return kGrain; }
    Index task_rows() const override { return 2 * kGrain; }

    void reserve(Workspace<T>& workspace, const Rows<T>&, Index n, bool train) const override {
        const Index size = layer.n_in * layer.w.ld;
        if (train && n > kRows && workspace.dw.size() < size) workspace.dw = Buffer<T>(size);
        if (train && passes_back_ && workspace.w_t.rows < layer.n_out) {
            workspace.w_t = Matrix<T>(layer.n_out, kTile);
        }
    }

    void forward(const Rows<T>& x, Activation f, View<T> a, Range columns,
                 Workspace<T>&) const override {
        for_each_part(a.rows, [&](Range rows) {
            k.dense_forward(x.dense.part(rows), layer.w.columns(columns), layer.b + columns.begin,
                            f, a.part(rows).columns(columns));
        });
    }

    void backward(View<const T> delta, Activation g, View<const T> a_in, View<T> delta_in,
                  Range columns, Workspace<T>& workspace) const override {
        for_each_part(delta.rows, [&](Range rows) {
            for (Index c = columns.begin; c < columns.end; c += kTile) {
                const Range tile{c, std::min(c + kTile, columns.end)};
                const View<T> w_t = workspace.w_t.part({0, layer.n_out}).columns({0, tile.count()});
                k.transpose(layer.w.part(tile), w_t);
                for (Index j = 0; tile.count() < kTile && j < layer.n_out; ++j) {  // their padding
                    std::fill(w_t.row(j) + w_t.cols, w_t.row(j) + kTile, T(0));
                }
                k.dense_backward(delta.part(rows), w_t, g, a_in.part(rows).columns(tile),
                                 delta_in.part(rows).columns(tile));
            }
        });
    }

    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>& workspace) override {
        if (delta.rows <= kRows) {
            for (const Range rows : stretches) {
                k.dense_update(x.dense.columns(rows), delta, update.step, update.from(rows.begin));
            }
            return;
        }
        const View<T> dw{workspace.dw.data(), layer.n_in, layer.n_out, layer.w.ld};
        for (const Range rows : stretches) std::fill(dw.row(rows.begin), dw.row(rows.end), T(0));
        gradient(x, delta, dw, stretches, workspace);
        for (const Range rows : stretches) {
            k.update(dw.part(rows), update.step, update.from(rows.begin));
        }
    }

    void gradient(const Rows<T>& x, View<const T> delta, View<T> dw, const List<Range>& stretches,
                  Workspace<T>&) override {
        for_each_part(delta.rows, [&](Range samples) {
            for (const Range rows : stretches) {
                k.dense_gradient(x.dense.part(samples).columns(rows), delta.part(samples),
                                 dw.part(rows));
            }
        });
    }

   private:
    // f(so many of n rows) for all of them, in order.
    template <class F>
    static void for_each_part(Index n, const F& f) {
        for (Index r = 0; r < n; r += kRows) f(Range{r, std::min(r + kRows, n)});
    }

    bool passes_back_;
};

}  // namespace sae
