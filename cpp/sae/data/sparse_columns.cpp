// SPDX-License-Identifier: BSD-3-Clause
#include "sae/data/sparse_columns.hpp"

#include <algorithm>
#include <type_traits>

namespace sae {

namespace {

// Columns sorted at once: so many that another visit to each sample pays, in no more room than
// this.
constexpr Index kSortedColumns = 128;
constexpr Index kSortedEntries = 1 << 21;

// Columns of bytes made at once: a cache line of each row.
constexpr Index kTransposedColumns = 64;

// A bit for each row, in whole words.
Index bytes_of_column(Index rows) { return (rows + 63) / 64 * 64; }

}  // namespace

Index columns_of(double entries, double density, Index n_features) {
    const double columns = entries / std::max(density, 1e-9);
    return static_cast<Index>(std::min(columns, static_cast<double>(n_features)));
}

template <class T>
void SparseColumns<T>::reserve(const Rows<T>& x, Index n, Index n_features) {
    const auto grow = [](auto& buffer, Index size) {
        if (buffer.size() < size) buffer = std::decay_t<decltype(buffer)>(size);
    };
    grow(next_, n);
    if (x.packed.is_bytes()) {
        const Index size = kTransposedColumns * bytes_of_column(n);
        grow(bytes_, size);
        return grow(bits_, size / 64);
    }
    const Index capacity = padded<Entry<T>>(n);
    const Index wanted = std::max(kSortedColumns, columns_of(kBlockEntries, x.density, n_features));
    const Index columns =
        std::min(std::clamp(kSortedEntries / capacity, kFewestColumns, wanted), n_features);
    grow(entries_, columns * capacity);
    grow(ends_, 2 * columns);
}

template <class T>
Index SparseColumns<T>::max_columns() const {
    if (packed_.is_bytes()) return kTransposedColumns;
    return std::min(entries_.size() / capacity_, ends_.size() / 2);
}

template <class T>
SparseColumnEntries<T> SparseColumns<T>::from(Index column) const {
    const Index at = column - first_;
    if (packed_.is_bytes()) {
        const Index first = at * column_bytes_;
        return {nullptr,
                nullptr,
                bytes_.data() + first,
                bits_.data() + first / 64,
                column_bytes_,
                packed_.bytes.table};
    }
    return {entries_.data(), ends_.data() + 2 * at, nullptr, nullptr, 0, nullptr};
}

template <class T>
void SparseColumns<T>::choose(const Rows<T>& x, Index n, Index first_column) {
    packed_ = x.packed;
    rows_ = n;
    capacity_ = padded<Entry<T>>(n);
    column_bytes_ = bytes_of_column(n);
    with_packed(packed_, [&](const auto& rows) { choose(rows, x.start, first_column); });
}

template <class T>
template <class Column>
void SparseColumns<T>::choose(const ListedRows<T, Column>& rows, const Index* start,
                              Index first_column) {
    for (Index i = 0; i < rows_; ++i) {
        Index& next = next_.data()[i];
        next = start[i];
        while (static_cast<Index>(rows.columns[next]) < first_column) ++next;
    }
}

template <class T>
void SparseColumns<T>::choose(const ByteRows<T>&, const Index* start, Index) {
    std::copy_n(start, rows_, next_.data());
}

template <class T>
void SparseColumns<T>::sort(Range range) {
    first_ = range.begin;
    with_packed(packed_, [&](const auto& rows) { sort(rows, range); });
}

template <class T>
template <class Column>
void SparseColumns<T>::sort(const ListedRows<T, Column>& rows, Range range) {
    const auto [columns, values] = rows;
    Entry<T>* const entries = entries_.data();
    std::uint32_t* const ends = ends_.data();
    for (Index j = 0; j < range.count(); ++j) {
        ends[2 * j] = ends[2 * j + 1] = static_cast<std::uint32_t>(j * capacity_);
    }
    for (Index i = 0; i < rows_; ++i) {
        const auto row = static_cast<std::uint32_t>(i);
        Index at = next_.data()[i];
        if (i + 1 < rows_) {
            __builtin_prefetch(columns + next_.data()[i + 1]);
            __builtin_prefetch(values + next_.data()[i + 1]);
        }
        while (static_cast<Index>(columns[at]) < range.begin) ++at;
        for (; static_cast<Index>(columns[at]) < range.end; ++at) {
            entries[ends[2 * (columns[at] - range.begin) + 1]++] = {row, values[at]};
        }
        next_.data()[i] = at;
    }
}

template <class T>
void SparseColumns<T>::sort(const ByteRows<T>& rows, Range range) {
    kernels<T>(active_isa())
        .transpose_bytes(rows, next_.data(), rows_, range.begin, bytes_.data(), bits_.data(),
                         column_bytes_);
}

template class SparseColumns<float>;
template class SparseColumns<double>;

}  // namespace sae
