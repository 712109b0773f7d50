// SPDX-License-Identifier: BSD-3-Clause
// The table of kernels, one per instruction set and type. A kernel reads and writes whole vectors:
// every matrix but the left operand of a product has padded rows (view.hpp), their padding zero.
// Sums run over the inner index in order, one multiply-add at a time, whatever tile an element
// falls into, so that its bits depend on neither the tiling nor the rows that a call covers.
#pragma once

#include <cstdint>

#include "sae/isa.hpp"
#include "sae/view.hpp"

namespace sae {

// One step of Adam, in both its forms:
//   w -= step_size * m / (sqrt(v) * sqrt_v_scale + epsilon)
// TensorFlow 1 adds epsilon to the uncorrected sqrt(v) (sqrt_v_scale = 1), PyTorch to the
// corrected.
template <class T>
struct AdamStep {
    T one_minus_beta1, one_minus_beta2;  // rounded once: 1 - float(0.999) is off by 1e-5
    T step_size;
    T sqrt_v_scale;
    T epsilon;
    T weight_decay;  // L2, part of the gradient: dw + weight_decay * w
};

// Rows of parameters and their moments, all with the same leading dimension.
template <class T>
struct AdamRows {
    T* w;  // (rows, n)
    T* m;  // (rows, n)
    T* v;  // (rows, n)
    Index ld;
};

// A non-zero of a sparse row or column: where it stands in it, and its value.
template <class T>
struct Entry {
    std::uint32_t index;
    T value;
};

// Sparse rows, or a part of each: row r has the entries from start[r * stride] up to
// start[r * stride + 1].
template <class T>
struct SparseRows {
    const Entry<T>* entries;
    const std::uint32_t* start;
    Index stride;
};

template <class T>
struct Kernels {
    // out (m, n) = activation(x (m, k) w (k, n) + b (n))
    void (*dense_forward)(Index m, Index n, Index k, const T* x, Index ldx, const T* w, Index ldw,
                          const T* b, bool relu, T* out, Index ldo);
    // delta_in (m, k) = (delta (m, n) w_t (n, k)) * [a > 0]; a null: without the mask
    void (*dense_backward)(Index m, Index k, Index n, const T* delta, Index ldd, const T* w_t,
                           Index ldw, const T* a, Index lda, T* delta_in, Index ldi);
    // Adam on `rows` rows of w with dw (rows, n) = x (batch, rows)^T delta (batch, n);
    // element (i, r) of x is x[i * ldx + r * xs]
    void (*dense_update)(Index rows, Index n, Index batch, const T* x, Index ldx, Index xs,
                         const T* delta, Index ldd, const AdamStep<T>& adam,
                         const AdamRows<T>& parameters);
    // out (m, n) = activation(sum over the entries of value * w[index] + b (n)); resume: on top of
    // the sums in out; b null: the sums alone, for a later call to resume
    void (*sparse_forward)(Index m, Index n, const SparseRows<T>& x, const T* w, Index ldw,
                           bool resume, const T* b, bool relu, T* out, Index ldo);
    // Adam on `rows` rows of w with dw (rows, n) = sum over the entries of value * delta[index]
    void (*sparse_update)(Index rows, Index n, const SparseRows<T>& x, const T* delta, Index ldd,
                          const AdamStep<T>& adam, const AdamRows<T>& parameters);
    // The epilogues of the above on a product that BLAS left in memory.
    void (*bias_activation)(Index m, Index n, const T* b, bool relu, T* out, Index ldo);
    void (*relu_mask)(Index m, Index k, const T* a, Index lda, T* delta_in, Index ldi);
    void (*adam_update)(Index rows, Index n, const T* dw, Index lddw, const AdamStep<T>& adam,
                        const AdamRows<T>& parameters);
    // out[c * ldo + r] = in[r * ldi + c]
    void (*transpose)(Index rows, Index cols, const T* in, Index ldi, T* out, Index ldo);
    // delta (n) = 2 (a (n) - x (n)); x null: 2 a
    void (*squared_error_delta)(Index n, const T* a, const T* x, T* delta);
    // p (n) = exp(z (n) - largest), zero from where T has no normal number on; p may be z
    void (*exp_shifted)(Index n, const T* z, T largest, T* p);
    // sum of (a - x)^2 over n elements, in float64
    double (*squared_error)(Index n, const T* a, const T* x);
};

template <class T>
const Kernels<T>& kernels(Isa isa);

}  // namespace sae
