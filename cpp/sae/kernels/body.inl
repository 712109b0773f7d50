// SPDX-License-Identifier: BSD-3-Clause
// The one body of all kernels, in the compiler's vector types. Each file beside this one compiles
// it for one instruction set: it defines SAE_ISA (a namespace) and SAE_VECTOR_BYTES.
// A product is a source (dense tile, sparse rows, memory) that ends in an epilogue (activation,
// mask, Adam) while its sums are still in registers.
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

template <class T, Index bytes>
struct VectorOf {
    typedef T type __attribute__((vector_size(bytes)));
};
template <class T>
using Vector = typename VectorOf<T, SAE_VECTOR_BYTES>::type;
template <class T>
using HalfVector = typename VectorOf<T, SAE_VECTOR_BYTES / 2>::type;

template <class T>
inline constexpr Index kLanes = SAE_VECTOR_BYTES / static_cast<Index>(sizeof(T));

template <class V, class T>
SAE_INLINE V load(const T* p) {
    V x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}

template <class T, class V>
SAE_INLINE void store(T* p, const V& x) {
    __builtin_memcpy(p, &x, sizeof x);
}

// Lane by lane, unless the instruction set names the vector instruction.
template <class V>
SAE_INLINE V square_root(V x) {
    [[maybe_unused]] constexpr bool single = sizeof(x[0]) == 4;
#if defined(__AVX512F__)
    // the zero-masked forms: the plain ones trip GCC's warning about uninitialized values
    if constexpr (sizeof(V) == 64 && single)
        return V(_mm512_maskz_sqrt_ps(__mmask16(-1), __m512(x)));
    if constexpr (sizeof(V) == 64 && !single)
        return V(_mm512_maskz_sqrt_pd(__mmask8(-1), __m512d(x)));
#endif
#if defined(__AVX__)
    if constexpr (sizeof(V) == 32 && single) return V(_mm256_sqrt_ps(__m256(x)));
    if constexpr (sizeof(V) == 32 && !single) return V(_mm256_sqrt_pd(__m256d(x)));
#endif
#if defined(__SSE2__)
    if constexpr (sizeof(V) == 16 && single) return V(_mm_sqrt_ps(__m128(x)));
    if constexpr (sizeof(V) == 16 && !single) return V(_mm_sqrt_pd(__m128d(x)));
#endif
    for (unsigned i = 0; i < sizeof(x) / sizeof(x[0]); ++i) x[i] = std::sqrt(x[i]);
    return x;
}

// ---- epilogues: what becomes of the sums of row r, columns from c on ----

template <class T>
struct Activate {
    const T* b;
    bool relu;
    T* out;
    Index ldo;

    template <class V>
    SAE_INLINE void operator()(Index r, Index c, V z) const {
        z += load<V>(b + c);
        // NaN stays NaN, so that divergence is seen
        if (relu) z = z < T(0) ? V{} : z;
        store(out + r * ldo + c, z);
    }
};

template <class T>
struct Mask {
    const T* a;  // the activations whose ReLU this goes back through, or null
    Index lda;
    T* out;
    Index ldo;

    template <class V>
    SAE_INLINE void operator()(Index r, Index c, V sum) const {
        if (a) sum = load<V>(a + r * lda + c) > T(0) ? sum : V{};
        store(out + r * ldo + c, sum);
    }
};

template <class T>
struct Adam {
    // by value, like the epilogues themselves: behind a reference, every store to w, m or v would
    // make the compiler read all of this again
    AdamStep<T> step;
    AdamRows<T> rows;

    template <class V>
    SAE_INLINE void operator()(Index r, Index c, V dw) const {
        const Index at = r * rows.ld + c;
        V w = load<V>(rows.w + at);
        V m = load<V>(rows.m + at);
        V v = load<V>(rows.v + at);
        dw += step.weight_decay * w;
        m += step.one_minus_beta1 * (dw - m);
        v += step.one_minus_beta2 * (dw * dw - v);
        w -= m / (square_root(v) * step.sqrt_v_scale + step.epsilon);
        store(rows.w + at, w);
        store(rows.m + at, m);
        store(rows.v + at, v);
    }
};

// ---- panels: columns side by side, whose sums stay in registers ----

// N vectors and, if H, half of one more: where an instruction on half a vector costs half as much,
// 100 columns are six vectors and a half, not seven.
template <int N, bool H, class T>
struct Panel {
    static constexpr int kFull = N;
    static constexpr Index kColumns = N * kLanes<T> + (H ? kLanes<T> / 2 : 0);
    Vector<T> full[N + !N] = {};
    HalfVector<T> half = {};

    SAE_INLINE void read(const T* p) {
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) full[j] = load<Vector<T>>(p + j * kLanes<T>);
        if constexpr (H) half = load<HalfVector<T>>(p + N * kLanes<T>);
    }
    SAE_INLINE void multiply_add(T s, const T* p) {
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) full[j] += s * load<Vector<T>>(p + j * kLanes<T>);
        if constexpr (H) half += s * load<HalfVector<T>>(p + N * kLanes<T>);
    }
    SAE_INLINE void multiply_add(T s, const Panel& x) {
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) full[j] += s * x.full[j];
        if constexpr (H) half += s * x.half;
    }
    template <class Epilogue>
    SAE_INLINE void finish(Epilogue epilogue, Index r, Index c) const {
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) epilogue(r, c + j * kLanes<T>, full[j]);
        if constexpr (H) epilogue(r, c + N * kLanes<T>, half);
    }
};

inline constexpr bool kHalves = SAE_VECTOR_BYTES == 64;

// Calls f(a panel of the widths of the last columns, first of these columns).
template <class T, int N, class F>
SAE_INLINE void last_panel(Index full, bool half, Index c, F&& f) {
    if (full == N) {
        if constexpr (kHalves) {
            if (half) return f(Panel<N, true, T>{}, c);
        }
        if constexpr (N > 0) f(Panel<N, false, T>{}, c);
    } else if constexpr (N > 0) {
        last_panel<T, N - 1>(full, half, c, f);
    }
}

// Calls f(panel, first column) for n columns, at most `most` vectors at a time.
template <class T, int most, class F>
SAE_INLINE void for_each_panel(Index n, F&& f) {
    const Index rest = n % kLanes<T>;
    const bool half = kHalves && rest > 0 && rest <= kLanes<T> / 2;
    Index full = n / kLanes<T> + (rest > 0 && !half);
    Index c = 0;
    for (; full > most; full -= most, c += most * kLanes<T>) f(Panel<most, false, T>{}, c);
    last_panel<T, most>(full, half, c, f);
}

// Vectors that a single row takes at once, as many as the registers hold beside the operands: 13 of
// 16.
inline constexpr int kRowVectors = 13;

// R rows of a panel of a b, a's element (r, p) being a[r * rs + p * cs].
template <int R, class P, class T, class Epilogue>
SAE_INLINE void dense_tile(Index k, const T* a, Index rs, Index cs, const T* b, Index ldb, Index r0,
                           Index c0, Epilogue epilogue) {
    P sum[R];
    for (Index p = 0; p < k; ++p) {
        P row;
        row.read(b + p * ldb);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) sum[r].multiply_add(a[r * rs + p * cs], row);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r].finish(epilogue, r0 + r, c0);
}

// All rows of a panel: R at a time, then the rest with one smaller tile.
template <int R, class P, class T, class Epilogue>
void dense_panel(Index r0, Index m, Index k, const T* a, Index rs, Index cs, const T* b, Index ldb,
                 Index c0, Epilogue epilogue) {
    for (; m - r0 >= R; r0 += R) {
        dense_tile<R, P>(k, a + r0 * rs, rs, cs, b, ldb, r0, c0, epilogue);
    }
    if constexpr (R > 1) {
        if (r0 < m) dense_panel<R - 1, P>(r0, m, k, a, rs, cs, b, ldb, c0, epilogue);
    }
}

// (m, n) = a (m, k) b (k, n). Twelve sums in flight hide the latency of a multiply-add and leave
// room for the operands in 16 registers.
template <class T, class Epilogue>
SAE_INLINE void dense_product(Index m, Index n, Index k, const T* a, Index rs, Index cs, const T* b,
                              Index ldb, Epilogue epilogue) {
    for_each_panel<T, 3>(n, [&](auto panel, Index c) {
        using P = decltype(panel);
        constexpr int R = P::kFull == 3 ? 4 : P::kFull == 2 ? 6 : 8;
        dense_panel<R, P>(0, m, k, a, rs, cs, b + c, ldb, c, epilogue);
    });
}

// For each of m sparse rows a panel of the sum over its non-zeros of value * w[column], on top of
// what is in `out` or, if not `resume`, of zero; `advance`: leave next[r] where the row stops.
template <class P, class T, class Column, class Values>
void sparse_rows_panel(Index m, const Column* columns, Values values, Index* next, Column limit,
                       bool advance, const T* w, Index ldw, bool resume, const T* b, bool relu,
                       T* out, Index ldo) {
    for (Index r = 0; r < m; ++r) {
        if (r + 1 < m) {  // no processor foresees where a row stops, nor fetches the next by itself
            __builtin_prefetch(columns + next[r + 1]);
            values.prefetch(next[r + 1]);
        }
        T* row = out + r * ldo;
        P sum;
        if (resume) sum.read(row);
        Index at = next[r];
        for (; columns[at] < limit; ++at) sum.multiply_add(values[at], w + columns[at] * ldw);
        if (advance) next[r] = at;
        if (b) {
            sum.finish(Activate<T>{b, relu, row, 0}, 0, 0);
        } else {
            sum.finish(Mask<T>{nullptr, 0, row, 0}, 0, 0);
        }
    }
}

// For each of m sparse columns a panel of the sum over its entries of value * delta[row].
template <class P, class T, class Epilogue>
void sparse_columns_panel(Index m, const SparseColumnEntries<T>& x, const T* delta, Index ldd,
                          Index c0, Epilogue epilogue) {
    for (Index r = 0; r < m; ++r) {
        const Entry<T>* entry = x.entries + x.ends[2 * r];
        const Entry<T>* end = x.entries + x.ends[2 * r + 1];
        P sum;
        for (; entry != end; ++entry) {
            sum.multiply_add(entry->value, delta + static_cast<Index>(entry->row) * ldd);
        }
        sum.finish(epilogue, r, c0);
    }
}

template <class T, class Epilogue>
SAE_INLINE void from_memory(Index m, Index n, const T* in, Index ldi, Epilogue epilogue) {
    for (Index r = 0; r < m; ++r) {
        for (Index c = 0; c < n; c += kLanes<T>) epilogue(r, c, load<Vector<T>>(in + r * ldi + c));
    }
}

// ---- the table ----

template <class T>
void dense_forward(Index m, Index n, Index k, const T* x, Index ldx, const T* w, Index ldw,
                   const T* b, bool relu, T* out, Index ldo) {
    const Activate<T> activate{b, relu, out, ldo};
    if (m > 1) return dense_product(m, n, k, x, ldx, 1, w, ldw, activate);
    // a single row has to make its sums in flight from columns alone
    for_each_panel<T, kRowVectors>(n, [&](auto panel, Index c) {
        dense_panel<1, decltype(panel)>(0, m, k, x, ldx, 1, w + c, ldw, c, activate);
    });
}

template <class T>
void dense_backward(Index m, Index k, Index n, const T* delta, Index ldd, const T* w_t, Index ldw,
                    const T* a, Index lda, T* delta_in, Index ldi) {
    dense_product(m, k, n, delta, ldd, 1, w_t, ldw, Mask<T>{a, lda, delta_in, ldi});
}

template <class T>
void dense_update(Index rows, Index n, Index batch, const T* x, Index ldx, Index xs, const T* delta,
                  Index ldd, const AdamStep<T>& adam, const AdamRows<T>& parameters) {
    dense_product(rows, n, batch, x, xs, ldx, delta, ldd, Adam<T>{adam, parameters});
}

template <class T>
void sparse_forward(Index m, Index n, const SparseRows<T>& x, const T* w, Index ldw, bool resume,
                    const T* b, bool relu, T* out, Index ldo) {
    with_packed(x.packed, [&](const auto* columns, auto values) {
        const auto limit = static_cast<std::decay_t<decltype(*columns)>>(x.limit);
        for_each_panel<T, kRowVectors>(n, [&](auto panel, Index c) {
            using P = decltype(panel);
            const bool last = c + P::kColumns >= n;
            sparse_rows_panel<P>(m, columns, values, x.next, limit, last, w + c, ldw, resume,
                                 b ? b + c : nullptr, relu, out + c, ldo);
        });
    });
}

template <class T>
void sparse_update(Index rows, Index n, const SparseColumnEntries<T>& x, const T* delta, Index ldd,
                   const AdamStep<T>& adam, const AdamRows<T>& parameters) {
    for_each_panel<T, kRowVectors>(n, [&](auto panel, Index c) {
        sparse_columns_panel<decltype(panel)>(rows, x, delta + c, ldd, c,
                                              Adam<T>{adam, parameters});
    });
}

template <class T>
void bias_activation(Index m, Index n, const T* b, bool relu, T* out, Index ldo) {
    from_memory(m, n, out, ldo, Activate<T>{b, relu, out, ldo});
}

template <class T>
void relu_mask(Index m, Index k, const T* a, Index lda, T* delta_in, Index ldi) {
    from_memory(m, k, delta_in, ldi, Mask<T>{a, lda, delta_in, ldi});
}

template <class T>
void adam_update(Index rows, Index n, const T* dw, Index lddw, const AdamStep<T>& adam,
                 const AdamRows<T>& parameters) {
    from_memory(rows, n, dw, lddw, Adam<T>{adam, parameters});
}

template <class T>
void transpose(Index rows, Index cols, const T* in, Index ldi, T* out, Index ldo) {
    constexpr Index block = 8;  // rows at once: their columns land side by side in one line
    Index r = 0;
    for (; r + block <= rows; r += block) {
        for (Index c = 0; c < cols; ++c) {
#pragma GCC unroll 8
            for (Index i = 0; i < block; ++i) out[c * ldo + r + i] = in[(r + i) * ldi + c];
        }
    }
    for (; r < rows; ++r) {
        for (Index c = 0; c < cols; ++c) out[c * ldo + r] = in[r * ldi + c];
    }
}

template <class T>
void squared_error_delta(Index n, const T* a, const T* x, T* delta) {
    for (Index c = 0; c < n; c += kLanes<T>) {
        Vector<T> difference = load<Vector<T>>(a + c);
        if (x) difference -= load<Vector<T>>(x + c);
        store(delta + c, T(2) * difference);
    }
}

// The constants of exp: x = k ln 2 + r with |r| <= ln 2 / 2, exp(x) = 2^k exp(r), and exp(r) by its
// Taylor series, whose first term left out is below a tenth of the last bit. ln 2 comes in two
// parts, so that k times the first is exact.
template <class T>
struct Exponential;
template <>
struct Exponential<float> {
    using Bits = std::int32_t;
    static constexpr float smallest = -87.33654f;  // exp of it is the smallest normal number
    static constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr int terms = 7, mantissa = 23, bias = 127;
};
template <>
struct Exponential<double> {
    using Bits = std::int64_t;
    static constexpr double smallest = -708.39641853226408;
    static constexpr double rounder = 6755399441055744.0;
    static constexpr double ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
    static constexpr int terms = 13, mantissa = 52, bias = 1023;
};

template <class T>
SAE_INLINE Vector<T> exponential(Vector<T> x) {
    using E = Exponential<T>;
    typedef typename E::Bits Bits __attribute__((vector_size(SAE_VECTOR_BYTES)));
    const Vector<T> shifted = x * T(1.4426950408889634) + E::rounder;  // k in its last bits
    const Vector<T> k = shifted - E::rounder;
    const Vector<T> r = (x - k * E::ln2_high) - k * E::ln2_low;
    T factorial = 1;
    for (int i = 2; i <= E::terms; ++i) factorial *= T(i);
    Vector<T> sum = Vector<T>{} + 1 / factorial;
#pragma GCC unroll 16
    for (int i = E::terms - 1; i >= 0; --i) {
        factorial /= T(i + 1);
        sum = sum * r + 1 / factorial;
    }
    const Bits exponent = Bits(shifted) - Bits(Vector<T>{} + E::rounder) + E::bias;
    const Vector<T> result = sum * Vector<T>(exponent << E::mantissa);
    return x < E::smallest ? Vector<T>{} : result;  // NaN stays NaN
}

template <class T>
void exp_shifted(Index n, const T* z, T largest, T* p) {
    typedef typename Exponential<T>::Bits Bits __attribute__((vector_size(SAE_VECTOR_BYTES)));
    Bits lane;
    for (Index i = 0; i < kLanes<T>; ++i) lane[i] = i;
    for (Index c = 0; c < n; c += kLanes<T>) {
        const Bits column = lane + static_cast<typename Exponential<T>::Bits>(c);
        const Bits last = Bits{} + static_cast<typename Exponential<T>::Bits>(n);
        const Vector<T> value = exponential<T>(load<Vector<T>>(z + c) - largest);
        store(p + c, column < last ? value : Vector<T>{});
    }
}

// The sum over n elements of f(a, x) in float64, in the same eight sums on every instruction set.
template <class T, class F>
SAE_INLINE double sum_float64(Index n, const T* a, const T* x, const F& f) {
    constexpr Index lanes = 8;
    typedef double Lanes __attribute__((vector_size(8 * lanes)));
    typedef T Row __attribute__((vector_size(sizeof(T) * lanes)));
    Lanes sum = {};
    Index c = 0;
    for (; c + lanes <= n; c += lanes) {
        Row av, xv;
        __builtin_memcpy(&av, a + c, sizeof av);
        __builtin_memcpy(&xv, x + c, sizeof xv);
        sum += f(__builtin_convertvector(av, Lanes), __builtin_convertvector(xv, Lanes));
    }
    for (Index i = 0; c < n; ++c, ++i) {
        sum[i] += f(static_cast<double>(a[c]), static_cast<double>(x[c]));
    }
    double total = 0;
    for (Index i = 0; i < lanes; ++i) total += sum[i];
    return total;
}

template <class T>
double squared_error(Index n, const T* a, const T* x) {
    return sum_float64(n, a, x, [](auto p, auto q) SAE_INLINE_LAMBDA {
        const auto d = p - q;
        return d * d;
    });
}

template <class T>
double dot(Index n, const T* a, const T* x) {
    return sum_float64(n, a, x, [](auto p, auto q) SAE_INLINE_LAMBDA { return p * q; });
}

// Whole vectors from the one with the diagonal on.
template <class T>
void gram(Index m, Index n, const T* h, Index ldh, T* out, Index ldo) {
    for (Index r = 0; r < n; r += kLanes<T>) {
        const Index rows = n - r < kLanes<T> ? n - r : kLanes<T>;
        dense_product(rows, n - r, m, h + r, 1, ldh, h + r, ldh,
                      Mask<T>{nullptr, 0, out + r * ldo + r, ldo});
    }
}

template <class T>
Index multiply_adds(Index rounds, T s, T x, T* out) {
    constexpr int n = 12;
    Vector<T> a[n];
    for (int j = 0; j < n; ++j) a[j] = Vector<T>{} + T(j);  // equal ones would be computed once
    for (Index i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
        for (int j = 0; j < n; ++j) a[j] = a[j] * s + x;
    }
    Vector<T> sum = {};
    for (int j = 0; j < n; ++j) sum += a[j];
    store(out, sum);
    return 2 * n * kLanes<T> * rounds;
}

template <class T>
inline constexpr Kernels<T> kTable = {
    dense_forward<T>,
    dense_backward<T>,
    dense_update<T>,
    sparse_forward<T>,
    sparse_update<T>,
    bias_activation<T>,
    relu_mask<T>,
    adam_update<T>,
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
