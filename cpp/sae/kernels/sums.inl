// SPDX-License-Identifier: BSD-3-Clause
// Sums and rearrangements that no layer's product needs.

// a[i], b[i], a[i + 1], b[i + 1] and so on, of eight lanes each.
template <class T, int i, class Row>
SAE_INLINE Row interleave(Row a, Row b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, i, i + 8, i + 1, i + 9, i + 2, i + 10, i + 3, i + 11);
#else
    typedef std::decay_t<decltype(Bits<T>{}[0])> Place;
    typedef Place Places __attribute__((vector_size(8 * sizeof(T))));
    return __builtin_shuffle(a, b, Places{i, i + 8, i + 1, i + 9, i + 2, i + 10, i + 3, i + 11});
#endif
}

// out (8, 8) = in (8, 8)^T: interleaving the rows of the upper half with those of the lower one
// puts the places of all elements, by row and column in binary, one digit further; three times
// that is the transpose.
template <class T>
SAE_INLINE void transpose_block(const T* in, Index ldi, T* out, Index ldo) {
    constexpr int n = 8;
    typedef T Row __attribute__((vector_size(n * sizeof(T))));
    Row rows[n];
#pragma GCC unroll 8
    for (int i = 0; i < n; ++i) rows[i] = load<Row>(in + i * ldi);
#pragma GCC unroll 3
    for (int round = 0; round < 3; ++round) {
        Row next[n];
#pragma GCC unroll 4
        for (int i = 0; i < n / 2; ++i) {
            next[2 * i] = interleave<T, 0>(rows[i], rows[i + n / 2]);
            next[2 * i + 1] = interleave<T, n / 2>(rows[i], rows[i + n / 2]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < n; ++i) rows[i] = next[i];
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; ++i) store(out + i * ldo, rows[i]);
}

template <class T>
void transpose(View<const T> from, View<T> to) {
    constexpr Index block = 8;
    const auto [in, rows, cols, ldi] = from;
    T* const out = to.data;
    const Index ldo = to.ld;
    constexpr bool blocks = block * sizeof(T) <= SAE_VECTOR_BYTES;  // of whole registers
    const Index whole_rows = blocks ? rows / block * block : 0;
    const Index whole_cols = blocks ? cols / block * block : 0;
    for (Index r = 0; r < whole_rows; r += block) {
        for (Index c = 0; c < whole_cols; c += block) {
            transpose_block(in + r * ldi + c, ldi, out + c * ldo + r, ldo);
        }
    }
    for (Index r = 0; r < rows; ++r) {
        for (Index c = r < whole_rows ? whole_cols : 0; c < cols; ++c) {
            out[c * ldo + r] = in[r * ldi + c];
        }
    }
}

// The number whose place among all numbers, by size, is this: nearly its own bits.
template <class T, class Place>
T number_at(Place place) {
    constexpr Place smallest = std::numeric_limits<Place>::min();
    if (place < 0) place = smallest - place - 1;  // the sign, and what is left in reverse
    T number;
    __builtin_memcpy(&number, &place, sizeof number);
    return number;
}

// How many are t or larger, or NaN.
template <class Place, class T>
Place count_from(T t, Index n, const T* a) {
    Place count = 0;
    for (Index j = 0; j < n; ++j) count += !(a[j] < t);
    return count;
}

// The k-th largest is found by halving the numbers from -inf to inf: some twenty passes over a row,
// each in whole vectors.
template <class T>
void keep_largest(Index k, View<T> a) {
    using Place = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    constexpr T infinity = std::numeric_limits<T>::infinity();
    Place end;
    __builtin_memcpy(&end, &infinity, sizeof end);
    for (Index r = 0; r < a.rows; ++r) {
        T* const row = a.row(r);
        Place low = -end - 1, high = end + 1;
        for (Place count = 0; count != k && low + 1 < high;) {
            const Place middle = (low & high) + ((low ^ high) >> 1);  // without overflow
            count = count_from<Place>(number_at<T>(middle), a.cols, row);
            (count < k ? high : low) = middle;
        }
        const T t = number_at<T>(low);
        Place ties = static_cast<Place>(k);
        for (Index j = 0; j < a.cols; ++j) ties -= !(row[j] <= t);
        for (Index j = 0; j < a.cols; ++j) {
            if (row[j] < t || (row[j] == t && ties-- <= 0)) row[j] = 0;
        }
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

// The sum over n elements of f(a, x), which is computed in T and left in a.
template <class T, class F>
SAE_INLINE double sum_terms(Index n, T* a, const T* x, const F& f) {
    for (Index c = 0; c < n; c += kLanes<T>) {
        const Vector<T> term = f(load<Vector<T>>(a + c), load<Vector<T>>(x + c));
        store(a + c, first_lanes<T>(term, n - c));
    }
    return sum_float64(n, a, x, [](auto p, auto) SAE_INLINE_LAMBDA { return p; });
}

template <class T>
double dot(Index n, const T* a, const T* x) {
    return sum_float64(n, a, x, [](auto p, auto q) SAE_INLINE_LAMBDA { return p * q; });
}

// Whole vectors from the one with the diagonal on.
template <class T>
void gram(View<const T> h, View<T> out) {
    const Index n = h.cols;
    for (Index r = 0; r < n; r += kLanes<T>) {
        const Index rows = n - r < kLanes<T> ? n - r : kLanes<T>;
        const T* from = h.data + r;
        dense_product(rows, n - r, h.rows, from, 1, h.ld, from, h.ld, Store<T>{&out(r, r), out.ld});
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
