// SPDX-License-Identifier: BSD-3-Clause
// Row-major matrices by pointer, and the padding that every matrix of our own has: rows start on a
// 64-byte boundary and the columns past the last are zero, so that kernels never need a tail loop.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sae {

using Index = std::ptrdiff_t;

inline constexpr Index kAlignment = 64;  // bytes: a cache line, and the widest vector

// Consecutive numbers, of rows or columns.
struct Range {
    Index begin, end;

    Index count() const { return end - begin; }
};

template <class T>
struct View {
    T* data = nullptr;
    Index rows = 0;
    Index cols = 0;
    Index ld = 0;  // elements from one row to the next

    T* row(Index i) const { return data + i * ld; }
    T& operator()(Index i, Index j) const { return data[i * ld + j]; }
    View part(Range some) const { return {row(some.begin), some.count(), cols, ld}; }
    View columns(Range some) const { return {data + some.begin, rows, some.count(), ld}; }
    operator View<const T>() const { return {data, rows, cols, ld}; }
};

// Elements from row to row: an odd number of cache lines, so that the rows of a column panel spread
// over all sets of the cache instead of falling into a few (powers of two would).
template <class T>
constexpr Index padded(Index cols) {
    constexpr Index line = kAlignment / static_cast<Index>(sizeof(T));
    const Index lines = (cols + line - 1) / line;
    return (lines | 1) * line;
}

}  // namespace sae
