// SPDX-License-Identifier: BSD-3-Clause
#include "sae/input.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

#include "sae/parallel.hpp"

namespace sae {

namespace {

// Above this share of non-zeros a product over the non-zeros is taken to be slower than the dense
// one: measured, 0.42 for a first layer of 100 or 200 units, 0.2 for one of 10
// (benchmarks/test_kernels.py).
constexpr double kSparseDensity = 0.35;

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

[[noreturn]] void throw_not_finite(double value, Index sample, Index feature,
                                   std::size_t precision) {
    std::ostringstream message;
    message << "expected finite values (in " << (precision == 4 ? "float32" : "float64")
            << "), got " << value << " in row " << sample << ", column " << feature;
    throw std::domain_error(message.str());
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
    n_threads = useful_threads(n_threads, static_cast<double>(n_samples_ * n_features_));
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
            throw_not_finite(static_cast<double>(value), i, j, sizeof(T));
        }
        for (const Index count : counts) n_nonzero_ += count;
        const double size = static_cast<double>(n_samples_) * static_cast<double>(n_features_);
        if (layout == Layout::dense || (layout == Layout::automatic &&
                                        static_cast<double>(n_nonzero_) > kSparseDensity * size))
            return;

        start_sparse(counts, source_.storage == Storage::uint8);
        run_team(n_threads, [&](Member member) {
            const Range range = member.share(n_samples_);
            for (Index i = range.begin; i < range.end; ++i) {
                const auto* row = data + i * source_.row_stride;
                Index at = row_start_[static_cast<std::size_t>(i)];
                for (Index j = 0; j < n_features_; ++j) {
                    const auto value = row[j * source_.column_stride];
                    if (static_cast<T>(value) * scale_ != T(0)) put(at++, j, value);
                }
            }
        });
        sum_columns();
    });
}

template <class T>
template <class I>
Input<T>::Input(const CsrSource<I>& source, T scale)
    : scale_(scale), n_samples_(source.n_samples), n_features_(source.n_features) {
    std::vector<Index> counts(static_cast<std::size_t>(n_samples_));
    for (Index i = 0; i < n_samples_; ++i) {
        const auto start = static_cast<Index>(source.row_start[i]);
        const auto end = static_cast<Index>(source.row_start[i + 1]);
        if (start < 0 || end < start || end > source.n_nonzero || (i == 0 && start != 0)) {
            throw std::invalid_argument("row " + std::to_string(i) + " goes from entry " +
                                        std::to_string(start) + " to " + std::to_string(end) +
                                        ", expected ascending numbers from 0 to " +
                                        std::to_string(source.n_nonzero));
        }
        counts[static_cast<std::size_t>(i)] = end - start;
    }
    start_sparse(counts, source.storage == Storage::uint8);
    with_type(source.storage, source.values, [&](const auto* values) {
        for (Index i = 0; i < n_samples_; ++i) {
            Index previous = -1;
            for (auto at = static_cast<Index>(source.row_start[i]);
                 at < static_cast<Index>(source.row_start[i + 1]); ++at) {
                const auto j = static_cast<Index>(source.columns[at]);
                if (j <= previous || j >= n_features_) {
                    throw std::invalid_argument(
                        "row " + std::to_string(i) + " has column " + std::to_string(j) +
                        ", expected ascending columns below " + std::to_string(n_features_));
                }
                const T value = static_cast<T>(values[at]) * scale_;
                if (!std::isfinite(value))
                    throw_not_finite(static_cast<double>(values[at]), i, j, sizeof(T));
                put(at, j, values[at]);
                previous = j;
            }
        }
    });
    sum_columns();
}

// Room for the non-zeros, given each row's count.
template <class T>
void Input<T>::start_sparse(const std::vector<Index>& counts, bool bytes) {
    row_start_.assign(1, 0);
    row_start_.reserve(counts.size() + 1);
    for (const Index count : counts) row_start_.push_back(row_start_.back() + count);
    n_nonzero_ = row_start_.back();
    max_row_nonzeros_ = *std::max_element(counts.begin(), counts.end());
    if (n_features_ <= std::numeric_limits<std::uint16_t>::max()) {
        columns16_ = Buffer<std::uint16_t>(n_nonzero_);
    } else {
        columns32_ = Buffer<std::uint32_t>(n_nonzero_);
    }
    if (bytes) {
        bytes_ = Buffer<std::uint8_t>(n_nonzero_);
    } else {
        values_ = Buffer<T>(n_nonzero_);
    }
}

// One non-zero, as the source has it.
template <class T>
template <class S>
void Input<T>::put(Index at, Index column, S value) {
    if (columns16_.data()) {
        columns16_.data()[at] = static_cast<std::uint16_t>(column);
    } else {
        columns32_.data()[at] = static_cast<std::uint32_t>(column);
    }
    if (bytes_.data()) {
        bytes_.data()[at] = static_cast<std::uint8_t>(value);
    } else {
        values_.data()[at] = static_cast<T>(value) * scale_;
    }
}

template <class T>
void Input<T>::sum_columns() {
    const auto n = static_cast<std::size_t>(n_features_);
    column_nonzeros_.assign(n, 0);
    column_sums_.assign(n, 0);
    Buffer<Entry<T>> x(max_row_nonzeros_);
    for (Index i = 0; i < n_samples_; ++i) {
        const Index count = row(i, x.data());
        for (Index t = 0; t < count; ++t) {
            const auto value = static_cast<double>(x.data()[t].value);
            ++column_nonzeros_[x.data()[t].index];
            column_sums_[x.data()[t].index] += value;
            sum_squares_ += value * value;
        }
    }
}

template <class T>
Index Input<T>::row(Index sample, Entry<T>* out) const {
    const Index start = row_start_[static_cast<std::size_t>(sample)];
    const Index count = row_start_[static_cast<std::size_t>(sample) + 1] - start;
    const auto fill = [&](const auto* columns, const auto* values, T scale) {
        for (Index t = 0; t < count; ++t) out[t] = {columns[t], static_cast<T>(values[t]) * scale};
    };
    const auto with_columns = [&](const auto* columns) {
        if (const std::uint8_t* bytes = bytes_.data()) {
            fill(columns, bytes + start, scale_);
        } else {
            fill(columns, values_.data() + start, T(1));
        }
    };
    if (columns16_.data()) {
        with_columns(columns16_.data() + start);
    } else {
        with_columns(columns32_.data() + start);
    }
    return count;
}

template <class T>
void Input<T>::gather(const std::int64_t* index, Index first, Index rows, View<T> out) const {
    const auto sample = [&](Index i) { return index ? static_cast<Index>(index[i]) : first + i; };
    if (sparse()) {
        for (Index i = 0; i < rows; ++i) {
            std::fill_n(out.row(i), n_features_, T(0));
            const Index start = row_start_[static_cast<std::size_t>(sample(i))];
            const Index end = row_start_[static_cast<std::size_t>(sample(i)) + 1];
            for (Index at = start; at < end; ++at) {
                const Index j = columns16_.data() ? columns16_.data()[at] : columns32_.data()[at];
                out(i, j) =
                    bytes_.data() ? static_cast<T>(bytes_.data()[at]) * scale_ : values_.data()[at];
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
    const Index start = row_start_[static_cast<std::size_t>(sample)];
    const Index end = row_start_[static_cast<std::size_t>(sample) + 1];
    const auto lines = [&](const auto* from) {
        if (!from) return;
        constexpr Index line = kAlignment / static_cast<Index>(sizeof *from);
        for (Index at = start; at < end; at += line) __builtin_prefetch(from + at);
    };
    lines(columns16_.data());
    lines(columns32_.data());
    lines(bytes_.data());
    lines(values_.data());
}

template class Input<float>;
template class Input<double>;
template Input<float>::Input(const CsrSource<std::int32_t>&, float);
template Input<float>::Input(const CsrSource<std::int64_t>&, float);
template Input<double>::Input(const CsrSource<std::int32_t>&, double);
template Input<double>::Input(const CsrSource<std::int64_t>&, double);

}  // namespace sae
