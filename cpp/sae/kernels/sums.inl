// SPDX-License-Identifier: BSD-3-Clause
// Sums and rearrangements that no layer's product needs.

template <class T>
void transpose(View<const T> from, View<T> to) {
    const auto [in, rows, cols, ldi] = from;
    T* const out = to.data;
    const Index ldo = to.ld;
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
