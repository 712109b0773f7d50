// SPDX-License-Identifier: BSD-3-Clause
// The one body of all kernels, in the compiler's vector types. Each file beside this one compiles
// it for one instruction set: it defines SAE_ISA (a namespace) and SAE_VECTOR_BYTES.
#include <cmath>
#include <limits>
#include <type_traits>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "sae/kernels/kernels.hpp"

#define SAE_INLINE inline __attribute__((always_inline))
#define SAE_INLINE_LAMBDA __attribute__((always_inline))

namespace sae::SAE_ISA {
namespace {

// clang-format off: each needs those before it
#include "sae/kernels/vectors.inl"
#include "sae/kernels/exp.inl"
#include "sae/kernels/activations.inl"
#include "sae/kernels/rules.inl"
#include "sae/kernels/epilogues.inl"
#include "sae/kernels/panels.inl"
#include "sae/kernels/products.inl"
#include "sae/kernels/sums.inl"
#include "sae/kernels/losses.inl"
#include "sae/kernels/random.inl"
#include "sae/kernels/penalties.inl"
// clang-format on

// The second pass of an activation that is not fused; what pads the rows stays zero.
template <class F, class T>
SAE_INLINE void activate_rows(View<T> out) {
    for (Index r = 0; r < out.rows; ++r) {
        T* row = out.row(r);
        for (Index c = 0; c < out.cols; c += kLanes<T>) {
            store(row + c, first_lanes<T>(F::forward(load<Vector<T>>(row + c)), out.cols - c));
        }
    }
}

// Calls product(epilogue) so that it ends in out = f(its sums + b).
template <class T, class Product>
SAE_INLINE void activated(Activation activation, const T* b, View<T> out, Product&& product) {
    with_activation(activation, [&](auto f) SAE_INLINE_LAMBDA {
        using F = decltype(f);
        if constexpr (F::fused) {
            product(Activate<F, T>{b, out.data, out.ld});
        } else {
            product(Activate<Linear, T>{b, out.data, out.ld});
            activate_rows<F>(out);
        }
    });
}

// Calls product(epilogue) so that it ends in out = its sums * f'(z), a being f(z).
template <class T, class Product>
SAE_INLINE void derived(Activation activation, View<const T> a, View<T> out, Product&& product) {
    with_activation(activation, [&](auto f) SAE_INLINE_LAMBDA {
        using F = decltype(f);
        const Derive<F, T> derive{a.data, a.ld, out.data, out.ld};
        if constexpr (F::fused) {
            product(derive);
        } else {
            product(Store<T>{out.data, out.ld});
            from_memory<T>(out, derive);
        }
    });
}

// Calls product(epilogue) so that it ends in a step of the update rule.
template <class T, class Product>
SAE_INLINE void updated(const UpdateStep<T>& step, const ParameterRows<T>& parameters,
                        Product&& product) {
    if (step.l1 != T(0) || step.decay) return product(PenalizedUpdate<T>{step, parameters});
    with_rule(step, [&](auto rule) SAE_INLINE_LAMBDA {
        product(Update<decltype(rule), T>{rule, step.weight_decay, step.shrinkage, parameters});
    });
}

template <class T>
void dense_forward(View<const T> x, View<const T> w, const T* b, Activation f, View<T> out) {
    const Index m = out.rows, n = out.cols, k = x.cols;
    activated(f, b, out, [&](auto epilogue) SAE_INLINE_LAMBDA {
        if (m > 1) return dense_product(m, n, k, x.data, x.ld, 1, w.data, w.ld, epilogue);
        // a single row has to make its sums in flight from columns alone
        for_each_panel<T, kRowVectors>(n, [&](auto panel, Index c) {
            dense_panel<1, decltype(panel)>(0, m, k, x.data, x.ld, 1, w.data + c, w.ld, c,
                                            epilogue);
        });
    });
}

template <class T>
void dense_backward(View<const T> delta, View<const T> w_t, Activation f, View<const T> a,
                    View<T> delta_in) {
    derived(f, a, delta_in, [&](auto epilogue) SAE_INLINE_LAMBDA {
        dense_product(delta.rows, delta_in.cols, delta.cols, delta.data, delta.ld, 1, w_t.data,
                      w_t.ld, epilogue);
    });
}

template <class T>
void dense_update(View<const T> x, View<const T> delta, const UpdateStep<T>& step,
                  const ParameterRows<T>& parameters) {
    updated(step, parameters, [&](auto epilogue) SAE_INLINE_LAMBDA {
        dense_product(x.cols, delta.cols, delta.rows, x.data, 1, x.ld, delta.data, delta.ld,
                      epilogue);
    });
}

template <class T>
void dense_gradient(View<const T> x, View<const T> delta, View<T> dw) {
    dense_product(x.cols, delta.cols, delta.rows, x.data, 1, x.ld, delta.data, delta.ld,
                  Add<T>{dw.data, dw.ld});
}

template <class T>
void sparse_forward(const SparseRows<T>& x, View<const T> w, bool resume, const T* b, Activation f,
                    View<T> out) {
    const auto product = [&](auto epilogue) {
        with_packed(x.packed, [&](const auto& rows) {
            for_each_panel<T, kRowVectors>(out.cols, [&](auto panel, Index c) {
                using P = decltype(panel);
                const bool last = c + P::kColumns >= out.cols;
                sparse_rows_panel<P>(out.rows, rows, x.start, x.columns, last, w.data + c, w.ld,
                                     resume, out.data, out.ld, c, epilogue);
            });
        });
    };
    if (!b) return product(Store<T>{out.data, out.ld});
    activated(f, b, out, product);
}

template <class T>
void sparse_update(Index rows, const SparseColumnEntries<T>& x, View<const T> delta,
                   const UpdateStep<T>& step, const ParameterRows<T>& parameters) {
    updated(step, parameters,
            [&](auto epilogue) { sparse_columns_product(rows, x, delta, epilogue); });
}

template <class T>
void sparse_gradient(const SparseColumnEntries<T>& x, View<const T> delta, View<T> dw) {
    sparse_columns_product(dw.rows, x, delta, Add<T>{dw.data, dw.ld});
}

template <class T>
void activate(const T* b, Activation f, View<T> out) {
    activated(f, b, out, [&](auto epilogue) { from_memory<T>(out, epilogue); });
}

template <class T>
void derive(Activation f, View<const T> a, View<T> delta) {
    derived(f, a, delta, [&](auto epilogue) { from_memory<T>(delta, epilogue); });
}

template <class T>
void update(View<const T> dw, const UpdateStep<T>& step, const ParameterRows<T>& parameters) {
    updated(step, parameters, [&](auto epilogue) { from_memory(dw, epilogue); });
}

template <class T>
inline constexpr Kernels<T> kTable = {
    dense_forward<T>,  dense_backward<T>,  dense_update<T>, dense_gradient<T>,  sparse_forward<T>,
    sparse_update<T>,  sparse_gradient<T>, activate<T>,     derive<T>,          update<T>,
    column_squares<T>, slope_squares<T>,   penalize<T>,     limit_norms<T>,     keep_largest<T>,
    gram<T>,           transpose<T>,       expand_bytes<T>, transpose_bytes<T>, loss_delta<T>,
    loss_value<T>,     exp_shifted<T>,     dot<T>,          random_groups,      normals<T>,
    multiply_adds<T>};

}  // namespace
}  // namespace sae::SAE_ISA

template <>
const sae::Kernels<float>& sae::kernels_of<float, sae::Isa::SAE_ISA>() {
    return SAE_ISA::kTable<float>;
}
template <>
const sae::Kernels<double>& sae::kernels_of<double, sae::Isa::SAE_ISA>() {
    return SAE_ISA::kTable<double>;
}
