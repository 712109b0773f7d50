// SPDX-License-Identifier: BSD-3-Clause
// Random bits, and normal numbers made of them. Bits are those of Philox4x32-10 (Salmon, Moraes,
// Dror and Shaw 2011): a function of key and counter, the same on every instruction set.

// The products of the low halves of 64-bit lanes.
template <class V>
SAE_INLINE V low_product(V a, V b) {
#if defined(__AVX512F__)
    // the zero-masked form: the plain one trips GCC's warning about uninitialized values
    if constexpr (sizeof(V) == 64)
        return V(_mm512_maskz_mul_epu32(__mmask8(-1), __m512i(a), __m512i(b)));
#endif
#if defined(__AVX2__)
    if constexpr (sizeof(V) == 32) return V(_mm256_mul_epu32(__m256i(a), __m256i(b)));
#endif
#if defined(__SSE2__)
    if constexpr (sizeof(V) == 16) return V(_mm_mul_epu32(__m128i(a), __m128i(b)));
#endif
    return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
}

// A group is eight blocks of four words each, word 0 and 1 of them all before words 2 and 3, so
// that vectors of any width write it as it comes.
inline void random_groups(Index n, const PhiloxCounter& counter, std::uint64_t key, void* out) {
    using V = Bits<double>;
    constexpr Index lanes = kLanes<double>, vectors = 8 / lanes;
    auto* to = static_cast<unsigned char*>(out);
    V lane;
    for (Index i = 0; i < lanes; ++i) lane[i] = static_cast<std::uint64_t>(i);
    for (Index group = 0; group < n; ++group, to += 128) {
        V c0[vectors], c1[vectors], c2[vectors], c3[vectors];
#pragma GCC unroll 4
        for (Index v = 0; v < vectors; ++v) {
            c0[v] = lane + (counter[0] + static_cast<std::uint64_t>(8 * group + v * lanes));
            c1[v] = V{} + counter[1], c2[v] = V{} + counter[2], c3[v] = V{} + counter[3];
        }
        std::uint32_t k0 = static_cast<std::uint32_t>(key),
                      k1 = static_cast<std::uint32_t>(key >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
#pragma GCC unroll 4
            for (Index v = 0; v < vectors; ++v) {
                const V a = low_product(c0[v], V{} + 0xD2511F53);
                const V b = low_product(c2[v], V{} + 0xCD9E8D57);
                c0[v] = (b >> 32) ^ c1[v] ^ k0, c1[v] = b;  // of which the low half counts
                c2[v] = (a >> 32) ^ c3[v] ^ k1, c3[v] = a;
            }
        }
#pragma GCC unroll 4
        for (Index v = 0; v < vectors; ++v) {
            store(to + 8 * v * lanes, (c0[v] & 0xFFFFFFFF) | (c1[v] << 32));
            store(to + 64 + 8 * v * lanes, (c2[v] & 0xFFFFFFFF) | (c3[v] << 32));
        }
    }
}

// Two independent normal numbers of each two words, by Box and Muller (1958): of each group's 32
// words the first sixteen say how far from zero, the others in what direction.
template <class T>
void normals(Index n_groups, const std::uint32_t* bits, T* out) {
    constexpr Index lanes = kLanes<T>;
    using Words = typename VectorOf<std::uint32_t, 4 * lanes>::type;
    using Integers = typename VectorOf<std::int32_t, 4 * lanes>::type;
    const auto words = [](const std::uint32_t* from)
                           SAE_INLINE_LAMBDA { return load<Words>(from); };
    for (Index v = 0; v < 32 * n_groups; v += v % 16 + lanes < 16 ? lanes : 16 + lanes) {
        const Vector<T> share =
            __builtin_convertvector(Integers(words(bits + v) >> 1), Vector<T>) * T(0x1p-31);
        const Vector<T> length = square_root(T(-2) * logarithm<T>(share + T(0x1p-32)));
        // four quarters of a turn, and the angle beyond the nearest, up to an eighth either way
        const Vector<T> turn =
            __builtin_convertvector(Integers(words(bits + v + 16)), Vector<T>) * T(0x1p-30);
        const Vector<T> shifted = turn + Exponential<T>::rounder;
        const Vector<T> angle =
            (turn - (shifted - Exponential<T>::rounder)) * T(1.5707963267948966);
        const Vector<T> square = angle * angle;
        Vector<T> cosine = constant<Vector<T>>(1), sine = constant<Vector<T>>(1);
#pragma GCC unroll 16
        for (int i = 2 * (sizeof(T) == 4 ? 4 : 8); i > 0; i -= 2) {
            cosine = 1 - cosine * square * T(1.0 / (i * (i - 1)));
            sine = 1 - sine * square * T(1.0 / (i * (i + 1)));
        }
        sine *= angle;
        const Bits<T> quarter = Bits<T>(shifted);
        const auto odd = (quarter & 1) != 0;
        constexpr int to_sign = 8 * sizeof(T) - 2;
        const Vector<T> x = odd ? sine : cosine, y = odd ? cosine : sine;
        store(out + v, length * Vector<T>(Bits<T>(x) ^ (((quarter + 1) & 2) << to_sign)));
        store(out + v + 16, length * Vector<T>(Bits<T>(y) ^ ((quarter & 2) << to_sign)));
    }
}
