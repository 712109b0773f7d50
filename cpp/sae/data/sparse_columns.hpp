// SPDX-License-Identifier: BSD-3-Clause
// The columns of a batch, as the first layer's gradient needs them: some at a time, used up before
// the next are made. Rows that are lists are sorted by column, rows of bytes transposed. In each
// column the samples keep their order.
#pragma once

#include "sae/data/batch.hpp"

namespace sae {

// Columns of a batch that can always be sorted at once, however many its rows.
inline constexpr Index kFewestColumns = 32;  // half of those that are transposed at once

// Entries of a sample in a block of columns that are worth another visit to it.
inline constexpr double kBlockEntries = 4;

// How many of n_features columns hold so many entries of a sample, on the average.
Index columns_of(double entries, double density, Index n_features);

template <class T>
class SparseColumns {
   public:
    // Room for n rows like these, with n_features columns, beside those that there was room for.
    void reserve(const Rows<T>& x, Index n, Index n_features);

    // Chooses n sparse rows, of which columns before `first_column` are not wanted.
    void choose(const Rows<T>& x, Index n, Index first_column);
    // Makes the columns `range`, at most max_columns() and none before those of the last call.
    void sort(Range range);
    Index max_columns() const;
    // What was made, from this column on.
    SparseColumnEntries<T> from(Index column) const;

   private:
    template <class Column>
    void choose(const ListedRows<T, Column>& rows, const Index* start, Index first_column);
    void choose(const ByteRows<T>& rows, const Index* start, Index first_column);
    template <class Column>
    void sort(const ListedRows<T, Column>& rows, Range range);
    void sort(const ByteRows<T>& rows, Range range);

    PackedRows<T> packed_{};
    Index rows_ = 0;
    Index first_ = 0;     // column made first
    Buffer<Index> next_;  // (rows): where each list goes on, or a row of bytes begins

    Index capacity_ = 0;          // entries of a column, one for each row
    Buffer<Entry<T>> entries_;    // (max_columns, capacity)
    Buffer<std::uint32_t> ends_;  // (max_columns, 2): where a column's entries start and end

    Index column_bytes_ = 0;
    Buffer<std::uint8_t> bytes_;  // (max_columns, column_bytes)
    Buffer<std::uint64_t> bits_;  // one for each
};

}  // namespace sae
