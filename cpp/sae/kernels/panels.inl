// SPDX-License-Identifier: BSD-3-Clause
// Panels: columns side by side, whose sums stay in registers.

template <class T>
inline constexpr Index kLine = kAlignment / static_cast<Index>(sizeof(T));

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
        const Vector<T> x = s - Vector<T>{};  // all lanes by one load; -0 stays what it is
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) full[j] += x * load<Vector<T>>(p + j * kLanes<T>);
        if constexpr (H) half += lower_half<T>(x) * load<HalfVector<T>>(p + N * kLanes<T>);
    }
    SAE_INLINE void multiply_add(T s, const Panel& x) {
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) full[j] += s * x.full[j];
        if constexpr (H) half += s * x.half;
    }
    template <class Epilogue>
    SAE_INLINE static void ask(Epilogue epilogue, Index r, Index c) {
#pragma GCC unroll 32
        for (Index j = 0; j < kColumns; j += kLine<T>) epilogue.ask(r, c + j);
    }
    template <class Epilogue>
    SAE_INLINE void finish(Epilogue epilogue, Index r, Index c) const {
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) epilogue(r, c + j * kLanes<T>, full[j]);
        if constexpr (H) epilogue(r, c + N * kLanes<T>, half);
    }
};

inline constexpr int kRegisters = SAE_VECTOR_BYTES == 64 ? 32 : 16;
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
