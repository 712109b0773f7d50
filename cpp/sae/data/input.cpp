// SPDX-License-Identifier: BSD-3-Clause
#include "sae/data/input.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <tuple>
#include <type_traits>

#include "sae/base/parallel.hpp"

namespace sae {

namespace {

// Above this share of non-zeros a product over the non-zeros is taken to be slower than the dense
// one: measured, above 0.5 for a first layer of 100 or 200 units, 0.25 for one of 10
// (benchmarks/test_kernels.py).
constexpr double kSparseDensity = 0.35;

// From this share of non-zeros on a row is read faster as bytes than as a list.
constexpr double kByteDensity = 0.08;  // (benchmarks/test_kernels.py)

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

// Throws an error whose message is all these one after the other.
template <class Error, class... Parts>
[[noreturn]] void raise(const Parts&... parts) {
    std::ostringstream message;
    (message << ... << parts);
    throw Error(message.str());
}

template <class T>
[[noreturn]] void raise_not_finite(double value, Index sample, Index feature) {
    raise<std::domain_error>("expected finite values (in ", sizeof(T) == 4 ? "float32" : "float64",
                             "), got ", value, " in row ", sample, ", column ", feature);
}

[[noreturn]] void raise_changed(Index sample) {
    raise<std::invalid_argument>(
        "row ", sample, " changed while it was read, expected an array that nothing writes to");
}

// The smallest i below n for which f(i) is true, or n; f is called for all smaller ones.
template <class F>
Index find_first(Index n, int n_threads, const F& f) {
    std::atomic<Index> first{n};
    run_team(n_threads, [&](Member member) {
        const Range range = member.share(n);
        Index i = range.begin;
        while (i < range.end && !f(i)) ++i;
        for (Index seen = first; i < std::min(seen, range.end);) {
            if (first.compare_exchange_weak(seen, i)) break;
        }
    });
    return first;
}

template <class T, class S, class Stride, class Value>
bool scan_strided(const S* row, Index n, Stride stride, const Value& value_of, Index& n_nonzero) {
    constexpr Index kMost = 1 << 20;  // that are counted in so narrow a number
    Index count = 0;
    int not_finite = 0;
    for (Index first = 0; first < n; first += kMost) {
        const Index end = std::min(n, first + kMost);
        std::int32_t zeros = 0;
        for (Index j = first; j < end; ++j) {
            if constexpr (std::is_same_v<S, std::uint8_t>) {
                zeros += row[j * stride] == 0;
            } else {
                const T value = value_of(row[j * stride], j);
                zeros += value == T(0);
                not_finite |= !(std::abs(value) <= std::numeric_limits<T>::max());
            }
        }
        count += end - first - zeros;
    }
    n_nonzero = count;
    return not_finite == 0;
}

// How many numbers of a row are not zero in T, and whether all are finite. A scale leaves bytes
// finite and makes none of them zero; its caller sees to that.
template <class T, class S, class Value>
bool scan_row(const S* row, Index n, Index stride, const Value& value_of, Index& n_nonzero) {
    if (stride != 1) return scan_strided<T>(row, n, stride, value_of, n_nonzero);
    // a constant, which the compiler makes vectors of
    return scan_strided<T>(row, n, std::integral_constant<Index, 1>(), value_of, n_nonzero);
}

// f(column, number) for each number of a row that is not zero.
template <class S, class Stride, class F>
void for_each_number(const S* row, Index n, Stride stride, const F& f) {
    constexpr Index group = 8;  // most are zero
    const auto nonzeros = [&](Index first, Index count) -> unsigned {
        if constexpr (!std::is_same_v<Stride, Index>) {  // all at once, but for signs
            constexpr auto numbers = sizeof(S) == 1   ? ~std::uint64_t{0}
                                     : sizeof(S) == 4 ? std::uint64_t{0x7FFFFFFF7FFFFFFF}
                                                      : std::uint64_t{0x7FFFFFFFFFFFFFFF};
            std::uint64_t words[sizeof(S)] = {};
            std::memcpy(words, row + first, static_cast<std::size_t>(count) * sizeof(S));
            std::uint64_t any = 0;
            for (const std::uint64_t word : words) any |= word;
            if ((any & numbers) == 0) return 0;
        }
        unsigned found = 0;
        for (Index k = 0; k < count; ++k) {
            found |= row[(first + k) * stride] != S(0) ? 1U << k : 0U;
        }
        return found;
    };
    for (Index first = 0; first < n; first += group) {
        unsigned found = first + group <= n ? nonzeros(first, group) : nonzeros(first, n - first);
        for (; found; found &= found - 1) {
            const Index j = first + __builtin_ctz(found);
            f(j, row[j * stride]);
        }
    }
}

// Values that are not zero, up to 255 of them, by number from 1 on.
template <class T>
class ValueNumbers {
   public:
    // The number of a value, a new one if need be; 0 for zero, and where there is no room.
    std::uint8_t number(T value) {
        if (value == T(0)) return 0;
        std::uint8_t& found = place(value);
        if (found == 0 && values_.count() < 256) {
            found = static_cast<std::uint8_t>(values_.count());
            values_.push_back(value);
        }
        return found;
    }
    const List<T>& values() const { return values_; }  // by number

   private:
    // Where a value's number is or, in a table with many empty places, would be.
    std::uint8_t& place(T value) {
        std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t> bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        constexpr std::size_t mask = std::tuple_size_v<decltype(places_)> - 1;
        std::size_t at = (bits * std::uint64_t{0x9E3779B97F4A7C15}) >> 52;
        while (places_[at & mask] != 0 && values_[places_[at & mask]] != value) ++at;
        return places_[at & mask];
    }

    List<T> values_ = List<T>(1);
    std::array<std::uint8_t, 4096> places_{};
};

}  // namespace

template <class T>
Input<T>::Input(const DenseSource& source, T scale, Layout layout, int n_threads,
                const double* zero)
    : source_(source), scale_(scale), n_samples_(source.n_samples), n_features_(source.n_features) {
    if (zero) zero_.assign(zero, zero + n_features_);
    List<Index> counts(static_cast<std::size_t>(n_samples_));
    n_threads = useful_threads(n_threads, static_cast<double>(n_samples_ * n_features_) / 8);
    with_type(source.storage, source.data, [&](const auto* data) {
        const auto row = [&](Index i) { return data + i * source_.row_stride; };
        const Index stride = source_.column_stride;
        Index bad = 0;
        with_values([&](const auto& value_of) {
            bad = find_first(n_samples_, n_threads, [&](Index i) {
                return !scan_row<T>(row(i), n_features_, stride, value_of, counts[i]);
            });
        });
        if (bad < n_samples_) {
            for (Index j = 0; j < n_features_; ++j) {
                const auto found = row(bad)[j * stride];
                T value = 0;
                with_values([&](const auto& value_of) { value = value_of(found, j); });
                if (std::isfinite(value)) continue;
                raise_not_finite<T>(static_cast<double>(found), bad, j);
            }
            raise_changed(bad);
        }
        for (const Index count : counts) n_nonzero_ += count;
        if (layout == Layout::dense || !zero_.empty() ||
            (layout == Layout::automatic && density() > kSparseDensity)) {
            return;
        }
        using S = std::decay_t<decltype(*data)>;
        pack<S>(counts, n_threads, [&](Index i, const auto& f) {
            if (stride != 1) return for_each_number(row(i), n_features_, stride, f);
            for_each_number(row(i), n_features_, std::integral_constant<Index, 1>(), f);
        });
    });
}

template <class T>
template <class I>
Input<T>::Input(const CsrSource<I>& source, T scale, int n_threads)
    : scale_(scale), n_samples_(source.n_samples), n_features_(source.n_features) {
    List<Index> counts(static_cast<std::size_t>(n_samples_));
    for (Index i = 0; i < n_samples_; ++i) {
        const auto start = static_cast<Index>(source.row_start[i]);
        const auto end = static_cast<Index>(source.row_start[i + 1]);
        if (start < 0 || end < start || end > source.n_nonzero || (i == 0 && start != 0)) {
            raise<std::invalid_argument>("row ", i, " goes from entry ", start, " to ", end,
                                         ", expected ascending numbers from 0 to ",
                                         source.n_nonzero);
        }
        counts[i] = end - start;
        n_nonzero_ += end - start;
    }
    if (n_nonzero_ > source.n_nonzero) raise_changed(n_samples_ - 1);
    List<Index> row_begins(1);  // where each row's entries were when they were counted
    for (const Index count : counts) row_begins.push_back(row_begins.back() + count);
    n_threads = useful_threads(n_threads, static_cast<double>(n_nonzero_));
    with_type(source.storage, source.values, [&](const auto* given) {
        const auto row_begin = [&](Index i) { return row_begins[i]; };
        // the first entry of row i that no row may have, or the row's end
        const auto find_wrong = [&](Index i) {
            Index previous = -1;
            Index at = row_begin(i);
            for (; at < row_begin(i + 1); ++at) {
                const auto j = static_cast<Index>(source.columns[at]);
                if (j <= previous || j >= n_features_) break;
                if (!std::isfinite(static_cast<T>(given[at]) * scale_)) break;
                previous = j;
            }
            return at;
        };
        const auto is_wrong = [&](Index i) { return find_wrong(i) < row_begin(i + 1); };
        const Index bad = find_first(n_samples_, n_threads, is_wrong);
        if (bad < n_samples_) {
            const Index at = find_wrong(bad);
            if (at >= row_begin(bad + 1)) raise_changed(bad);
            const auto j = static_cast<Index>(source.columns[at]);
            if (!std::isfinite(static_cast<T>(given[at]) * scale_) && j < n_features_) {
                raise_not_finite<T>(static_cast<double>(given[at]), bad, j);
            }
            raise<std::invalid_argument>("row ", bad, " has column ", j,
                                         ", expected ascending columns below ", n_features_);
        }
        using S = std::decay_t<decltype(*given)>;
        pack<S>(counts, n_threads, [&](Index i, const auto& f) {
            for (Index at = row_begin(i); at < row_begin(i + 1); ++at) {
                // as it was checked, and within bounds whatever another thread writes meanwhile
                const auto j = static_cast<Index>(source.columns[at]);
                f(std::clamp<Index>(j, 0, n_features_ - 1), given[at]);
            }
        });
    });
}

template <class T>
template <class S, class F>
void Input<T>::pack(const List<Index>& counts, int n_threads, const F& for_each) {
    if (n_samples_ > 0 && density() >= kByteDensity) {
        if (pack_bytes<S>(counts, n_threads, for_each)) return;
    }
    pack_lists(counts, n_threads, for_each);
}

// Each thread gives the values their numbers as it finds them, all agree afterwards.
template <class T>
template <class S, class F>
bool Input<T>::pack_bytes(const List<Index>& counts, int n_threads, const F& for_each) {
    constexpr bool is_byte = sizeof(S) == 1;  // and its own number
    struct Share {
        ValueNumbers<T> numbers;
        Range samples{0, 0};
        bool few = true;
        std::uint8_t operator()(T value) {
            const std::uint8_t number = numbers.number(value);
            few = few && (number != 0 || value == T(0));
            return number;
        }
    };
    if constexpr (!is_byte) {  // what has many values shows it in its first samples
        Share first;
        for (Index i = 0; i < std::min<Index>(n_samples_, 32) && first.few; ++i) {
            for_each(i, [&](Index, S number) { first(scaled(number)); });
        }
        if (!first.few) return false;
    }
    constexpr Index readable = 8;  // words behind the last, as expand_bytes() asks for
    List<Index> starts(1);
    for (const Index count : counts) starts.push_back(starts.back() + words() + (count + 7) / 8);
    Buffer<std::uint64_t> rows(starts.back() + readable);
    const auto values_of = [&](Index i) {
        return reinterpret_cast<std::uint8_t*>(rows.data() + starts[i] + words());
    };
    List<Share> shares(static_cast<std::size_t>(n_threads));
    run_team(n_threads, [&](Member member) {
        Share& own = shares[member.rank];
        own.samples = member.share(n_samples_);
        for (Index i = own.samples.begin; i < own.samples.end && own.few; ++i) {
            std::uint64_t* const bits = rows.data() + starts[i];
            std::uint8_t* next = values_of(i);
            const std::uint8_t* const end = next + counts[i];
            for_each(i, [&](Index j, S number) {
                std::uint8_t byte = 0;
                if constexpr (is_byte) {
                    byte = number;
                } else {
                    byte = own(scaled(number));
                }
                if (byte == 0 || next == end) return;  // where another thread changes the row
                *next++ = byte;
                bits[j / 64] |= std::uint64_t{1} << j % 64;
            });
        }
    });
    Buffer<T> table(256);
    if constexpr (is_byte) {
        for (Index i = 0; i < 256; ++i) table.data()[i] = scaled(static_cast<S>(i));
    } else {
        Share all;
        for (Share& own : shares) {
            std::uint8_t renumbered[256] = {};
            const List<T>& values = own.numbers.values();
            bool changed = false;
            for (Index i = 1; i < values.count(); ++i) {
                renumbered[i] = all(values[i]);
                changed = changed || renumbered[i] != i;
            }
            if (!own.few || !all.few) return false;
            for (Index i = own.samples.begin; changed && i < own.samples.end; ++i) {
                std::uint8_t* const numbers = values_of(i);
                for (Index k = 0; k < counts[i]; ++k) numbers[k] = renumbered[numbers[k]];
            }
        }
        std::copy(all.numbers.values().begin(), all.numbers.values().end(), table.data());
    }
    row_start_ = std::move(starts);
    bits_ = std::move(rows);
    table_ = std::move(table);
    return true;
}

template <class T>
template <class F>
void Input<T>::pack_lists(const List<Index>& counts, int n_threads, const F& for_each) {
    row_start_.assign(1, 0);
    row_start_.reserve(counts.size() + 1);
    for (const Index count : counts) row_start_.push_back(row_start_.back() + count + 1);
    packed_ = PackedMemory<T>::of_lists(row_start_.back(), n_features_ > kNoColumn<std::uint16_t>);
    const auto write = [&](auto* all_columns) {
        using Column = std::decay_t<decltype(*all_columns)>;
        run_team(n_threads, [&](Member member) {
            const Range range = member.share(n_samples_);
            for (Index i = range.begin; i < range.end; ++i) {
                Column* const columns = all_columns + row_start_[i];
                T* const values = packed_.values() + row_start_[i];
                // where another thread changes the row meanwhile, no more than was counted
                const Index count = counts[i];
                Index at = 0;
                for_each(i, [&](Index j, auto number) {
                    const T value = scaled(number);
                    columns[at] = static_cast<Column>(j);
                    values[at] = value;
                    at += static_cast<Index>(value != T(0)) & static_cast<Index>(at < count);
                });
                for (; at <= count; ++at) {
                    columns[at] = kNoColumn<Column>;
                    values[at] = T(0);
                }
            }
        });
    };
    auto* const columns32 = packed_.template columns<std::uint32_t>();
    if (columns32) return write(columns32);
    write(packed_.template columns<std::uint16_t>());
}

template <class T>
PackedMemory<T> Input<T>::packed_memory(Index n) const {
    if (is_bytes()) return PackedMemory<T>::of_bytes(n, n_features_);
    return PackedMemory<T>::of_lists(n * row_room(), lists().columns32 != nullptr);
}

template <class T>
Index Input<T>::row_room() const {
    if (is_bytes()) return PackedMemory<T>::row_bytes(n_features_);
    Index longest = 0;
    for (Index i = 0; i < n_samples_; ++i) {
        longest = std::max(longest, row_start(i + 1) - row_start(i));
    }
    return longest;
}

// Calls f(column, value) for a sparse sample's non-zeros.
template <class T>
template <class F>
void Input<T>::for_each_nonzero(Index sample, const F& f) const {
    if (!is_bytes()) return sae::for_each_nonzero(lists(), row_start(sample), f);
    const std::uint8_t* next = numbers(sample);
    for (Index w = 0; w < words(); ++w) {
        for_each_bit(bits(sample)[w], [&](Index k) { f(64 * w + k, table_.data()[*next++]); });
    }
}

template <class T>
void Input<T>::expand(Index sample, std::uint8_t* bytes, std::uint64_t* bits_of) const {
    std::copy_n(bits(sample), words(), bits_of);
    kernels<T>(active_isa()).expand_bytes(n_features_, bits_of, numbers(sample), bytes);
}

template <class T>
auto Input<T>::column_sums(int n_threads) const -> const ColumnSums& {
    std::call_once(column_sums_->flag, [&] { column_sums_->sums = sum_columns(n_threads); });
    return column_sums_->sums;
}

// In parts of the set that do not depend on the number of threads.
template <class T>
auto Input<T>::sum_columns(int n_threads) const -> ColumnSums {
    const auto n = static_cast<std::size_t>(n_features_);
    const ColumnSums none{List<Index>(n), List<double>(n), 0};
    const Index n_parts = std::clamp<Index>(n_nonzero_ / (8 * n_features_), 1, 64);
    List<ColumnSums> parts(static_cast<std::size_t>(n_parts), none);
    const int team = useful_threads(n_threads, static_cast<double>(n_nonzero_));
    run_team(std::min(team, static_cast<int>(n_parts)), [&](Member member) {
        const Range range = member.share(n_parts);
        for (Index p = range.begin; p < range.end; ++p) {
            ColumnSums& part = parts[p];
            for (Index i = n_samples_ * p / n_parts; i < n_samples_ * (p + 1) / n_parts; ++i) {
                for_each_nonzero(i, [&](Index j, T x) {
                    const auto value = static_cast<double>(x);
                    ++part.nonzeros[j];
                    part.values[j] += value;
                    part.squares += value * value;
                });
            }
        }
    });
    ColumnSums all = none;
    for (const ColumnSums& part : parts) {
        for (Index j = 0; j < n_features_; ++j) {
            all.nonzeros[j] += part.nonzeros[j];
            all.values[j] += part.values[j];
        }
        all.squares += part.squares;
    }
    return all;
}

// Calls f(column, value) for all of a sample's values, or for its non-zeros.
template <class T>
template <class F>
void Input<T>::for_each_value(Index sample, const F& f) const {
    if (sparse()) return for_each_nonzero(sample, f);
    with_type(source_.storage, source_.data, [&](const auto* data) {
        const auto* row = data + sample * source_.row_stride;
        with_values([&](const auto& value_of) {
            for (Index j = 0; j < n_features_; ++j) {
                f(j, value_of(row[j * source_.column_stride], j));
            }
        });
    });
}

template <class T>
void Input<T>::gather(const std::int64_t* index, Index first, View<T> out) const {
    const auto sample = [&](Index i) { return index ? static_cast<Index>(index[i]) : first + i; };
    if (sparse()) {
        for (Index i = 0; i < out.rows; ++i) {
            T* to = out.row(i);
            std::fill_n(to, n_features_, T(0));
            for_each_nonzero(sample(i), [&](Index j, T x) { to[j] = x; });
        }
        return;
    }
    with_type(source_.storage, source_.data, [&](const auto* data) {
        for (Index i = 0; i < out.rows; ++i) {
            const auto* row = data + sample(i) * source_.row_stride;
            T* to = out.row(i);
            with_values([&](const auto& value_of) {
                if (source_.column_stride == 1) {
                    for (Index j = 0; j < n_features_; ++j) to[j] = value_of(row[j], j);
                } else {
                    for (Index j = 0; j < n_features_; ++j) {
                        to[j] = value_of(row[j * source_.column_stride], j);
                    }
                }
            });
        }
    });
}

template <class T>
auto Input<T>::find_outside(T low, T high, int n_threads) const -> std::optional<Place> {
    const auto outside = [&](T number) { return number < low || number > high; };
    const double work = sparse() ? static_cast<double>(n_nonzero_)
                                 : static_cast<double>(n_samples_ * n_features_) / 8;
    Place place{};
    place.sample = find_first(n_samples_, useful_threads(n_threads, work), [&](Index i) {
        bool found = false;
        for_each_value(i, [&](Index, T number) { found |= outside(number); });
        return found;
    });
    if (place.sample == n_samples_) return std::nullopt;
    for_each_value(place.sample, [&](Index j, T number) {
        if (outside(place.value) || !outside(number)) return;
        place.feature = j;
        place.value = number;
    });
    return place;
}

template <class T>
void Input<T>::prefetch(Index sample) const {
    constexpr Index most = 1024;  // of a long one what it starts with
    const Index start = row_start(sample), end = row_start(sample + 1);
    if (is_bytes()) {
        for (Index w = start; w < std::min(end, start + most); w += 8) {
            __builtin_prefetch(bits_.data() + w);
        }
        return __builtin_prefetch(bits_.data() + end - 1);
    }
    with_packed(lists(),
                [&](const auto& rows) { rows.prefetch(start, std::min(end - start, most)); });
}

template class Input<float>;
template class Input<double>;
template Input<float>::Input(const CsrSource<std::int32_t>&, float, int);
template Input<float>::Input(const CsrSource<std::int64_t>&, float, int);
template Input<double>::Input(const CsrSource<std::int32_t>&, double, int);
template Input<double>::Input(const CsrSource<std::int64_t>&, double, int);

}  // namespace sae
