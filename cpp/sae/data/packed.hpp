// SPDX-License-Identifier: BSD-3-Clause
// Memory for non-zeros as the kernels read them (PackedRows): a data set's, or those of a batch
// that has its own.
#pragma once

#include <cstdint>
#include <tuple>

#include "sae/base/buffer.hpp"
#include "sae/kernels/kernels.hpp"

namespace sae {

template <class T>
class PackedMemory {
   public:
    PackedMemory() = default;
    // Room for `size` entries, row ends included.
    PackedMemory(Index size, bool wide_columns, bool bytes) {
        if (wide_columns) {
            std::get<1>(columns_) = Buffer<std::uint32_t>(size);
        } else {
            std::get<0>(columns_) = Buffer<std::uint16_t>(size);
        }
        if (bytes) {
            std::get<0>(values_) = Buffer<std::uint8_t>(size);
        } else {
            std::get<1>(values_) = Buffer<T>(size);
        }
    }

    // Of each pair of types one is there, the other null.
    template <class Column>
    Column* columns() const {
        return std::get<Buffer<Column>>(columns_).data();
    }
    template <class Value>
    Value* values() const {
        return std::get<Buffer<Value>>(values_).data();
    }
    // table (256): what bytes stand for
    PackedRows<T> rows(const T* table) const {
        return {columns<std::uint16_t>(),
                columns<std::uint32_t>(),
                {values<T>()},
                {values<std::uint8_t>(), table}};
    }

   private:
    std::tuple<Buffer<std::uint16_t>, Buffer<std::uint32_t>> columns_;
    std::tuple<Buffer<std::uint8_t>, Buffer<T>> values_;
};

}  // namespace sae
