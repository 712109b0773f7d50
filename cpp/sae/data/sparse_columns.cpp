// SPDX-License-Identifier: BSD-3-Clause
#include "sae/data/sparse_columns.hpp"

#include <algorithm>

namespace sae {

namespace {

// Columns sorted at once: so many that another visit to each sample pays, in no more room than
// this.
constexpr Index kSortedColumns = 128;
constexpr Index kSortedEntries = 1 << 21;

}  // namespace

Index columns_of(double entries, double density, Index n_features) {
    const double columns = entries / std::max(density, 1e-9);
    return static_cast<Index>(std::min(columns, static_cast<double>(n_features)));
}

template <class T>
SparseColumns<T>::SparseColumns(Index n, Index n_features, double density)
    : capacity_(padded<Entry<T>>(n)), next_(n) {
    const Index wanted = std::max(kSortedColumns, columns_of(kBlockEntries, density, n_features));
    const Index columns =
        std::min(std::clamp(kSortedEntries / capacity_, kFewestColumns, wanted), n_features);
    entries_ = Buffer<Entry<T>>(columns * capacity_);
    ends_ = Buffer<std::uint32_t>(2 * columns);
}

template <class T>
void SparseColumns<T>::choose(const Rows<T>& x, Index n, Index first_column) {
    packed_ = x.packed;
    rows_ = n;
    with_packed(packed_, [&](const auto* columns, auto) {
        for (Index i = 0; i < n; ++i) {
            Index& next = next_.data()[i];
            next = x.start[i];
            while (static_cast<Index>(columns[next]) < first_column) ++next;
        }
    });
}

template <class T>
void SparseColumns<T>::sort(Range range) {
    first_ = range.begin;
    Entry<T>* const entries = entries_.data();
    std::uint32_t* const ends = ends_.data();
    for (Index j = 0; j < range.count(); ++j) {
        ends[2 * j] = ends[2 * j + 1] = static_cast<std::uint32_t>(j * capacity_);
    }
    with_packed(packed_, [&](const auto* columns, auto values) {
        for (Index i = 0; i < rows_; ++i) {
            const auto row = static_cast<std::uint32_t>(i);
            Index at = next_.data()[i];
            if (i + 1 < rows_) {
                __builtin_prefetch(columns + next_.data()[i + 1]);
                values.prefetch(next_.data()[i + 1]);
            }
            while (static_cast<Index>(columns[at]) < range.begin) ++at;
            for (; static_cast<Index>(columns[at]) < range.end; ++at) {
                entries[ends[2 * (columns[at] - range.begin) + 1]++] = {row, values[at]};
            }
            next_.data()[i] = at;
        }
    });
}

template class SparseColumns<float>;
template class SparseColumns<double>;

}  // namespace sae
