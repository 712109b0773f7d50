// SPDX-License-Identifier: BSD-3-Clause
// The compiler's vector types, as wide as the instruction set's registers, and what it lacks for
// them.

template <class T, Index bytes>
struct VectorOf {
    typedef T type __attribute__((vector_size(bytes)));
};
template <class T>
using Vector = typename VectorOf<T, SAE_VECTOR_BYTES>::type;
template <class T>
using HalfVector = typename VectorOf<T, SAE_VECTOR_BYTES / 2>::type;

// The bits of each lane, unsigned: arithmetic with them may wrap around.
template <class T>
using Bits = typename VectorOf<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>,
                               SAE_VECTOR_BYTES>::type;

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

template <class T>
SAE_INLINE HalfVector<T> lower_half(const Vector<T>& x) {
    return load<HalfVector<T>>(reinterpret_cast<const T*>(&x));
}

// x in the first n lanes, zero in the others.
template <class T>
SAE_INLINE Vector<T> first_lanes(Vector<T> x, Index n) {
    Vector<T> lane;
    for (Index i = 0; i < kLanes<T>; ++i) lane[i] = static_cast<T>(i);
    return lane < Vector<T>{} + static_cast<T>(n) ? x : Vector<T>{};
}

template <class V>
SAE_INLINE V constant(double x) {
    return V{} + static_cast<std::decay_t<decltype(V{}[0])>>(x);
}

// 1 above zero, -1 below, and 0 at it.
template <class V>
SAE_INLINE V sign(V x) {
    return x > V{} ? constant<V>(1) : x < V{} ? constant<V>(-1) : V{};
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

// Which of 64 bytes are not zero.
SAE_INLINE std::uint64_t nonzero_bits(const std::uint8_t* p) {
#if defined(__AVX512BW__)
    const __m512i x = _mm512_loadu_si512(p);
    return _mm512_test_epi8_mask(x, x);
#elif defined(__AVX2__)
    const auto zeros = [&](Index at) -> std::uint64_t {
        const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + at));
        const __m256i equal = _mm256_cmpeq_epi8(x, _mm256_setzero_si256());
        return static_cast<std::uint32_t>(_mm256_movemask_epi8(equal));
    };
    return ~(zeros(0) | zeros(32) << 32);
#else
    std::uint64_t found = 0;
    for (Index i = 0; i < 64; i += 8) {
        constexpr std::uint64_t low = 0x7F7F7F7F7F7F7F7F;
        auto bytes = load<std::uint64_t>(p + i);
        bytes = (((bytes & low) + low) | bytes) & ~low;  // the highest bit of those that are not
        found |= (bytes >> 7) * 0x0102040810204080 >> 56 << i;  // gathered from all eight
    }
    return found;
#endif
}
