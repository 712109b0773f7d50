// SPDX-License-Identifier: BSD-3-Clause
// The samples that a network reads, prepared once for a data set: dense rows stay where the caller
// has them (any strides, uint8 with a scale too) and are copied a batch at a time; mostly-zero data
// is kept as its non-zeros, cut into blocks of columns.
//
// The blocks are for the gradient: a task that owns some rows of W needs, of every sample of the
// batch, just the non-zeros in those columns, and finds them without a search.
#pragma once

#include <cstdint>
#include <vector>

#include "sae/buffer.hpp"
#include "sae/view.hpp"

namespace sae {

enum class Storage { uint8, float32, float64 };

// An array (n_samples, n_features) in the caller's memory; strides in elements, of any sign.
struct DenseSource {
    const void* data;
    Storage storage;
    Index n_samples, n_features;
    Index row_stride, column_stride;
};

// A CSR matrix in the caller's memory; columns sorted within each row, no duplicates.
template <class I>
struct CsrSource {
    const I* row_start;  // (n_samples + 1)
    const I* columns;    // (n_nonzero)
    const void* values;  // (n_nonzero)
    Storage storage;
    Index n_samples, n_features;
};

enum class Layout { automatic, dense, sparse };

template <class T>
class Input {
   public:
    // Reads all of the source once. Values are multiplied by `scale`.
    // std::domain_error names the first value that is not finite; std::invalid_argument a CSR
    // structure that is not one.
    Input(const DenseSource& source, T scale, Layout layout, int n_threads);
    template <class I>
    Input(const CsrSource<I>& source, T scale);

    Index n_samples() const { return n_samples_; }
    Index n_features() const { return n_features_; }
    Index n_nonzero() const { return n_nonzero_; }
    bool sparse() const { return !row_start_.empty(); }

    // Rows index[0 … rows), or first … first + rows if index is null, as a dense matrix.
    void gather(const std::int64_t* index, Index first, Index rows, View<T> out) const;

    // The rest: sparse only.
    struct Nonzeros {
        const std::uint32_t* columns;
        const T* values;
        Index count;
    };
    Nonzeros row(Index sample) const { return between(sample, 0, n_blocks_); }
    Nonzeros block(Index sample, Index b) const { return between(sample, b, b + 1); }
    Index n_blocks() const { return n_blocks_; }
    Index block_columns() const { return block_columns_; }
    // Non-zeros of the whole set in block b.
    Index block_nonzeros(Index b) const { return block_nonzeros_[static_cast<std::size_t>(b)]; }
    void prefetch(Index sample) const;

   private:
    Nonzeros between(Index sample, Index b0, Index b1) const {
        const Index start = row_start_[static_cast<std::size_t>(sample)];
        const std::uint32_t* cut = block_start_.data() + sample * (n_blocks_ + 1);
        return {columns_.data() + start + cut[b0], values_.data() + start + cut[b0],
                static_cast<Index>(cut[b1] - cut[b0])};
    }
    void start_sparse(std::vector<Index> counts);
    void finish_row(Index sample);
    void count_blocks();

    DenseSource source_{};
    T scale_ = 1;
    Index n_samples_ = 0, n_features_ = 0, n_nonzero_ = 0;
    Index block_columns_ = 0, n_blocks_ = 0;
    std::vector<Index> row_start_;       // (n_samples + 1), empty if dense
    Buffer<std::uint32_t> block_start_;  // (n_samples, n_blocks + 1), from the row's start
    Buffer<std::uint32_t> columns_;      // (n_nonzero)
    Buffer<T> values_;                   // (n_nonzero)
    std::vector<Index> block_nonzeros_;  // (n_blocks)
};

}  // namespace sae
