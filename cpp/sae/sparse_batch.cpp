// SPDX-License-Identifier: BSD-3-Clause
#include "sae/sparse_batch.hpp"

#include <algorithm>

namespace sae {

namespace {

// Bytes of a block: what the smallest first-level cache in use holds.
constexpr Index kBlockBytes = 32 * 1024;

// Entries of a sample in a block that are worth another visit to its sums.
constexpr double kBlockEntries = 4;

// Columns sorted at once: so many that another visit to each sample pays, in no more room than
// this.
constexpr Index kSortedColumns = 128;
constexpr Index kSortedEntries = 1 << 21;

// Columns in which a sample has `entries` on the average.
template <class T>
Index columns_of(double entries, const Input<T>& input) {
    const double columns = entries / std::max(input.density(), 1e-9);
    return static_cast<Index>(std::min(columns, static_cast<double>(input.n_features())));
}

}  // namespace

template <class T>
SparseBatch<T>::SparseBatch(const Input<T>& input, Index rows)
    : input_(&input), start_(rows), next_(rows) {}

template <class T>
void SparseBatch<T>::choose(const std::int64_t* index, Index first, Index rows) {
    rows_ = rows;
    for (Index i = 0; i < rows; ++i) {
        start_.data()[i] = input_->row_start(index ? static_cast<Index>(index[i]) : first + i);
    }
}

template <class T>
void SparseBatch<T>::forward(const Kernels<T>& kernels, const Dense<T>& layer, View<T> a) {
    const Index row_bytes = layer.w.ld * static_cast<Index>(sizeof(T));
    const Index fit = std::max<Index>(kBlockBytes / row_bytes, 1);
    const bool pays = fit >= columns_of(kBlockEntries, *input_);
    const Index n_blocks = pays ? (layer.n_in + fit - 1) / fit : 1;
    std::copy_n(start_.data(), rows_, next_.data());
    for (Index block = 0; block < n_blocks; ++block) {
        const auto limit = static_cast<std::uint32_t>(layer.n_in * (block + 1) / n_blocks);
        const T* b = block + 1 == n_blocks ? layer.b : nullptr;
        kernels.sparse_forward(rows_, layer.n_out, {input_->packed(), next_.data(), limit},
                               layer.w.data, layer.w.ld, block > 0, b,
                               layer.activation == Activation::relu, a.data, a.ld);
    }
}

template <class T>
SparseColumns<T>::SparseColumns(const Input<T>& input, Index rows)
    : input_(&input), capacity_(padded<Entry<T>>(rows)), next_(rows) {
    const Index wanted = std::max(kSortedColumns, columns_of(kBlockEntries, input));
    const Index columns = std::min(std::clamp(kSortedEntries / capacity_, kFewestColumns, wanted),
                                   input.n_features());
    entries_ = Buffer<Entry<T>>(columns * capacity_);
    ends_ = Buffer<std::uint32_t>(2 * columns);
}

template <class T>
void SparseColumns<T>::choose(const std::int64_t* index, Index rows, Index first_column) {
    rows_ = rows;
    for (Index i = 0; i < rows; ++i) {
        Index& next = next_.data()[i];
        next = input_->row_start(static_cast<Index>(index[i]));
        with_packed(input_->packed(), [&](const auto* columns, auto) {
            while (static_cast<Index>(columns[next]) < first_column) ++next;
        });
    }
}

template <class T>
void SparseColumns<T>::sort(Range range) {
    first_ = range.begin;
    Entry<T>* const entries = entries_.data();
    std::uint32_t* const ends = ends_.data();
    for (Index j = 0; j < range.end - range.begin; ++j) {
        ends[2 * j] = ends[2 * j + 1] = static_cast<std::uint32_t>(j * capacity_);
    }
    with_packed(input_->packed(), [&](const auto* columns, auto values) {
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

template <class T>
void SparseColumns<T>::update(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                              const AdamStep<T>& adam, T* m, T* v, Range range) const {
    const Index at = range.begin * layer.w.ld;
    kernels.sparse_update(range.end - range.begin, layer.n_out,
                          {entries_.data(), ends_.data() + 2 * (range.begin - first_)}, delta.data,
                          delta.ld, adam, {layer.w.data + at, m + at, v + at, layer.w.ld});
}

template class SparseBatch<float>;
template class SparseBatch<double>;
template class SparseColumns<float>;
template class SparseColumns<double>;

}  // namespace sae
