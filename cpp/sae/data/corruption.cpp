// SPDX-License-Identifier: BSD-3-Clause
#include "sae/data/corruption.hpp"

namespace sae {

namespace {

// Both values at hand, so that there is no branch, which no processor could predict.
template <class V>
V choose(bool first, V a, V b) {
    return first ? a : b;
}

// Each feature of each sample is zero with probability `share`: of a sparse sample, the non-zeros
// that are left.
template <class T>
class Masking : public Corruption<T> {
   public:
    Masking(const CorruptionOptions& options, std::uint64_t key)
        : Corruption<T>(options.at("share"), options, key) {}

    bool keeps_sparse() const override { return true; }

   private:
    void corrupt(const Batch<T>& batch, Index row, Index step,
                 const std::uint8_t* chosen) const override {
        if (batch.x.sparse()) return drop(batch, row, step);
        const T* clean = batch.clean.dense.row(row);
        T* x = batch.x.dense.row(row);
        for (Index j = 0; j < batch.x.dense.cols; ++j) x[j] = choose(chosen[j], T(0), clean[j]);
    }

    void drop(const Batch<T>& batch, Index row, Index step) const {
        const Index start = batch.clean.start[row], to = batch.x.start[row];
        with_packed(batch.clean.packed, [&](const auto& rows) {
            drop(rows, start, batch.x_sparse.packed, to, batch.first + row, step,
                 batch.corrupted.cols);
        });
    }

    // Without a branch that no processor could predict.
    template <class Column>
    void drop(const ListedRows<T, Column>& clean, Index at, const PackedMemory<T>& memory, Index to,
              Index row, Index step, Index n_columns) const {
        Column* to_columns = memory.template columns<Column>() + to;
        T* to_values = memory.values() + to;
        const auto drop_part = [&](Index first, Index count, const std::uint64_t* chosen) {
            // copies, in registers: storing a value might change what is captured
            const auto [columns, values] = clean;
            Column* const to_column = to_columns;
            T* const to_value = to_values;
            Index i = at, n = 0;
            for (; columns[i] < first + count; ++i) {
                const auto within = static_cast<std::uint32_t>(columns[i] - first);
                to_column[n] = columns[i];
                to_value[n] = values[i];
                n += ~chosen[within / 64] >> within % 64 & 1;
            }
            at = i, to_columns += n, to_values += n;
        };
        this->choice.for_each_part(n_columns, row, step, drop_part);
        *to_columns = kNoColumn<Column>;
        *to_values = T(0);
    }

    void drop(const ByteRows<T>& clean, Index at, const PackedMemory<T>& memory, Index to,
              Index row, Index step, Index n_columns) const {
        const auto drop_part = [&](Index first, Index count, const std::uint64_t* chosen) {
            // copies, in registers: storing a byte might change what is captured
            const std::uint8_t* const from = clean.bytes + at + first;
            const std::uint64_t* const from_bits = clean.bits + (at + first) / 64;
            std::uint8_t* const kept = memory.bytes() + to + first;
            std::uint64_t* const kept_bits = memory.bits() + (to + first) / 64;
            const Index n = count;
            for (Index i = 0; i < n; i += 64) {
                const std::uint64_t dropped = chosen[i / 64];
                kept_bits[i / 64] = from_bits[i / 64] & ~dropped;
                for (Index k = 0; k < 64; k += 8) {
                    std::uint64_t eight = 0;
                    std::memcpy(&eight, from + i + k, sizeof eight);
                    eight &= ~(0xFF * ones_of_bits(dropped >> k & 0xFF));
                    std::memcpy(kept + i + k, &eight, sizeof eight);
                }
            }
        };
        this->choice.for_each_part(n_columns, row, step, drop_part);
    }
};

// Normal noise of this standard deviation on each feature of each sample.
template <class T>
class Gaussian : public Corruption<T> {
   public:
    Gaussian(const CorruptionOptions& options, std::uint64_t key)
        : Corruption<T>(1, options, key), stddev_(static_cast<T>(options.at("stddev"))) {}

   private:
    void corrupt(const Batch<T>& batch, Index row, Index step, const std::uint8_t*) const override {
        const T* clean = batch.clean.dense.row(row);
        T* x = batch.x.dense.row(row);
        this->draws.template for_each_part<std::uint32_t>(
            Draw::value, batch.x.dense.cols, batch.first + row, step,
            [&](Index first, Index count, const std::uint32_t* words) {
                alignas(kAlignment) T noise[Draws::kPart<std::uint32_t>];
                kernels<T>(active_isa()).normals((count + 31) / 32, words, noise);
                const T stddev = stddev_;
                for (Index i = 0, j = first; i < count; ++i, ++j) {
                    x[j] = clean[j] + stddev * noise[i];
                }
            });
    }

    T stddev_;
};

// Each feature of each sample, with probability `share`, is `low` or `high`, either as often.
template <class T>
class SaltAndPepper : public Corruption<T> {
   public:
    SaltAndPepper(const CorruptionOptions& options, std::uint64_t key)
        : Corruption<T>(options.at("share"), options, key),
          low_(static_cast<T>(options.at("low"))),
          high_(static_cast<T>(options.at("high"))) {}

   private:
    void corrupt(const Batch<T>& batch, Index row, Index step,
                 const std::uint8_t* chosen) const override {
        const T* clean = batch.clean.dense.row(row);
        T* x = batch.x.dense.row(row);
        this->draws.template for_each_part<std::uint8_t>(
            Draw::value, batch.x.dense.cols, batch.first + row, step,
            [&](Index first, Index count, const std::uint8_t* bytes) {
                const T low = low_, high = high_;
                for (Index i = 0, j = first; i < count; ++i, ++j) {
                    x[j] = choose(chosen[j], choose(bytes[i] < 128, low, high), clean[j]);
                }
            });
    }

    T low_, high_;
};

// Each feature of each sample, with probability `share`, is that of another sample of the batch,
// any of them as often.
template <class T>
class Swap : public Corruption<T> {
   public:
    Swap(const CorruptionOptions& options, std::uint64_t key)
        : Corruption<T>(options.at("share"), options, key) {}

    bool reads_others() const override { return true; }

   private:
    void corrupt(const Batch<T>& batch, Index row, Index step,
                 const std::uint8_t* chosen) const override {
        const View<T> clean = batch.clean.dense;
        const auto n_others = static_cast<std::uint64_t>(clean.rows - 1);
        T* x = batch.x.dense.row(row);
        this->draws.template for_each_part<std::uint32_t>(
            Draw::value, clean.cols, row, step,
            [&](Index first, Index count, const std::uint32_t* words) {
                for (Index i = 0, j = first; i < count; ++i, ++j) {
                    auto other = static_cast<Index>(words[i] * n_others >> 32);
                    other += other >= row && n_others > 0;
                    x[j] = clean(choose(chosen[j], other, row), j);
                }
            });
    }
};

template <class Class, class T>
std::unique_ptr<Corruption<T>> make(const CorruptionOptions& options, std::uint64_t key) {
    return std::make_unique<Class>(options, key);
}

}  // namespace

template <class T>
Corruption<T>::Corruption(double share, const CorruptionOptions& options, std::uint64_t key)
    : draws(key),
      choice(share, key),
      alpha_(static_cast<T>(options.at("alpha"))),
      beta_(static_cast<T>(options.at("beta"))) {}

template <class T>
void Corruption<T>::apply(const Batch<T>& batch, Range rows, Index step) const {
    const Index n = batch.corrupted.cols;
    for (Index i = rows.begin; i < rows.end; ++i) {
        const Index ahead = i + 4;
        if (batch.clean.sparse() && ahead < rows.end) batch.clean.prefetch(ahead, n);
        std::uint8_t* const chosen = batch.corrupted.row(i);
        if (emphasizes() || !batch.x.sparse()) choice.choose(n, batch.first + i, step, chosen);
        corrupt(batch, i, step, chosen);
    }
}

template <class T>
void Corruption<T>::emphasize(const Batch<T>& batch, Index row, T* delta) const {
    const std::uint8_t* const corrupted = batch.corrupted.row(row);
    for (Index j = 0; j < batch.corrupted.cols; ++j) delta[j] *= corrupted[j] ? alpha_ : beta_;
}

template <class T>
std::unique_ptr<Corruption<T>> make_corruption(CorruptionName name,
                                               const CorruptionOptions& options,
                                               std::uint64_t key) {
#define SAE_FUNCTION(name, Class) make<Class<T>, T>,
    constexpr decltype(&make<Masking<T>, T>) corruptions[] = {SAE_CORRUPTIONS(SAE_FUNCTION)};
    return corruptions[static_cast<int>(name)](options, key);
}

template class Corruption<float>;
template class Corruption<double>;
template std::unique_ptr<Corruption<float>> make_corruption(CorruptionName,
                                                            const CorruptionOptions&,
                                                            std::uint64_t);
template std::unique_ptr<Corruption<double>> make_corruption(CorruptionName,
                                                             const CorruptionOptions&,
                                                             std::uint64_t);

}  // namespace sae
