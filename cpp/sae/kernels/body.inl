// SPDX-License-Identifier: BSD-3-Clause
// The one body of all kernels, in the compiler's vector types. Each file beside this one compiles
// it for one instruction set: it defines SAE_ISA (a namespace) and SAE_VECTOR_BYTES.
#include <cmath>
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
// clang-format on

// The second pass of an activation that is not fused; what pads the rows stays zero.
template <class F, class T>
SAE_INLINE void activate_rows(Index m, Index n, T* out, Index ldo) {
    for (Index r = 0; r < m; ++r) {
        T* row = out + r * ldo;
        for (Index c = 0; c < n; c += kLanes<T>) {
            store(row + c, first_lanes<T>(F::forward(load<Vector<T>>(row + c)), n - c));
        }
    }
}

// Calls product(epilogue) so that it ends in out = f(its sums + b).
template <class T, class Product>
SAE_INLINE void activated(Activation activation, Index m, Index n, const T* b, T* out, Index ldo,
                          Product&& product) {
    with_activation(activation, [&](auto f) SAE_INLINE_LAMBDA {
        using F = decltype(f);
        if constexpr (F::fused) {
            product(Activate<F, T>{b, out, ldo});
        } else {
            product(Activate<Linear, T>{b, out, ldo});
            activate_rows<F>(m, n, out, ldo);
        }
    });
}

// Calls product(epilogue) so that it ends in out = its sums * f'(z), a being f(z).
template <class T, class Product>
SAE_INLINE void derived(Activation activation, Index m, Index n, const T* a, Index lda, T* out,
                        Index ldo, Product&& product) {
    with_activation(activation, [&](auto f) SAE_INLINE_LAMBDA {
        using F = decltype(f);
        if constexpr (F::fused) {
            product(Derive<F, T>{a, lda, out, ldo});
        } else {
            product(Store<T>{out, ldo});
            from_memory(m, n, out, ldo, Derive<F, T>{a, lda, out, ldo});
        }
    });
}

// Calls product(epilogue) so that it ends in a step of the update rule.
template <class T, class Product>
SAE_INLINE void updated(const UpdateStep<T>& step, const ParameterRows<T>& parameters,
                        Product&& product) {
    with_rule(step, [&](auto rule) SAE_INLINE_LAMBDA {
        product(Update<decltype(rule), T>{rule, step.weight_decay, parameters});
    });
}

template <class T>
void dense_forward(Index m, Index n, Index k, const T* x, Index ldx, const T* w, Index ldw,
                   const T* b, Activation activation, T* out, Index ldo) {
    activated(activation, m, n, b, out, ldo, [&](auto epilogue) SAE_INLINE_LAMBDA {
        if (m > 1) return dense_product(m, n, k, x, ldx, 1, w, ldw, epilogue);
        // a single row has to make its sums in flight from columns alone
        for_each_panel<T, kRowVectors>(n, [&](auto panel, Index c) {
            dense_panel<1, decltype(panel)>(0, m, k, x, ldx, 1, w + c, ldw, c, epilogue);
        });
    });
}

template <class T>
void dense_backward(Index m, Index k, Index n, const T* delta, Index ldd, const T* w_t, Index ldw,
                    Activation activation, const T* a, Index lda, T* delta_in, Index ldi) {
    derived(activation, m, k, a, lda, delta_in, ldi, [&](auto epilogue) SAE_INLINE_LAMBDA {
        dense_product(m, k, n, delta, ldd, 1, w_t, ldw, epilogue);
    });
}

template <class T>
void dense_update(Index rows, Index n, Index batch, const T* x, Index ldx, Index xs, const T* delta,
                  Index ldd, const UpdateStep<T>& step, const ParameterRows<T>& parameters) {
    updated(step, parameters, [&](auto epilogue) SAE_INLINE_LAMBDA {
        dense_product(rows, n, batch, x, xs, ldx, delta, ldd, epilogue);
    });
}

template <class T>
void sparse_forward(Index m, Index n, const SparseRows<T>& x, const T* w, Index ldw, bool resume,
                    const T* b, Activation activation, T* out, Index ldo) {
    const auto product = [&](auto epilogue) {
        with_packed(x.packed, [&](const auto* columns, auto values) {
            const auto limit = static_cast<std::decay_t<decltype(*columns)>>(x.limit);
            for_each_panel<T, kRowVectors>(n, [&](auto panel, Index c) {
                using P = decltype(panel);
                const bool last = c + P::kColumns >= n;
                sparse_rows_panel<P>(m, columns, values, x.next, limit, last, w + c, ldw, resume,
                                     out, ldo, c, epilogue);
            });
        });
    };
    if (!b) return product(Store<T>{out, ldo});
    activated(activation, m, n, b, out, ldo, product);
}

template <class T>
void sparse_update(Index rows, Index n, const SparseColumnEntries<T>& x, const T* delta, Index ldd,
                   const UpdateStep<T>& step, const ParameterRows<T>& parameters) {
    updated(step, parameters, [&](auto epilogue) {
        for_each_panel<T, kRowVectors>(n, [&](auto panel, Index c) {
            sparse_columns_panel<decltype(panel)>(rows, x, delta + c, ldd, c, epilogue);
        });
    });
}

template <class T>
void activate(Index m, Index n, const T* b, Activation activation, T* out, Index ldo) {
    activated(activation, m, n, b, out, ldo,
              [&](auto epilogue) { from_memory(m, n, out, ldo, epilogue); });
}

template <class T>
void derive(Index m, Index n, Activation activation, const T* a, Index lda, T* delta, Index ldd) {
    derived(activation, m, n, a, lda, delta, ldd,
            [&](auto epilogue) { from_memory(m, n, delta, ldd, epilogue); });
}

template <class T>
void update(Index rows, Index n, const T* dw, Index lddw, const UpdateStep<T>& step,
            const ParameterRows<T>& parameters) {
    updated(step, parameters, [&](auto epilogue) { from_memory(rows, n, dw, lddw, epilogue); });
}

template <class T>
inline constexpr Kernels<T> kTable = {
    dense_forward<T>,
    dense_backward<T>,
    dense_update<T>,
    sparse_forward<T>,
    sparse_update<T>,
    activate<T>,
    derive<T>,
    update<T>,
    gram<T>,
    transpose<T>,
    squared_error_delta<T>,
    exp_shifted<T>,
    squared_error<T>,
    dot<T>,
    multiply_adds<T>,
};

}  // namespace

template <class T>
const Kernels<T>& table() {
    return kTable<T>;
}
template const Kernels<float>& table<float>();
template const Kernels<double>& table<double>();

}  // namespace sae::SAE_ISA
