// SPDX-License-Identifier: BSD-3-Clause
// The non-zeros of a batch sorted by column, as the first layer's gradient needs them: some columns
// at a time, used up before the next are sorted. In each column the samples keep their order.
#pragma once

#include "sae/data/batch.hpp"

namespace sae {

// Columns of a batch that can always be sorted at once, however many its rows.
inline constexpr Index kFewestColumns = 24;

// Entries of a sample in a block of columns that are worth another visit to it.
inline constexpr double kBlockEntries = 4;

// How many of n_features columns hold so many entries of a sample, on the average.
Index columns_of(double entries, double density, Index n_features);

template <class T>
class SparseColumns {
   public:
    SparseColumns() = default;
    // Room for n rows of such samples.
    SparseColumns(Index n, Index n_features, double density);

    // Chooses n sparse rows, of which columns before `first_column` are not wanted.
    void choose(const Rows<T>& x, Index n, Index first_column);
    // Sorts the columns `range`, at most max_columns() and none before those of the last call.
    void sort(Range range);
    Index max_columns() const { return ends_.size() / 2; }
    // What was sorted, from this column on.
    SparseColumnEntries<T> from(Index column) const {
        return {entries_.data(), ends_.data() + 2 * (column - first_)};
    }

   private:
    PackedRows<T> packed_{};
    Index rows_ = 0;
    Index capacity_ = 0;          // entries of a column
    Index first_ = 0;             // column sorted first
    Buffer<Entry<T>> entries_;    // (max_columns, capacity)
    Buffer<std::uint32_t> ends_;  // (max_columns, 2): where a column's entries start and end
    Buffer<Index> next_;          // (rows): where each sample goes on
};

}  // namespace sae
