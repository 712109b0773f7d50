// SPDX-License-Identifier: BSD-3-Clause
#include "sae/sparse_batch.hpp"

#include <algorithm>

namespace sae {

namespace {

// Bytes of a block: what the smallest first-level cache in use holds.
constexpr Index kBlockBytes = 32 * 1024;

// Entries of a sample in a block that are worth another visit to its sums.
constexpr double kBlockEntries = 4;

// Samples whose place in memory and whose non-zeros are asked for ahead of their turn.
constexpr Index kAhead = 8;

}  // namespace

template <class T>
SparseBatch<T>::SparseBatch(const Input<T>& input, const Dense<T>& layer, Index rows)
    : entries_(rows * input.max_row_nonzeros()) {
    const Index row_bytes = layer.w.ld * static_cast<Index>(sizeof(T));
    int shift = 0;
    while ((row_bytes << (shift + 1)) <= kBlockBytes) ++shift;
    const double density = static_cast<double>(input.n_nonzero()) /
                           static_cast<double>(input.n_samples() * input.n_features());
    if (density * static_cast<double>(Index{1} << shift) >= kBlockEntries) {
        block_shift_ = shift;
        n_blocks_ = ((input.n_features() - 1) >> shift) + 1;
    }
    block_start_ = Buffer<std::uint32_t>(rows * (n_blocks_ + 1));
}

template <class T>
void SparseBatch<T>::read(const Input<T>& input, const std::int64_t* index, Index first,
                          Index rows) {
    rows_ = rows;
    std::uint32_t position = 0;
    const auto sample = [&](Index i) { return index ? static_cast<Index>(index[i]) : first + i; };
    for (Index i = index ? -2 * kAhead : 0; i < rows; ++i) {  // consecutive rows come by themselves
        if (index && i + 2 * kAhead < rows) input.prefetch_start(sample(i + 2 * kAhead));
        if (index && i >= -kAhead && i + kAhead < rows) input.prefetch(sample(i + kAhead));
        if (i < 0) continue;
        const Entry<T>* x = entries_.data();
        std::uint32_t* start = blocks(i);
        std::fill_n(start, n_blocks_, position);
        const Index count = input.row(sample(i), entries_.data() + position);
        const std::uint32_t end = position + static_cast<std::uint32_t>(count);
        if (n_blocks_ > 1) {  // first how far each block's own entries reach
            for (; position < end; ++position) {
                start[(x[position].index >> block_shift_) + 1] = position + 1;
            }
            for (Index b = 1; b < n_blocks_; ++b) start[b] = std::max(start[b], start[b - 1]);
        }
        start[n_blocks_] = position = end;
    }
}

template <class T>
void SparseBatch<T>::forward(const Kernels<T>& kernels, const Dense<T>& layer, View<T> a) const {
    for (Index b = 0; b < n_blocks_; ++b) {
        kernels.sparse_forward(rows_, layer.n_out, {entries_.data(), blocks(0) + b, n_blocks_ + 1},
                               layer.w.data, layer.w.ld, b > 0,
                               b + 1 == n_blocks_ ? layer.b : nullptr,
                               layer.activation == Activation::relu, a.data, a.ld);
    }
}

template <class T>
SparseColumns<T>::SparseColumns(const Input<T>& input, Index rows)
    : entries_(rows * input.max_row_nonzeros()), start_(input.n_features() + 1) {}

// A counting sort: within a column entries stay in order of samples.
template <class T>
void SparseColumns<T>::sort(const SparseBatch<T>& samples, Index first_row) {
    std::uint32_t* next = start_.data() + 1;  // of each column: its start, and in the end its end
    start_.zero();
    const Entry<T>* end = samples.rows() > 0 ? samples.end(samples.rows() - 1) : nullptr;
    const Entry<T>* x = samples.rows() > 0 ? samples.begin(0) : nullptr;
    for (; x != end; ++x) ++next[x->index];
    std::uint32_t position = 0;
    for (Index j = 0; j + 1 < start_.size(); ++j) {
        const std::uint32_t count = next[j];
        next[j] = position;
        position += count;
    }
    for (Index i = 0; i < samples.rows(); ++i) {
        const auto row = static_cast<std::uint32_t>(first_row + i);
        for (x = samples.begin(i); x != samples.end(i); ++x) {
            entries_.data()[next[x->index]++] = {row, x->value};
        }
    }
}

template <class T>
Index SparseColumns<T>::n_blocks(const Dense<T>& layer, Index rows) {
    const Index lines = (layer.n_out * static_cast<Index>(sizeof(T)) - 1) / kAlignment + 1;
    const Index fit = std::max<Index>(kBlockBytes / (rows * kAlignment), 1);
    return (lines + fit - 1) / fit;
}

template <class T>
void SparseColumns<T>::update(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                              const AdamStep<T>& adam, T* m, T* v, Range range, Index block,
                              Index n_blocks) const {
    constexpr Index line = kAlignment / static_cast<Index>(sizeof(T));
    const Index lines = (layer.n_out - 1) / line + 1;
    const Index begin = lines * block / n_blocks * line;
    const Index end = std::min(lines * (block + 1) / n_blocks * line, layer.n_out);
    const Index at = range.begin * layer.w.ld + begin;
    kernels.sparse_update(range.end - range.begin, end - begin,
                          {entries_.data(), start_.data() + range.begin, 1}, delta.data + begin,
                          delta.ld, adam, {layer.w.data + at, m + at, v + at, layer.w.ld});
}

template class SparseBatch<float>;
template class SparseBatch<double>;
template class SparseColumns<float>;
template class SparseColumns<double>;

}  // namespace sae
