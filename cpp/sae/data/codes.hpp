// SPDX-License-Identifier: BSD-3-Clause
// Rows of which few elements are not zero, packed as the kernels read non-zeros: all rows take the
// same room, so that threads may pack different ones at once.
#pragma once

#include "sae/data/batch.hpp"
#include "sae/data/packed.hpp"

namespace sae {

template <class T>
class Codes {
   public:
    Codes() = default;
    // Room for n rows of n_units, of which at most `most` are not zero.
    Codes(Index n, Index n_units, Index most)
        : most_(most),
          density_(static_cast<double>(most) / static_cast<double>(n_units)),
          memory_(PackedMemory<T>::of_lists(n * (most + 1), true)),
          start_(n) {
        for (Index i = 0; i < n; ++i) start_.data()[i] = i * (most + 1);
    }

    bool empty() const { return most_ == 0; }
    Rows<T> rows() const { return {memory_.rows(), start_.data(), density_}; }

    // Takes over some rows of a (n, n_units).
    void pack(View<const T> a, Range rows) const {
        auto* const columns = memory_.template columns<std::uint32_t>();
        T* const values = memory_.values();
        for (Index i = rows.begin; i < rows.end; ++i) {
            const T* row = a.row(i);
            Index at = start_.data()[i];
            for (Index j = 0; j < a.cols && at < start_.data()[i] + most_; ++j) {
                if (row[j] == T(0)) continue;
                columns[at] = static_cast<std::uint32_t>(j);
                values[at++] = row[j];
            }
            columns[at] = kNoColumn<std::uint32_t>;
        }
    }

   private:
    Index most_ = 0;
    double density_ = 1;
    PackedMemory<T> memory_;
    Buffer<Index> start_;
};

}  // namespace sae
