// SPDX-License-Identifier: BSD-3-Clause
// Products: a source (dense tile, sparse rows, sparse columns, memory) that ends in an epilogue
// while its sums are still in registers.

// Vectors that a single row takes at once, as many as the registers hold beside the operands: 13 of
// 16.
inline constexpr int kRowVectors = 13;

// R rows of a panel of a b, a's element (r, p) being a[r * rs + p * cs].
template <int R, class P, class T, class Epilogue>
SAE_INLINE void dense_tile(Index k, const T* a, Index rs, Index cs, const T* b, Index ldb, Index r0,
                           Index c0, Epilogue epilogue) {
    P sum[R];
    for (Index p = 0; p < k; ++p) {
        if (p < R) P::ask(epilogue, r0 + p, c0);
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
// room for the operands in 16 registers; where there are 32, more of them read each row of b less
// often.
template <class T, class Epilogue>
SAE_INLINE void dense_product(Index m, Index n, Index k, const T* a, Index rs, Index cs, const T* b,
                              Index ldb, Epilogue epilogue) {
    for_each_panel<T, 3>(n, [&](auto panel, Index c) {
        using P = decltype(panel);
        constexpr int one = kRegisters == 32 ? 12 : 8, two = kRegisters == 32 ? 12 : 6,
                      three = kRegisters == 32 ? 9 : 4;
        constexpr int R = P::kFull == 3 ? three : P::kFull == 2 ? two : one;
        dense_panel<R, P>(0, m, k, a, rs, cs, b + c, ldb, c, epilogue);
    });
}

// For each of m sparse rows a panel of the sum over its non-zeros of value * w[column], on top of
// what is in `out` or, if not `resume`, of zero; `last`: of the panels, so that lists may be left
// where they stop.
template <class P, class T, class Column, class Epilogue>
void sparse_rows_panel(Index m, const ListedRows<T, Column>& x, Index* start, Range within,
                       bool last, const T* w, Index ldw, bool resume, const T* out, Index ldo,
                       Index c0, Epilogue epilogue) {
    const auto [columns, values] = x;
    const auto limit = static_cast<Column>(within.end);
    for (Index r = 0; r < m; ++r) {
        if (r + 1 < m) {  // no processor foresees where a row stops, nor fetches the next by itself
            __builtin_prefetch(columns + start[r + 1]);
            __builtin_prefetch(values + start[r + 1]);
        }
        P sum;
        if (resume) sum.read(out + r * ldo + c0);
        Index at = start[r];
        for (; columns[at] < limit; ++at) sum.multiply_add(values[at], w + columns[at] * ldw);
        if (last) start[r] = at;
        sum.finish(epilogue, r, c0);
    }
}

// The same of rows of bytes.
template <class P, class T, class Epilogue>
void sparse_rows_panel(Index m, const ByteRows<T>& x, const Index* start, Range within, bool,
                       const T* w, Index ldw, bool resume, const T* out, Index ldo, Index c0,
                       Epilogue epilogue) {
    for (Index r = 0; r < m; ++r) {
        if (r + 1 < m) {
            __builtin_prefetch(x.bytes + start[r + 1] + within.begin);
            __builtin_prefetch(x.bytes + start[r + 1] + within.begin + 64);
        }
        P sum;
        if (resume) sum.read(out + r * ldo + c0);
        for (Index j = within.begin; j < within.end; j += 64) {
            const std::uint8_t* const bytes = x.bytes + start[r] + j;
            const T* const rows = w + j * ldw;
            for_each_bit(x.bits[(start[r] + j) / 64], [&](Index k) SAE_INLINE_LAMBDA {
                sum.multiply_add(x.table[bytes[k]], rows + k * ldw);
            });
        }
        sum.finish(epilogue, r, c0);
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

// The same of columns of bytes.
template <class P, class T, class Epilogue>
void byte_columns_panel(Index m, const SparseColumnEntries<T>& x, const T* delta, Index ldd,
                        Index c0, Epilogue epilogue) {
    const std::uint64_t* bits = x.bits;
    for (Index r = 0; r < m; ++r) {
        P sum;
        for (Index i = 0; i < x.ld; i += 64) {
            const std::uint8_t* const bytes = x.bytes + r * x.ld + i;
            const T* const rows = delta + i * ldd;
            for_each_bit(*bits++, [&](Index k) SAE_INLINE_LAMBDA {
                sum.multiply_add(x.table[bytes[k]], rows + k * ldd);
            });
        }
        sum.finish(epilogue, r, c0);
    }
}

// Calls the panels of all columns of delta.
template <class T, class Epilogue>
SAE_INLINE void sparse_columns_product(Index m, const SparseColumnEntries<T>& x,
                                       View<const T> delta, Epilogue epilogue) {
    for_each_panel<T, kRowVectors>(delta.cols, [&](auto panel, Index c) {
        using P = decltype(panel);
        if (x.bytes) {
            byte_columns_panel<P>(m, x, delta.data + c, delta.ld, c, epilogue);
        } else {
            sparse_columns_panel<P>(m, x, delta.data + c, delta.ld, c, epilogue);
        }
    });
}

// What lies in memory, as if it were sums; lanes past the n-th column too.
template <class T, class Epilogue>
SAE_INLINE void from_memory(View<const T> in, Epilogue epilogue) {
    for (Index r = 0; r < in.rows; ++r) {
        for (Index c = 0; c < in.cols; c += kLanes<T>) epilogue(r, c, load<Vector<T>>(&in(r, c)));
    }
}
