// SPDX-License-Identifier: BSD-3-Clause
// Memory for rows that are mostly zero as the kernels read them (PackedRows): lists of a data
// set's, or those of a batch that has its own.
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
    // Room for lists of `size` entries, row ends included.
    static PackedMemory of_lists(Index size, bool wide_columns) {
        PackedMemory memory;
        if (wide_columns) {
            std::get<1>(memory.columns_) = Buffer<std::uint32_t>(size);
        } else {
            std::get<0>(memory.columns_) = Buffer<std::uint16_t>(size);
        }
        memory.values_ = Buffer<T>(size);
        return memory;
    }
    // Room for rows of bytes, row_bytes() from one to the next; 64 may be read from any column on.
    static PackedMemory of_bytes(Index n_rows, Index n_columns) {
        PackedMemory memory;
        memory.bytes_ = Buffer<std::uint8_t>(n_rows * row_bytes(n_columns) + 64);
        memory.bits_ = Buffer<std::uint64_t>(n_rows * row_bytes(n_columns) / 64);
        return memory;
    }
    static Index row_bytes(Index n_columns) { return padded<std::uint8_t>(n_columns); }

    // Of each there is what the rows are kept in, else null.
    template <class Column>
    Column* columns() const {
        return std::get<Buffer<Column>>(columns_).data();
    }
    T* values() const { return values_.data(); }
    std::uint8_t* bytes() const { return bytes_.data(); }
    std::uint64_t* bits() const { return bits_.data(); }

    // table (256): what bytes stand for
    PackedRows<T> rows(const T* table = nullptr, Index n_columns = 0) const {
        return {columns<std::uint16_t>(),
                columns<std::uint32_t>(),
                values(),
                {bytes(), bits(), table, n_columns}};
    }

   private:
    std::tuple<Buffer<std::uint16_t>, Buffer<std::uint32_t>> columns_;
    Buffer<T> values_;
    Buffer<std::uint8_t> bytes_;
    Buffer<std::uint64_t> bits_;
};

}  // namespace sae
