// SPDX-License-Identifier: BSD-3-Clause
// Some samples of a sparse input as the first layer needs them: by sample for its product, by
// column for its gradient. What a product gathers from, w or delta, does not fit the nearest cache,
// so it is cut into blocks that do, and all rows go through one block before the next: blocks of
// w's rows in the product, of delta's columns in the gradient. Every sum stays in its order.
#pragma once

#include <algorithm>

#include "sae/buffer.hpp"
#include "sae/dense.hpp"
#include "sae/input.hpp"
#include "sae/parallel.hpp"

namespace sae {

template <class T>
class SparseBatch {
   public:
    SparseBatch() = default;
    // Room for `rows` samples of `input`, on their way into `layer`.
    SparseBatch(const Input<T>& input, const Dense<T>& layer, Index rows);

    // Samples index[0 … rows), or first … first + rows if index is null.
    void read(const Input<T>& input, const std::int64_t* index, Index first, Index rows);

    // a (rows, n_out) = activation(x w + b)
    void forward(const Kernels<T>& kernels, const Dense<T>& layer, View<T> a) const;

    // The non-zeros of sample i, in order of columns.
    const Entry<T>* begin(Index i) const { return entries_.data() + blocks(i)[0]; }
    const Entry<T>* end(Index i) const { return entries_.data() + blocks(i)[n_blocks_]; }
    Index rows() const { return rows_; }

   private:
    // Where the blocks of sample i start: n_blocks + 1 positions, the last one past its end.
    std::uint32_t* blocks(Index i) const { return block_start_.data() + i * (n_blocks_ + 1); }

    Index rows_ = 0;
    Index n_blocks_ = 1;
    int block_shift_ = 0;                // a block is 2^shift columns
    Buffer<Entry<T>> entries_;           // (rows * max_row_nonzeros), filled without gaps
    Buffer<std::uint32_t> block_start_;  // (rows, n_blocks + 1)
};

// The same non-zeros sorted by column; an entry's index is its row in the batch.
template <class T>
class SparseColumns {
   public:
    SparseColumns() = default;
    SparseColumns(const Input<T>& input, Index rows);

    // Those of `samples`, which are the rows from first_row on of the batch.
    void sort(const SparseBatch<T>& samples, Index first_row);
    // The columns `range` of part(0), part(1) …, which hold consecutive rows of a batch.
    template <class Part>
    void join(int n_parts, const Part& part, Range range);

    // Into how many blocks of delta's columns update() is cut.
    static Index n_blocks(const Dense<T>& layer, Index rows);
    // Adam on one block of the rows `range` of w, dw = x^T delta; m and v are those of w's first
    // row.
    void update(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                const AdamStep<T>& adam, T* m, T* v, Range range, Index block,
                Index n_blocks) const;

   private:
    Buffer<Entry<T>> entries_;
    Buffer<std::uint32_t> start_;  // (n_features + 1)
};

template <class T>
template <class Part>
void SparseColumns<T>::join(int n_parts, const Part& part, Range range) {
    Entry<T>* end = entries_.data();
    for (Index j = range.begin; j < range.end; ++j) {
        start_.data()[j] = static_cast<std::uint32_t>(end - entries_.data());
        for (int p = 0; p < n_parts; ++p) {
            const SparseColumns& from = part(p);
            end = std::copy(from.entries_.data() + from.start_.data()[j],
                            from.entries_.data() + from.start_.data()[j + 1], end);
        }
    }
    start_.data()[range.end] = static_cast<std::uint32_t>(end - entries_.data());
}

}  // namespace sae
