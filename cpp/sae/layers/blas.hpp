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

    void reserve(Workspace<T>& workspace, const Rows<T>&, Index) const override {
        const Index size = kTaskRows * layer.w.ld;
        if (workspace.dw.size() < size) workspace.dw = Buffer<T>(size);
    }

    void forward(const Rows<T>& x, View<T> a, Range columns, Workspace<T>&) const override {
        for_each_tile(columns, [&](Index c, Index n) {
            gemm(Transpose::no, Transpose::no, a.rows, n, layer.n_in, x.dense.data, x.dense.ld,
                 layer.w.data + c, layer.w.ld, a.data + c, a.ld);
            k.activate(a.rows, n, layer.b + c, layer.activation, a.data + c, a.ld);
        });
    }

    void backward(View<const T> delta, Activation g, View<const T> a_in, View<T> delta_in,
                  Range columns) const override {
        for_each_tile(columns, [&](Index c, Index n) {
            gemm(Transpose::no, Transpose::yes, delta.rows, n, layer.n_out, delta.data, delta.ld,
                 layer.w.row(c), layer.w.ld, delta_in.data + c, delta_in.ld);
            k.derive(delta.rows, n, g, a_in.data + c, a_in.ld, delta_in.data + c, delta_in.ld);
        });
    }

    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>& workspace) override {
        T* const dw = workspace.dw.data();
        const Index n = layer.n_out, ld = layer.w.ld;
        for (const Range rows : stretches) {
            const Index count = rows.end - rows.begin;
            gemm(Transpose::yes, Transpose::no, count, n, delta.rows, x.dense.data + rows.begin,
                 x.dense.ld, delta.data, delta.ld, dw, ld);
            // BLAS leaves the padding as another layer of other width left it
            for (Index r = 0; r < count; ++r) std::fill(dw + r * ld + n, dw + (r + 1) * ld, T(0));
            k.update(count, n, dw, ld, update.step, update.from(rows.begin));
        }
    }

   private:
    // f(first column, number of columns)
    template <class F>
    static void for_each_tile(Range columns, const F& f) {
        for (Index c = columns.begin; c < columns.end; c += kTile) {
            f(c, std::min(kTile, columns.end - c));
        }
    }
};

}  // namespace sae
