// SPDX-License-Identifier: BSD-3-Clause
// One dense layer: forward, backward, and the update of its parameters. Narrow layers go through
// our own kernels, which fuse bias, ReLU and Adam into the product and may be given any rows; wide
// ones through BLAS, in tiles of columns that are the same for every number of threads.
#pragma once

#include "sae/kernels/kernels.hpp"
#include "sae/view.hpp"

namespace sae {

enum class Activation { identity, relu };

template <class T>
struct Dense {
    Index n_in, n_out;
    Activation activation;
    View<T> w;    // (n_in, n_out)
    T* b;         // (n_out), the row after w's last
    View<T> w_t;  // (n_out, n_in), a copy of w for the way back; empty if the layer is wide

    // Whether its products go through BLAS.
    bool wide() const { return is_wide(n_in, n_out); }
    static bool is_wide(Index n_in, Index n_out);
};

// Columns of a BLAS call: large enough for the library to be at its best, small enough that a wide
// layer feeds several threads.
inline constexpr Index kWideTile = 256;

// a (m, n_out) = activation(x (m, n_in) w + b)
template <class T>
void dense_forward(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> x, View<T> a);

// The same, the columns [c0, c1) alone.
template <class T>
void dense_forward_columns(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> x,
                           View<T> a, Index c0, Index c1);

// delta_in (m, n_in) = (delta (m, n_out) w^T) * [a_in > 0]; without the mask if a_in is empty
template <class T>
void dense_backward(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                    View<const T> a_in, View<T> delta_in);

// The same, the columns [c0, c1) of delta_in alone.
template <class T>
void dense_backward_columns(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                            View<const T> a_in, View<T> delta_in, Index c0, Index c1);

// Adam on the rows [r0, r1) of w, dw = x^T delta; `moments` are those of w's first row, `dw` is
// room for (r1 - r0, n_out) if the layer is wide.
template <class T>
void dense_update(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> x,
                  View<const T> delta, const AdamStep<T>& adam, T* m, T* v, Index r0, Index r1,
                  View<T> dw);

// Adam on b, db = the sum of delta's rows; `m` and `v` are those of b.
template <class T>
void dense_update_bias(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                       AdamStep<T> adam, T* m, T* v);

}  // namespace sae
