// SPDX-License-Identifier: BSD-3-Clause
// Our own kernels, which fuse bias, activation and update rule into the products and may be given
// any rows. The way back reads a transposed copy of w.
#pragma once

#include "sae/layers/strategy.hpp"

namespace sae {

template <class T>
class Narrow : public Strategy<T> {
    using Strategy<T>::layer;
    using Strategy<T>::k;

   public:
    // A layer that passes nothing back (the first) needs no copy of w; nor does one that is given
    // what is always w^T.
    Narrow(const Dense<T>& dense, bool passes_back, View<T> w_t) : Strategy<T>(dense), w_t_(w_t) {
        if (!passes_back || w_t.data) return;
        copy_ = Matrix<T>(layer.n_out, layer.n_in);
        w_t_ = copy_;
    }

    Cut cut() const override { return Cut::rows; }
    Index task_rows() const override { return 24; }  // whole tiles of 12, 8, 6 or 4

    void forward(const Rows<T>& x, Activation f, View<T> a, Range, Workspace<T>&) const override {
        k.dense_forward(x.dense, layer.w, layer.b, f, a);
    }

    void backward(View<const T> delta, Activation g, View<const T> a_in, View<T> delta_in, Range,
                  Workspace<T>&) const override {
        k.dense_backward(delta, w_t_, g, a_in, delta_in);
    }

    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>&) override {
        for (const Range rows : stretches) {
            k.dense_update(x.dense.columns(rows), delta, update.step, update.from(rows.begin));
            refresh(rows, {0, layer.n_out});
        }
    }

    void gradient(const Rows<T>& x, View<const T> delta, View<T> dw, const List<Range>& stretches,
                  Workspace<T>&) override {
        for (const Range rows : stretches) {
            k.dense_gradient(x.dense.columns(rows), delta, dw.part(rows));
        }
    }

    void refresh(Range rows, Range columns) override {
        if (!copy_.data) return;
        k.transpose(layer.w.part(rows).columns(columns), w_t_.part(columns).columns(rows));
    }
    View<T> transposed() const override { return w_t_; }

   private:
    Matrix<T> copy_;
    View<T> w_t_;  // (n_out, n_in)
};

}  // namespace sae
