// SPDX-License-Identifier: BSD-3-Clause
// How near samples are to centers, the columns of w: z = -log(1 + |x - w|^2) of each, so that
// softmax(z) are the assignments to them by Student's t-distribution with one degree of freedom
// (van der Maaten and Hinton 2008; Xie et al. 2016). b has no part in it. Codes and centers are
// few: plain loops, whose bits are the same for every instruction set.
#pragma once

#include <algorithm>
#include <cmath>

#include "sae/layers/strategy.hpp"

namespace sae {

template <class T>
class Similarity : public Strategy<T> {
    using Strategy<T>::layer;
    using Strategy<T>::k;

   public:
    using Strategy<T>::Strategy;

    Cut cut() const override { return Cut::rows; }
    Index task_rows() const override { return layer.n_in; }  // a center as a whole

    void reserve(Workspace<T>& workspace, const Rows<T>&, Index, bool train) const override {
        const Index size = (layer.n_in + 1) * layer.w.ld;
        if (train && workspace.dw.size() < size) workspace.dw = Buffer<T>(size);
    }

    void forward(const Rows<T>& x, Activation, View<T> a, Range, Workspace<T>&) const override {
        for (Index i = 0; i < a.rows; ++i) {
            distances(x.dense.row(i), a.row(i));
            for (Index j = 0; j < a.cols; ++j) a(i, j) = -std::log(a(i, j));
        }
    }

    void backward(View<const T> delta, Activation g, View<const T> a_in, View<T> delta_in, Range,
                  Workspace<T>& workspace) const override {
        T* const slope = workspace.dw.data();
        for (Index i = 0; i < delta.rows; ++i) {
            slopes(a_in.row(i), delta.row(i), slope);
            for (Index p = 0; p < layer.n_in; ++p) {
                T sum = 0;
                for (Index j = 0; j < layer.n_out; ++j) {
                    sum += slope[j] * (a_in(i, p) - layer.w(p, j));
                }
                delta_in(i, p) = sum;
            }
        }
        k.derive(g, a_in, delta_in);
    }

    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>& workspace) override {
        const View<T> dw{workspace.dw.data(), layer.n_in, layer.n_out, layer.w.ld};
        std::fill_n(dw.data, dw.rows * dw.ld, T(0));
        gradient(x, delta, dw, stretches, workspace);
        for (const Range rows : stretches)
            k.update(dw.part(rows), update.step, update.from(rows.begin));
    }

    void gradient(const Rows<T>& x, View<const T> delta, View<T> dw, const List<Range>& stretches,
                  Workspace<T>& workspace) override {
        T* const slope = workspace.dw.data() + layer.n_in * layer.w.ld;
        for (Index i = 0; i < delta.rows; ++i) {
            slopes(x.dense.row(i), delta.row(i), slope);
            for (const Range rows : stretches) {
                for (Index p = rows.begin; p < rows.end; ++p) {
                    for (Index j = 0; j < layer.n_out; ++j) {
                        dw(p, j) -= slope[j] * (x.dense(i, p) - layer.w(p, j));
                    }
                }
            }
        }
    }

    void update_bias(View<const T>, const LayerUpdate<T>&) const override {}
    void bias_gradient(View<const T>, T*) const override {}

   private:
    // to (n_out) = 1 + |x - w|^2
    void distances(const T* x, T* to) const {
        std::fill_n(to, layer.n_out, T(1));
        for (Index p = 0; p < layer.n_in; ++p) {
            const T* const w = layer.w.row(p);
            for (Index j = 0; j < layer.n_out; ++j) to[j] += (x[p] - w[j]) * (x[p] - w[j]);
        }
    }

    // The loss's gradient with respect to x - w, over x - w: dz/dx = -2 (x - w) / (1 + |x - w|^2).
    void slopes(const T* x, const T* delta, T* to) const {
        distances(x, to);
        for (Index j = 0; j < layer.n_out; ++j) to[j] = -2 * delta[j] / to[j];
    }
};

}  // namespace sae
