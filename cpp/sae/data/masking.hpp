// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "sae/data/corruption.hpp"

namespace sae {

// Each feature of each sample is zero with probability `share`.
template <class T>
class Masking : public Corruption<T> {
   public:
    Masking(const std::map<std::string, double>& options, PhiloxKey key)
        : Corruption<T>(key),
          limit_(static_cast<std::uint64_t>(options.at("share") * 4294967296.0)) {}

    void apply(Batch<T>& batch, Range rows, Index step) const override {
        const View<T> x = batch.x.dense;
        for (Index i = rows.begin; i < rows.end; ++i) {
            T* const row = x.row(i);
            this->draw(x.cols, i, step, [&](Index j, std::uint32_t bits) {
                row[j] = bits < limit_ ? T(0) : row[j];
            });
        }
    }

   private:
    std::uint64_t limit_;  // of 2^32 numbers
};

}  // namespace sae
