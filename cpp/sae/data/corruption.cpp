// SPDX-License-Identifier: BSD-3-Clause
#include "sae/data/corruption.hpp"

namespace sae {

namespace {

using Options = std::map<std::string, double>;

// f(column, 32 random bits) for the first n columns of a row: a function of the key, the step, the
// row and the column alone, so that threads have no part in it.
template <class F>
void draw(PhiloxKey key, Index n, Index row, Index step, const F& f) {
    for (Index column = 0; column < n;) {
        const PhiloxBlock words =
            philox({static_cast<std::uint64_t>(column / 8 + 1), static_cast<std::uint64_t>(row),
                    static_cast<std::uint64_t>(step), 0},
                   key);
        for (std::size_t i = 0; i < 8 && column < n; ++i, ++column) {
            f(column, static_cast<std::uint32_t>(words[i / 2] >> (i % 2 * 32)));
        }
    }
}

// Each feature of each sample is zero with probability `share`.
template <class T>
class Masking : public Corruption<T> {
   public:
    Masking(const Options& options, PhiloxKey key)
        : key_(key), limit_(static_cast<std::uint64_t>(options.at("share") * 4294967296.0)) {}

    void apply(Batch<T>& batch, Range rows, Index step) const override {
        const View<T> x = batch.x.dense;
        for (Index i = rows.begin; i < rows.end; ++i) {
            draw(key_, x.cols, i, step,
                 [&](Index j, std::uint32_t bits) { x(i, j) = bits < limit_ ? T(0) : x(i, j); });
        }
    }

   private:
    PhiloxKey key_;
    std::uint64_t limit_;  // of 2^32 numbers
};

template <class Class, class T>
std::unique_ptr<Corruption<T>> make(const Options& options, PhiloxKey key) {
    return std::make_unique<Class>(options, key);
}

}  // namespace

template <class T>
std::unique_ptr<Corruption<T>> make_corruption(CorruptionName name, const Options& options,
                                               PhiloxKey key) {
#define SAE_FUNCTION(name, Class) make<Class<T>, T>,
    constexpr decltype(&make<Masking<T>, T>) corruptions[] = {SAE_CORRUPTIONS(SAE_FUNCTION)};
    return corruptions[static_cast<int>(name)](options, key);
}

template std::unique_ptr<Corruption<float>> make_corruption(CorruptionName, const Options&,
                                                            PhiloxKey);
template std::unique_ptr<Corruption<double>> make_corruption(CorruptionName, const Options&,
                                                             PhiloxKey);

}  // namespace sae
