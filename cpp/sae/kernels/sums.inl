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

#if defined(__AVX512F__)
// By an instruction that some processors with AVX-512 lack.
__attribute__((target("avx512vbmi2"))) inline void expand_by_instruction(Index n,
                                                                         const std::uint64_t* bits,
                                                                         const std::uint8_t* values,
                                                                         std::uint8_t* bytes) {
    for (Index i = 0; i < n; i += 64) {
        const std::uint64_t found = bits[i / 64];
        const __m512i placed = _mm512_maskz_expand_epi8(found, _mm512_loadu_si512(values));
        _mm512_storeu_si512(bytes + i, placed);
        values += __builtin_popcountll(found);
    }
}
#endif

#if defined(__AVX2__)
// For eight bits, which of eight bytes in order goes to the place of each, or none where it is not
// set, as the instruction for permutations reads them.
struct Places {
    alignas(kAlignment) std::uint8_t of[256][8];

    constexpr Places() : of() {
        for (int bits = 0; bits < 256; ++bits) {
            std::uint8_t next = 0;
            for (int i = 0; i < 8; ++i) of[bits][i] = bits >> i & 1 ? next++ : std::uint8_t{0x80};
        }
    }
};
inline constexpr Places kPlaces;
#endif

// 64 bytes; returns where the next values are.
SAE_INLINE const std::uint8_t* expand_part(std::uint64_t found, const std::uint8_t* values,
                                           std::uint8_t* bytes) {
#if defined(__AVX2__)
    // how many bits of each eight are set, and of all those before
    std::uint64_t counts = found - (found >> 1 & 0x5555555555555555);
    counts = (counts & 0x3333333333333333) + (counts >> 2 & 0x3333333333333333);
    counts = (counts + (counts >> 4)) & 0x0F0F0F0F0F0F0F0F;
    const std::uint64_t ends = counts * 0x0101010101010101;
    const auto eight = [](const std::uint8_t* p) SAE_INLINE_LAMBDA {
        return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    };
#pragma GCC unroll 8
    for (int i = 0; i < 64; i += 8) {
        const __m128i own = eight(values + ((ends - counts) >> i & 0xFF));
        const __m128i placed = _mm_shuffle_epi8(own, eight(kPlaces.of[found >> i & 0xFF]));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(bytes + i), placed);
    }
    return values + (ends >> 56);
#else
    __builtin_memset(bytes, 0, 64);
    for_each_bit(found, [&](Index k) { bytes[k] = *values++; });
    return values;
#endif
}

template <class T>
void expand_bytes(Index n, const std::uint64_t* bits, const std::uint8_t* values,
                  std::uint8_t* bytes) {
#if defined(__AVX512F__)
    static const bool has_instruction = __builtin_cpu_supports("avx512vbmi2");
    if (has_instruction) return expand_by_instruction(n, bits, values, bytes);
#endif
    for (Index i = 0; i < n; i += 64) values = expand_part(bits[i / 64], values, bytes + i);
}

// Blocks of eight bytes by eight, as many side by side as a register holds: eight rows, whose
// halves, quarters and single bytes change places in turn.
template <class T>
void transpose_bytes(const ByteRows<T>& x, const Index* start, Index rows, Index column,
                     std::uint8_t* out, std::uint64_t* bits, Index ld) {
    using Lanes = Bits<double>;
    constexpr Index block = 8, columns = 64, width = SAE_VECTOR_BYTES;
    const auto exchange = [](Lanes& a, Lanes& b, int shift, std::uint64_t low) SAE_INLINE_LAMBDA {
        const Lanes changed = ((a >> shift) ^ b) & low;
        b ^= changed;
        a ^= changed << shift;
    };
    alignas(kAlignment) static constexpr std::uint8_t none[columns] = {};
    for (Index r = 0; r < rows; r += block) {
        const std::uint8_t* from[block];
        for (Index i = 0; i < block; ++i) {
            from[i] = r + i < rows ? x.bytes + start[r + i] + column : none;
        }
#pragma GCC unroll 4
        for (Index c = 0; c < columns; c += width) {
            Lanes a[block];
#pragma GCC unroll 8
            for (Index i = 0; i < block; ++i) a[i] = load<Lanes>(from[i] + c);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) exchange(a[i], a[i + 4], 32, 0x00000000FFFFFFFF);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                const int at = i / 2 * 4 + i % 2;
                exchange(a[at], a[at + 2], 16, 0x0000FFFF0000FFFF);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) exchange(a[2 * i], a[2 * i + 1], 8, 0x00FF00FF00FF00FF);
            std::uint8_t* const to = out + c * ld + r;
#pragma GCC unroll 8
            for (Index l = 0; l < width / block; ++l) {
#pragma GCC unroll 8
                for (Index i = 0; i < block; ++i) {
                    store(to + (l * block + i) * ld, static_cast<std::uint64_t>(a[i][l]));
                }
            }
        }
    }
    for (Index i = 0; i < columns * ld / 64; ++i) bits[i] = nonzero_bits(out + 64 * i);
    const std::uint64_t last = ~std::uint64_t{0} >> (ld - rows) % 64;
    for (Index i = ld / 64 - 1; i < columns * ld / 64; i += ld / 64) bits[i] &= last;
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
