// SPDX-License-Identifier: BSD-3-Clause
// Some samples of a sparse input as the first layer needs them: by sample for its product, by
// column for its gradient. The rows of w that a product gathers do not fit the nearest cache, so it
// is cut into blocks of columns that do, and all samples go through one block before the next; for
// the gradient, some columns are sorted and used up before the next. Every sum stays in its order.
#pragma once

#include "sae/buffer.hpp"
#include "sae/dense.hpp"
#include "sae/input.hpp"
#include "sae/parallel.hpp"

namespace sae {

// Reads samples where the input keeps them.
template <class T>
class SparseBatch {
   public:
    SparseBatch() = default;
    // Room for `rows` samples of `input`, which must outlive this.
    SparseBatch(const Input<T>& input, Index rows);

    // Chooses samples index[0 … rows), or first … first + rows if index is null.
    void choose(const std::int64_t* index, Index first, Index rows);

    // a (rows, n_out) = activation(x w + b)
    void forward(const Kernels<T>& kernels, const Dense<T>& layer, View<T> a);

   private:
    const Input<T>* input_ = nullptr;
    Index rows_ = 0;
    Buffer<Index> start_;  // (rows): where each sample's non-zeros start
    Buffer<Index> next_;   // (rows): where each goes on in the next block
};

// Columns of a batch that can always be sorted at once, however many its rows.
inline constexpr Index kFewestColumns = 24;

// The non-zeros of a batch sorted by column, some columns at a time.
template <class T>
class SparseColumns {
   public:
    SparseColumns() = default;
    // Room for `rows` samples of `input`, which must outlive this.
    SparseColumns(const Input<T>& input, Index rows);

    // Chooses samples index[0 … rows), of which columns before `first_column` are not wanted.
    void choose(const std::int64_t* index, Index rows, Index first_column);
    // Sorts the columns `range`, at most max_columns() and none before those of the last call.
    void sort(Range range);
    Index max_columns() const { return ends_.size() / 2; }

    // Adam on the rows `range` of w, whose columns of x are sorted, dw = x^T delta; m and v are
    // those of w's first row.
    void update(const Kernels<T>& kernels, const Dense<T>& layer, View<const T> delta,
                const AdamStep<T>& adam, T* m, T* v, Range range) const;

   private:
    const Input<T>* input_ = nullptr;
    Index rows_ = 0;
    Index capacity_ = 0;          // entries of a column
    Index first_ = 0;             // column sorted first
    Buffer<Entry<T>> entries_;    // (max_columns, capacity)
    Buffer<std::uint32_t> ends_;  // (max_columns, 2): where a column's entries start and end
    Buffer<Index> next_;          // (rows): where each sample goes on
};

}  // namespace sae
