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

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(SAE_VECTOR_BYTES)));
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
inline constexpr Index kLanes = SAE_VECTOR_BYTES / static_cast<Index>(sizeof(T));

template <class T>
SAE_INLINE Vector<T> load(const T* p) {
    Vector<T> x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}

template <class T>
SAE_INLINE void store(T* p, const Vector<T>& x) {
    __builtin_memcpy(p, &x, sizeof x);
}

// Lane by lane, unless the instruction set names the vector instruction.
template <class V>
SAE_INLINE V square_root(V x) {
#if SAE_VECTOR_BYTES == 64 && defined(__AVX512F__)
    // the zero-masked forms: the plain ones trip GCC's warning about uninitialized values
    if constexpr (sizeof(x[0]) == 4)
        return V(_mm512_maskz_sqrt_ps(__mmask16(-1), __m512(x)));
    else
        return V(_mm512_maskz_sqrt_pd(__mmask8(-1), __m512d(x)));
#elif SAE_VECTOR_BYTES == 32 && defined(__AVX__)
    if constexpr (sizeof(x[0]) == 4)
        return V(_mm256_sqrt_ps(__m256(x)));
    else
        return V(_mm256_sqrt_pd(__m256d(x)));
#elif SAE_VECTOR_BYTES == 16 && defined(__SSE2__)
    if constexpr (sizeof(x[0]) == 4)
        return V(_mm_sqrt_ps(__m128(x)));
    else
        return V(_mm_sqrt_pd(__m128d(x)));
#else
    for (unsigned i = 0; i < sizeof(x) / sizeof(x[0]); ++i) x[i] = std::sqrt(x[i]);
    return x;
#endif
}

// ---- epilogues: what becomes of the sums of row r, columns c … c + lanes ----

template <class T>
struct Activate {
    const T* b;
    bool relu;
    T* out;
    Index ldo;

    SAE_INLINE void operator()(Index r, Index c, Vector<T> z) const {
        z += load(b + c);
        // NaN stays NaN, so that divergence is seen
        if (relu) z = z < T(0) ? Vector<T>{} : z;
        store(out + r * ldo + c, z);
    }
};

template <class T>
struct Mask {
    const T* a;  // the activations whose ReLU this goes back through, or null
    Index lda;
    T* out;
    Index ldo;

    SAE_INLINE void operator()(Index r, Index c, Vector<T> sum) const {
        if (a) sum = load(a + r * lda + c) > T(0) ? sum : Vector<T>{};
        store(out + r * ldo + c, sum);
    }
};

template <class T>
struct Adam {
    // by value, like the epilogues themselves: behind a reference, every store to w, m or v would
    // make the compiler read all of this again
    AdamStep<T> step;
    AdamRows<T> rows;

    SAE_INLINE void operator()(Index r, Index c, Vector<T> dw) const {
        const Index at = r * rows.ld + c;
        Vector<T> w = load(rows.w + at);
        Vector<T> m = load(rows.m + at);
        Vector<T> v = load(rows.v + at);
        dw += step.weight_decay * w;
        m += step.one_minus_beta1 * (dw - m);
        v += step.one_minus_beta2 * (dw * dw - v);
        w -= step.step_size * m / (square_root(v) * step.sqrt_v_scale + step.epsilon);
        store(rows.w + at, w);
        store(rows.m + at, m);
        store(rows.v + at, v);
    }
};

// ---- sources ----

// R rows and N vectors of a b, a's element (r, p) being a[r * rs + p * cs].
template <int R, int N, class T, class Epilogue>
SAE_INLINE void dense_tile(Index k, const T* a, Index rs, Index cs, const T* b, Index ldb, Index r0,
                           Index c0, Epilogue epilogue) {
    Vector<T> sum[R][N] = {};
    for (Index p = 0; p < k; ++p) {
        Vector<T> bv[N];
#pragma GCC unroll 16
        for (int j = 0; j < N; ++j) bv[j] = load(b + p * ldb + j * kLanes<T>);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const T s = a[r * rs + p * cs];
#pragma GCC unroll 16
            for (int j = 0; j < N; ++j) sum[r][j] += s * bv[j];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
        for (int j = 0; j < N; ++j) epilogue(r0 + r, c0 + j * kLanes<T>, sum[r][j]);
    }
}

// All rows of one panel of N vectors: R at a time, then the rest with one smaller tile.
template <int R, int N, class T, class Epilogue>
void dense_panel(Index r0, Index m, Index k, const T* a, Index rs, Index cs, const T* b, Index ldb,
                 Index c0, Epilogue epilogue) {
    for (; m - r0 >= R; r0 += R) {
        dense_tile<R, N>(k, a + r0 * rs, rs, cs, b, ldb, r0, c0, epilogue);
    }
    if constexpr (R > 1) {
        if (r0 < m) dense_panel<R - 1, N>(r0, m, k, a, rs, cs, b, ldb, c0, epilogue);
    }
}

// (m, n) = a (m, k) b (k, n). Twelve sums in flight hide the latency of a multiply-add and leave
// room for the operands in 16 registers.
template <class T, class Epilogue>
SAE_INLINE void dense_product(Index m, Index n, Index k, const T* a, Index rs, Index cs, const T* b,
                              Index ldb, Epilogue epilogue) {
    Index left = (n + kLanes<T> - 1) / kLanes<T>;
    for (Index c = 0; left > 0;) {
        const Index take = left >= 3 && left != 4 ? 3 : left >= 2 ? 2 : 1;
        if (take == 3) dense_panel<4, 3>(0, m, k, a, rs, cs, b + c, ldb, c, epilogue);
        if (take == 2) dense_panel<6, 2>(0, m, k, a, rs, cs, b + c, ldb, c, epilogue);
        if (take == 1) dense_panel<8, 1>(0, m, k, a, rs, cs, b + c, ldb, c, epilogue);
        c += take * kLanes<T>;
        left -= take;
    }
}

// Adds s * row to N vectors of sums.
template <int N, class T>
SAE_INLINE void multiply_add(Vector<T> (&sum)[N], T s, const T* row) {
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) sum[j] += s * load(row + j * kLanes<T>);
}

// For each of m sparse rows N vectors of the sum over its non-zeros of value * w[column], on top of
// what is in `out` or, if not `resume`, of zero; `advance`: leave next[r] where the row stops.
template <int N, class T, class Column, class Values>
void sparse_rows_panel(Index m, const Column* columns, Values values, Index* next, Column limit,
                       bool advance, const T* w, Index ldw, bool resume, const T* b, bool relu,
                       T* out, Index ldo) {
    for (Index r = 0; r < m; ++r) {
        T* row = out + r * ldo;
        Vector<T> sum[N] = {};
        if (resume) {
#pragma GCC unroll 32
            for (int j = 0; j < N; ++j) sum[j] = load(row + j * kLanes<T>);
        }
        Index at = next[r];
        for (; columns[at] < limit; ++at) {
            multiply_add<N>(sum, static_cast<T>(values[at]), w + columns[at] * ldw);
        }
        if (advance) next[r] = at;
        if (b) {
            const Activate<T> activate{b, relu, row, 0};
#pragma GCC unroll 32
            for (int j = 0; j < N; ++j) activate(0, j * kLanes<T>, sum[j]);
        } else {
#pragma GCC unroll 32
            for (int j = 0; j < N; ++j) store(row + j * kLanes<T>, sum[j]);
        }
    }
}

// For each of m sparse columns N vectors of the sum over its entries of value * delta[index].
template <int N, class T, class Epilogue>
void sparse_columns_panel(Index m, const SparseColumnEntries<T>& x, const T* delta, Index ldd,
                          Index c0, Epilogue epilogue) {
    for (Index r = 0; r < m; ++r) {
        const Entry<T>* entry = x.entries + x.ends[2 * r];
        const Entry<T>* end = x.entries + x.ends[2 * r + 1];
        Vector<T> sum[N] = {};
        for (; entry != end; ++entry) {
            multiply_add<N>(sum, entry->value, delta + static_cast<Index>(entry->row) * ldd);
        }
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) epilogue(r, c0 + j * kLanes<T>, sum[j]);
    }
}

// As many vectors at once as the registers hold beside the operands: 13 of 16.
inline constexpr int kSparseVectors = 13;

// Calls f(number of vectors as a type, first column, whether these are the last) for panels of n
// columns.
template <int N, class F>
SAE_INLINE void last_panel(Index left, Index c, F&& f) {
    if (left == N) {
        f(std::integral_constant<int, N>{}, c, true);
    } else if constexpr (N > 1) {
        last_panel<N - 1>(left, c, f);
    }
}

template <class T, class F>
SAE_INLINE void for_each_panel(Index n, F&& f) {
    Index left = (n + kLanes<T> - 1) / kLanes<T>;
    Index c = 0;
    for (; left > kSparseVectors; left -= kSparseVectors, c += kSparseVectors * kLanes<T>) {
        f(std::integral_constant<int, kSparseVectors>{}, c, false);
    }
    last_panel<kSparseVectors>(left, c, f);
}

template <class T, class Epilogue>
SAE_INLINE void from_memory(Index m, Index n, const T* in, Index ldi, Epilogue epilogue) {
    for (Index r = 0; r < m; ++r) {
        for (Index c = 0; c < n; c += kLanes<T>) epilogue(r, c, load(in + r * ldi + c));
    }
}

// ---- the table ----

template <class T>
void dense_forward(Index m, Index n, Index k, const T* x, Index ldx, const T* w, Index ldw,
                   const T* b, bool relu, T* out, Index ldo) {
    dense_product(m, n, k, x, ldx, 1, w, ldw, Activate<T>{b, relu, out, ldo});
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
        using Column = std::decay_t<decltype(*columns)>;
        for_each_panel<T>(n, [&](auto vectors, Index c, bool last) {
            sparse_rows_panel<decltype(vectors)::value>(
                m, columns, values, x.next, static_cast<Column>(x.limit), last, w + c, ldw, resume,
                b ? b + c : nullptr, relu, out + c, ldo);
        });
    });
}

template <class T>
void sparse_update(Index rows, Index n, const SparseColumnEntries<T>& x, const T* delta, Index ldd,
                   const AdamStep<T>& adam, const AdamRows<T>& parameters) {
    for_each_panel<T>(n, [&](auto vectors, Index c, bool) {
        constexpr int N = decltype(vectors)::value;
        sparse_columns_panel<N>(rows, x, delta + c, ldd, c, Adam<T>{adam, parameters});
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
        const Vector<T> difference = x ? load(a + c) - load(x + c) : load(a + c);
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
        const Vector<T> value = exponential<T>(load(z + c) - largest);
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
};

}  // namespace

template <class T>
const Kernels<T>& table() {
    return kTable<T>;
}
template const Kernels<float>& table<float>();
template const Kernels<double>& table<double>();

}  // namespace sae::SAE_ISA
