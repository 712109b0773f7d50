// SPDX-License-Identifier: BSD-3-Clause
// The samples that a network reads, prepared once for a data set: dense rows stay where the caller
// has them (any strides, uint8 with a scale too) and are copied a batch at a time. Mostly-zero data
// is kept in as few bytes as hold it, since shuffled rows come from main memory, and what a step
// reads there is what it waits for: where no more than 256 values occur, a bit for each column and
// a byte for each non-zero, which a batch expands to bytes; else lists, which kernels read as they
// are.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "sae/base/buffer.hpp"
#include "sae/data/packed.hpp"

namespace sae {

enum class Storage { uint8, float32, float64 };
template <class S>
inline constexpr Storage kStorage = sizeof(S) == 1   ? Storage::uint8
                                    : sizeof(S) == 4 ? Storage::float32
                                                     : Storage::float64;

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
    Index n_samples, n_features, n_nonzero;
};

enum class Layout { automatic, dense, sparse };

template <class T>
class Input {
   public:
    // Reads all of the source once. Values are multiplied by `scale`, those of a matrix less `zero`
    // (n_features, or null) first, which then is dense.
    // std::domain_error names the first value that is not finite; std::invalid_argument a CSR
    // structure that is not one.
    Input(const DenseSource& source, T scale, Layout layout, int n_threads,
          const double* zero = nullptr);
    template <class I>
    Input(const CsrSource<I>& source, T scale, int n_threads);

    Index n_samples() const { return n_samples_; }
    Index n_features() const { return n_features_; }
    Index n_nonzero() const { return n_nonzero_; }
    bool sparse() const { return !row_start_.empty(); }

    // Samples index[0 … rows), or first … first + rows if index is null, as out (rows, n_features).
    void gather(const std::int64_t* index, Index first, View<T> out) const;

    // The place of the first value below `low` or above `high`, which have zero between them.
    struct Place {
        Index sample, feature;
        T value;
    };
    std::optional<Place> find_outside(T low, T high, int n_threads) const;

    // The rest: sparse only.

    // Whether samples are bytes, which a batch expands, or lists, which it reads where they are.
    bool is_bytes() const { return table_.size() > 0; }
    void expand(Index sample, std::uint8_t* bytes, std::uint64_t* bits_of) const;
    const T* table() const { return table_.data(); }  // (256): what bytes stand for
    PackedRows<T> lists() const { return packed_.rows(); }
    // Where a sample starts in lists(), or among the words of bytes.
    Index row_start(Index sample) const { return row_start_[sample]; }
    // Room for n rows of any of the samples, each row_room() from the one before.
    PackedMemory<T> packed_memory(Index n) const;
    Index row_room() const;
    // Share of non-zeros.
    double density() const {
        return static_cast<double>(n_nonzero_) /
               (static_cast<double>(n_samples_) * static_cast<double>(n_features_));
    }
    // Sums over the whole set, computed when they are first asked for.
    struct ColumnSums {
        List<Index> nonzeros;  // (n_features)
        List<double> values;   // (n_features)
        double squares = 0;    // of all columns
    };
    const ColumnSums& column_sums(int n_threads) const;
    // Asks for what there is of a sample.
    void prefetch(Index sample) const;

   private:
    // Keep sparse samples, for_each(i, f) calling f(column, number) for all numbers S of the
    // source, in one of them, that may be other than zero: `counts` non-zeros of each, as bytes
    // where that is possible and pays.
    template <class S, class F>
    void pack(const List<Index>& counts, int n_threads, const F& for_each);
    template <class S, class F>
    bool pack_bytes(const List<Index>& counts, int n_threads, const F& for_each);
    template <class F>
    void pack_lists(const List<Index>& counts, int n_threads, const F& for_each);
    template <class S>
    T scaled(S number) const {
        return static_cast<T>(number) * scale_;
    }
    Index words() const { return (n_features_ + 63) / 64; }
    const std::uint64_t* bits(Index sample) const { return bits_.data() + row_start(sample); }
    const std::uint8_t* numbers(Index sample) const {
        return reinterpret_cast<const std::uint8_t*>(bits(sample) + words());
    }
    template <class F>
    void for_each_nonzero(Index sample, const F& f) const;
    template <class F>
    void for_each_value(Index sample, const F& f) const;
    ColumnSums sum_columns(int n_threads) const;

    // Calls f with what says which value a number of the source, of a column, stands for.
    template <class F>
    void with_values(const F& f) const {
        if (zero_.empty())
            return f([scale = scale_](auto x, Index) { return static_cast<T>(x) * scale; });
        f([scale = scale_, zero = zero_.data()](auto x, Index j) {
            return static_cast<T>(static_cast<double>(x) - zero[j]) * scale;
        });
    }

    DenseSource source_{};
    T scale_ = 1;
    List<double> zero_;  // (n_features), or empty
    Index n_samples_ = 0, n_features_ = 0, n_nonzero_ = 0;
    List<Index> row_start_;       // (n_samples + 1), empty if dense
    PackedMemory<T> packed_;      // lists, scaled, each with its end
    Buffer<std::uint64_t> bits_;  // or of each sample words(), a bit for each column, then the
                                  // numbers of the values that are not zero, a byte each
    Buffer<T> table_;             // (256): these values, scaled
    struct Once {
        std::once_flag flag;
        ColumnSums sums;
    };
    std::unique_ptr<Once> column_sums_ = std::make_unique<Once>();
};

}  // namespace sae
