// SPDX-License-Identifier: BSD-3-Clause
// Products through BLAS, in tiles of columns that are the same for every number of threads; bias,
// activation and update rule take a pass of their own over what it leaves in memory.
#pragma once

#include <algorithm>

#include "sae/base/blas.hpp"
#include "sae/layers/strategy.hpp"

namespace sae {

template <class T>
class Blas : public Strategy<T> {
    using Strategy<T>::layer;
    using Strategy<T>::k;

    // Columns of a call: large enough for the library to be at its best, small enough that a layer
    // feeds several threads.
    static constexpr Index kTile = 256;
    static constexpr Index kTaskRows = 128;

   public:
    using Strategy<T>::Strategy;

    Cut cut() const override { return Cut::columns; }
    Index tile() const override { return kTile; }
    Index task_rows() const override { return kTaskRows; }
    bool uses_blas() const override { return true; }

    void reserve(Workspace<T>& workspace, const Rows<T>&, Index, bool train) const override {
        const Index size = kTaskRows * layer.w.ld;
        if (train && workspace.dw.size() < size) workspace.dw = Buffer<T>(size);
    }

    void forward(const Rows<T>& x, Activation f, View<T> a, Range columns,
                 Workspace<T>&) const override {
        for_each_tile(columns, [&](Range tile) {
            gemm<T>(Transpose::no, Transpose::no, x.dense, layer.w.columns(tile), a.columns(tile));
            k.activate(layer.b + tile.begin, f, a.columns(tile));
        });
    }

    void backward(View<const T> delta, Activation g, View<const T> a_in, View<T> delta_in,
                  Range columns, Workspace<T>&) const override {
        for_each_tile(columns, [&](Range tile) {
            const View<T> to = delta_in.columns(tile);
            gemm<T>(Transpose::no, Transpose::yes, delta, layer.w.part(tile), to);
            k.derive(g, a_in.columns(tile), to);
        });
    }

    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>& workspace) override {
        for (const Range rows : stretches) {
            const View<T> dw{workspace.dw.data(), rows.count(), layer.n_out, layer.w.ld};
            gemm<T>(Transpose::yes, Transpose::no, x.dense.columns(rows), delta, dw);
            // BLAS leaves the padding as another layer of other width left it
            for (Index r = 0; r < dw.rows; ++r) std::fill(dw.row(r) + dw.cols, dw.row(r + 1), T(0));
            k.update(dw, update.step, update.from(rows.begin));
        }
    }

    void gradient(const Rows<T>& x, View<const T> delta, View<T> dw, const List<Range>& stretches,
                  Workspace<T>&) override {
        for (const Range rows : stretches) {
            gemm<T>(Transpose::yes, Transpose::no, x.dense.columns(rows), delta, dw.part(rows),
                    T(1));
        }
    }

   private:
    template <class F>
    static void for_each_tile(Range columns, const F& f) {
        for (Index c = columns.begin; c < columns.end; c += kTile) {
            f(Range{c, std::min(c + kTile, columns.end)});
        }
    }
};

}  // namespace sae
