// SPDX-License-Identifier: BSD-3-Clause
// Noise on the samples of a batch before the first layer reads them, their target staying clean
// (denoising autoencoders, Vincent et al. 2010). To add one: a word in the list, a file with its
// class.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "sae/base/philox.hpp"
#include "sae/data/batch.hpp"

namespace sae {

// name, class
#define SAE_CORRUPTIONS(X) X(masking, Masking)

enum class CorruptionName {
#define SAE_NAME(name, Class) name,
    SAE_CORRUPTIONS(SAE_NAME)
#undef SAE_NAME
};

template <class T>
class Corruption {
   public:
    explicit Corruption(PhiloxKey key) : key_(key) {}
    virtual ~Corruption() = default;

    // Changes the rows `rows` of batch.x, a matrix, at step `step`, counted from 1.
    virtual void apply(Batch<T>& batch, Range rows, Index step) const = 0;

   protected:
    // f(column, 32 random bits) for the first n columns of a row: a function of the key, the step,
    // the row and the column alone, so that threads have no part in it.
    template <class F>
    void draw(Index n, Index row, Index step, const F& f) const {
        for (Index column = 0; column < n;) {
            const PhiloxBlock words =
                philox({static_cast<std::uint64_t>(column / 8 + 1), static_cast<std::uint64_t>(row),
                        static_cast<std::uint64_t>(step), 0},
                       key_);
            for (int i = 0; i < 8 && column < n; ++i, ++column) {
                f(column, static_cast<std::uint32_t>(words[static_cast<std::size_t>(i / 2)] >>
                                                     (i % 2 * 32)));
            }
        }
    }

   private:
    PhiloxKey key_;
};

// The corruption of a name, with its options by theirs; std::out_of_range if one is missing.
template <class T>
std::unique_ptr<Corruption<T>> make_corruption(CorruptionName name,
                                               const std::map<std::string, double>& options,
                                               PhiloxKey key);

}  // namespace sae
