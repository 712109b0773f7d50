// SPDX-License-Identifier: BSD-3-Clause
#include "sae/input.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "sae/parallel.hpp"

namespace sae {

namespace {

// Above this share of non-zeros a product over the non-zeros is slower than the dense one
// (benchmarks/test_kernels.py).
constexpr double kSparseDensity = 0.35;

// Columns of a block: enough that a sample has a few non-zeros in it, few enough that a network's
// rows of one block stay in the first-level cache.
constexpr Index kBlockColumns = 32;
constexpr Index kMaxBlocks = 64;

// Calls f with the source's element type.
template <class F>
auto with_type(Storage storage, const void* data, F&& f) {
    switch (storage) {
        case Storage::uint8:
            return f(static_cast<const std::uint8_t*>(data));
        case Storage::float32:
            return f(static_cast<const float*>(data));
        default:
            return f(static_cast<const double*>(data));
    }
}

[[noreturn]] void throw_not_finite(double value, Index sample, Index feature) {
    throw std::domain_error(std::to_string(value) + " in row " + std::to_string(sample) +
                            ", column " + std::to_string(feature));
}

// A row to its finite check and its count of non-zeros.
template <class T, class S>
Index scan_row(const S* row, Index n, Index stride, T scale, Index& not_finite) {
    Index count = 0;
    for (Index j = 0; j < n; ++j) {
        const T value = static_cast<T>(row[j * stride]) * scale;
        count += value != T(0);
        if (!std::isfinite(value) && not_finite < 0) not_finite = j;
    }
    return count;
}

}  // namespace

template <class T>
Input<T>::Input(const DenseSource& source, T scale, Layout layout, int n_threads)
    : source_(source), scale_(scale), n_samples_(source.n_samples), n_features_(source.n_features) {
    std::vector<Index> counts(static_cast<std::size_t>(n_samples_));
    std::vector<Index> not_finite(static_cast<std::size_t>(n_samples_), -1);
    with_type(source.storage, source.data, [&](const auto* data) {
        run_team(n_threads, [&](Member member) {
            const Range range = member.share(n_samples_);
            for (Index i = range.begin; i < range.end; ++i) {
                const auto at = static_cast<std::size_t>(i);
                counts[at] = scan_row(data + i * source_.row_stride, n_features_,
                                      source_.column_stride, scale_, not_finite[at]);
            }
        });
        for (Index i = 0; i < n_samples_; ++i) {
            const Index j = not_finite[static_cast<std::size_t>(i)];
            if (j < 0) continue;
            const auto value = data[i * source_.row_stride + j * source_.column_stride];
            throw_not_finite(static_cast<double>(value), i, j);
        }
        for (const Index count : counts) n_nonzero_ += count;
        const double size = static_cast<double>(n_samples_) * static_cast<double>(n_features_);
        if (layout == Layout::dense || (layout == Layout::automatic &&
                                        static_cast<double>(n_nonzero_) > kSparseDensity * size))
            return;

        start_sparse(std::move(counts));
        run_team(n_threads, [&](Member member) {
            const Range range = member.share(n_samples_);
            for (Index i = range.begin; i < range.end; ++i) {
                const auto* row = data + i * source_.row_stride;
                Index at = row_start_[static_cast<std::size_t>(i)];
                for (Index j = 0; j < n_features_; ++j) {
                    const T value = static_cast<T>(row[j * source_.column_stride]) * scale_;
                    if (value == T(0)) continue;
                    columns_.data()[at] = static_cast<std::uint32_t>(j);
                    values_.data()[at++] = value;
                }
                finish_row(i);
            }
        });
        count_blocks();
    });
}

template <class T>
template <class I>
Input<T>::Input(const CsrSource<I>& source, T scale)
    : scale_(scale), n_samples_(source.n_samples), n_features_(source.n_features) {
    std::vector<Index> counts(static_cast<std::size_t>(n_samples_));
    for (Index i = 0; i < n_samples_; ++i) {
        counts[static_cast<std::size_t>(i)] =
            static_cast<Index>(source.row_start[i + 1]) - static_cast<Index>(source.row_start[i]);
    }
    start_sparse(std::move(counts));
    with_type(source.storage, source.values, [&](const auto* values) {
        for (Index i = 0; i < n_samples_; ++i) {
            Index previous = -1;
            for (auto at = static_cast<Index>(source.row_start[i]);
                 at < static_cast<Index>(source.row_start[i + 1]); ++at) {
                const auto j = static_cast<Index>(source.columns[at]);
                if (j <= previous || j >= n_features_) {
                    throw std::invalid_argument("row " + std::to_string(i) + " has column " +
                                                std::to_string(j) + " after column " +
                                                std::to_string(previous) + " of " +
                                                std::to_string(n_features_));
                }
                const T value = static_cast<T>(values[at]) * scale_;
                if (!std::isfinite(value)) throw_not_finite(static_cast<double>(values[at]), i, j);
                columns_.data()[at] = static_cast<std::uint32_t>(j);
                values_.data()[at] = value;
                previous = j;
            }
            finish_row(i);
        }
    });
    count_blocks();
}

// Room for the non-zeros, given each row's count.
template <class T>
void Input<T>::start_sparse(std::vector<Index> counts) {
    row_start_.assign(1, 0);
    row_start_.reserve(counts.size() + 1);
    for (const Index count : counts) row_start_.push_back(row_start_.back() + count);
    n_nonzero_ = row_start_.back();
    block_columns_ = std::max(kBlockColumns, (n_features_ + kMaxBlocks - 1) / kMaxBlocks);
    n_blocks_ = (n_features_ + block_columns_ - 1) / block_columns_;
    block_start_ = Buffer<std::uint32_t>(n_samples_ * (n_blocks_ + 1));
    columns_ = Buffer<std::uint32_t>(n_nonzero_);
    values_ = Buffer<T>(n_nonzero_);
}

// Cuts a filled row into its blocks.
template <class T>
void Input<T>::finish_row(Index sample) {
    const Index start = row_start_[static_cast<std::size_t>(sample)];
    const Index count = row_start_[static_cast<std::size_t>(sample) + 1] - start;
    std::uint32_t* cut = block_start_.data() + sample * (n_blocks_ + 1);
    Index at = 0;
    for (Index b = 0; b < n_blocks_; ++b) {
        cut[b] = static_cast<std::uint32_t>(at);
        const Index end = (b + 1) * block_columns_;
        while (at < count && static_cast<Index>(columns_.data()[start + at]) < end) ++at;
    }
    cut[n_blocks_] = static_cast<std::uint32_t>(count);
}

template <class T>
void Input<T>::count_blocks() {
    block_nonzeros_.assign(static_cast<std::size_t>(n_blocks_), 0);
    for (Index i = 0; i < n_samples_; ++i) {
        for (Index b = 0; b < n_blocks_; ++b) {
            block_nonzeros_[static_cast<std::size_t>(b)] += block(i, b).count;
        }
    }
}

template <class T>
void Input<T>::gather(const std::int64_t* index, Index first, Index rows, View<T> out) const {
    const auto sample = [&](Index i) { return index ? static_cast<Index>(index[i]) : first + i; };
    if (sparse()) {
        for (Index i = 0; i < rows; ++i) {
            std::fill_n(out.row(i), n_features_, T(0));
            const Nonzeros nonzeros = row(sample(i));
            for (Index t = 0; t < nonzeros.count; ++t) {
                out(i, nonzeros.columns[t]) = nonzeros.values[t];
            }
        }
        return;
    }
    with_type(source_.storage, source_.data, [&](const auto* data) {
        for (Index i = 0; i < rows; ++i) {
            const auto* row = data + sample(i) * source_.row_stride;
            T* to = out.row(i);
            if (source_.column_stride == 1) {
                for (Index j = 0; j < n_features_; ++j) to[j] = static_cast<T>(row[j]) * scale_;
            } else {
                for (Index j = 0; j < n_features_; ++j) {
                    to[j] = static_cast<T>(row[j * source_.column_stride]) * scale_;
                }
            }
        }
    });
}

template <class T>
void Input<T>::prefetch(Index sample) const {
    const Nonzeros nonzeros = row(sample);
    for (Index t = 0; t < nonzeros.count; t += kAlignment / 4) {
        __builtin_prefetch(nonzeros.columns + t);
    }
    for (Index t = 0; t < nonzeros.count; t += kAlignment / static_cast<Index>(sizeof(T))) {
        __builtin_prefetch(nonzeros.values + t);
    }
}

template class Input<float>;
template class Input<double>;
template Input<float>::Input(const CsrSource<std::int32_t>&, float);
template Input<float>::Input(const CsrSource<std::int64_t>&, float);
template Input<double>::Input(const CsrSource<std::int32_t>&, double);
template Input<double>::Input(const CsrSource<std::int64_t>&, double);

}  // namespace sae
