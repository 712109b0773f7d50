// SPDX-License-Identifier: BSD-3-Clause
// One dense layer, a = f(x w + b): what it is, and what a step needs to move it.
#pragma once

#include "sae/kernels/kernels.hpp"

namespace sae {

template <class T>
struct Dense {
    Index n_in, n_out;
    Activation activation;
    View<T> w;  // (n_in, n_out)
    T* b;       // (n_out), the row after w's last
};

// A step on parameters of a layer; `rows` are those of w's first row, or of b.
template <class T>
struct LayerUpdate {
    UpdateStep<T> step;
    ParameterRows<T> rows;

    // From another row of w on.
    ParameterRows<T> from(Index row) const {
        ParameterRows<T> moved = rows;
        moved.w += row * rows.ld;
        for (T*& slot : moved.slots) {
            if (slot) slot += row * rows.ld;
        }
        return moved;
    }
};

}  // namespace sae
