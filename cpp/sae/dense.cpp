// SPDX-License-Identifier: BSD-3-Clause
#include "sae/dense.hpp"

#include <algorithm>

#include "sae/blas.hpp"

namespace sae {

// From this size on products go through BLAS, which packs its operands and needs no transposed copy
// of w; up to there our tiles are as fast or faster (benchmarks/test_kernels.py).
template <class T>
bool Dense<T>::is_wide(Index n_in, Index n_out) {
    return std::min(n_in, n_out) >= 256;
}

template <class T>
void dense_forward(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> x, View<T> a) {
    if (layer.wide()) {
        dense_forward_columns(kernels, layer, x, a, 0, layer.n_out);
        return;
    }
    kernels.dense_forward(x.rows, layer.n_out, layer.n_in, x.data, x.ld, layer.w.data, layer.w.ld,
                          layer.b, layer.activation == Activation::relu, a.data, a.ld);
}

template <class T>
void dense_forward_columns(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> x,
                           View<T> a, Index c0, Index c1) {
    for (Index c = c0; c < c1; c += kWideTile) {
        const Index n = std::min(kWideTile, c1 - c);
        gemm(Transpose::no, Transpose::no, x.rows, n, layer.n_in, x.data, x.ld, layer.w.data + c,
             layer.w.ld, a.data + c, a.ld);
        kernels.bias_activation(x.rows, n, layer.b + c, layer.activation == Activation::relu,
                                a.data + c, a.ld);
    }
}

template <class T>
void dense_backward(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                    View<const T> a_in, View<T> delta_in) {
    kernels.dense_backward(delta.rows, layer.n_in, layer.n_out, delta.data, delta.ld,
                           layer.w_t.data, layer.w_t.ld, a_in.data, a_in.ld, delta_in.data,
                           delta_in.ld);
}

template <class T>
void dense_backward_columns(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                            View<const T> a_in, View<T> delta_in, Index c0, Index c1) {
    for (Index c = c0; c < c1; c += kWideTile) {
        const Index n = std::min(kWideTile, c1 - c);
        gemm(Transpose::no, Transpose::yes, delta.rows, n, layer.n_out, delta.data, delta.ld,
             layer.w.row(c), layer.w.ld, delta_in.data + c, delta_in.ld);
        if (a_in.data) {
            kernels.relu_mask(delta.rows, n, a_in.data + c, a_in.ld, delta_in.data + c,
                              delta_in.ld);
        }
    }
}

template <class T>
void dense_update(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> x,
                  View<const T> delta, const AdamStep<T>& adam, T* m, T* v, Index r0, Index r1,
                  View<T> dw) {
    const Index at = r0 * layer.w.ld;
    const AdamRows<T> rows{layer.w.data + at, m + at, v + at, layer.w.ld};
    if (layer.wide()) {
        gemm(Transpose::yes, Transpose::no, r1 - r0, layer.n_out, x.rows, x.data + r0, x.ld,
             delta.data, delta.ld, dw.data, dw.ld);
        // BLAS leaves the padding as another layer of other width left it
        for (Index r = 0; r < r1 - r0; ++r) std::fill(dw.row(r) + dw.cols, dw.row(r) + dw.ld, T(0));
        kernels.adam_update(r1 - r0, layer.n_out, dw.data, dw.ld, adam, rows);
        return;
    }
    kernels.dense_update(r1 - r0, layer.n_out, x.rows, x.data + r0, x.ld, 1, delta.data, delta.ld,
                         adam, rows);
}

template <class T>
void dense_update_bias(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                       AdamStep<T> adam, T* m, T* v) {
    const T one = 1;  // every row of delta counts once: a product with a row of ones
    adam.weight_decay = 0;
    kernels.dense_update(1, layer.n_out, delta.rows, &one, 0, 0, delta.data, delta.ld, adam,
                         {layer.b, m, v, layer.w.ld});
}

#define SAE_INSTANTIATE(T)                                                                         \
    template struct Dense<T>;                                                                      \
    template void dense_forward(const Kernels<T>&, const Dense<T>&, View<const T>, View<T>);       \
    template void dense_forward_columns(const Kernels<T>&, const Dense<T>&, View<const T>,         \
                                        View<T>, Index, Index);                                    \
    template void dense_backward(const Kernels<T>&, const Dense<T>&, View<const T>, View<const T>, \
                                 View<T>);                                                         \
    template void dense_backward_columns(const Kernels<T>&, const Dense<T>&, View<const T>,        \
                                         View<const T>, View<T>, Index, Index);                    \
    template void dense_update(const Kernels<T>&, const Dense<T>&, View<const T>, View<const T>,   \
                               const AdamStep<T>&, T*, T*, Index, Index, View<T>);                 \
    template void dense_update_bias(const Kernels<T>&, const Dense<T>&, View<const T>,             \
                                    AdamStep<T>, T*, T*);
SAE_INSTANTIATE(float)
SAE_INSTANTIATE(double)
#undef SAE_INSTANTIATE

}  // namespace sae
