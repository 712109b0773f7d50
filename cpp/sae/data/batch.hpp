// SPDX-License-Identifier: BSD-3-Clause
// Between a data set and the kernels: a source reads samples, by their numbers, into the rows of a
// batch. What trains or evaluates sees batches alone, never the set behind them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sae/base/buffer.hpp"
#include "sae/data/input.hpp"

namespace sae {

// Samples as the kernels read them, wherever they lie: as a matrix, or as the non-zeros of each.
template <class T>
struct Rows {
    Rows() = default;
    Rows(View<T> matrix) : dense(matrix) {}
    Rows(PackedRows<T> nonzeros, Index* starts, double share)
        : packed(nonzeros), start(starts), density(share) {}

    View<T> dense;           // (n, n_features), its rows padded; empty if sparse
    PackedRows<T> packed{};  // else
    Index* start = nullptr;  // (n): where each sample begins in `packed`
    double density = 1;      // share of non-zeros, about

    bool sparse() const { return start != nullptr; }

    // Asks for a sparse sample, or what it starts with, where it comes from main memory.
    void prefetch(Index i, Index n_features) const {
        const double length = std::min(density * static_cast<double>(n_features), 1024.0);
        with_packed(packed,
                    [&](const auto& rows) { rows.prefetch(start[i], static_cast<Index>(length)); });
    }

    // Some of them.
    Rows part(Range rows) const {
        Rows some = *this;
        if (sparse()) {
            some.start += rows.begin;
        } else {
            some.dense = dense.part(rows);
        }
        return some;
    }
};

// The memory of sparse samples: where each is, and what is not where the source has it.
template <class T>
struct SparseMemory {
    PackedMemory<T> packed;
    Buffer<Index> start;  // (n)
};

// Some samples and what they are compared with.
template <class T>
struct Batch {
    Rows<T> clean;                   // the samples as they are
    Rows<T> x;                       // what the first layer reads
    Rows<T> target;                  // values to compare with: the samples as they are, or others
    View<std::uint8_t> corrupted{};  // (n, n_features): 1 where x is, 0 elsewhere; or empty
    bool apart = false;              // whether target is something else than clean
    Index first = 0;                 // its first row among those of the step's whole batch
    std::int64_t* labels = nullptr;  // (n), or null
    T* weights = nullptr;            // (n): factors of the losses; null for ones

    // The memory of all that does not stay where the source has it.
    Matrix<T> clean_memory, x_memory, target_memory;
    SparseMemory<T> clean_sparse, x_sparse, target_sparse;
    Matrix<std::uint8_t> corrupted_memory;
    Buffer<T> weights_memory;
    Buffer<std::int64_t> labels_memory;
};

// What of a batch has to be a matrix, also where the input is sparse (x then with the clean
// samples); and whether x is something else than these, for a corruption to write.
struct BatchForm {
    bool dense_x = false, dense_target = false, corrupted = false;
};

// A data set in memory with what belongs to each sample. Keeps references to inputs, and copies of
// the rest: what is checked of them stays so, whoever writes to the caller's memory.
template <class T>
class Source {
   public:
    // labels: (n_samples) classes, or null; targets: values for as many samples, or null for the
    // input itself, which an autoencoder restores; weights: (n_samples), or null.
    // std::invalid_argument if the targets are of another number of samples.
    explicit Source(const Input<T>& input, const std::int64_t* labels = nullptr,
                    const Input<T>* targets = nullptr, const T* weights = nullptr);

    Index n_samples() const { return input_.n_samples(); }
    const Input<T>& input() const { return input_; }
    const Input<T>& target() const { return target_; }
    bool has_targets() const { return &target_ != &input_; }
    bool has_labels() const { return !labels_.empty(); }
    // Whether each sample has a label, from 0 to below n_classes.
    bool has_labels(Index n_classes) const;
    bool has_weights() const { return !weights_.empty(); }

    // Room for batches of up to n samples.
    Batch<T> make_batch(Index n, BatchForm form) const;
    // Reads the samples index[rows], or those from `first` on if index is null, into the same rows
    // of a batch. Threads may read different rows at once.
    void read(const std::int64_t* index, Index first, Range rows, Batch<T>& batch) const;
    // Asks for what read() will need of the samples index[rows], where it comes from main memory.
    void prefetch(const std::int64_t* index, Range rows) const;

   private:
    const Input<T>& input_;
    const Input<T>& target_;
    List<std::int64_t> labels_;  // (n_samples), or empty
    List<T> weights_;            // (n_samples), or empty
};

}  // namespace sae
