// SPDX-License-Identifier: BSD-3-Clause
// Random draws for the columns of a batch's rows. What is drawn for a column is a function of key,
// step, row and column alone, whoever draws it, so that threads have no part in it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "sae/kernels/kernels.hpp"

namespace sae {

// The streams of a key: which columns are chosen, what settles that where eight bits do not, and
// what becomes of those that are.
enum class Draw : std::uint32_t { choice, rest_of_choice, value };

class Draws {
   public:
    explicit Draws(std::uint64_t key) : key_(key) {}

    // f(first column, number of columns, their bits) for consecutive parts of the first n columns
    // of a row at a step: 8 or 32 bits for each, as U says, in whole groups of 128 bytes.
    template <class U>
    static constexpr Index kPart = 16 * 128 / static_cast<Index>(sizeof(U));
    template <class U, class F>
    void for_each_part(Draw what, Index n, Index row, Index step, const F& f) const {
        alignas(kAlignment) U bits[kPart<U>];
        for (Index first = 0; first < n; first += kPart<U>) {
            const Index count = std::min(n - first, kPart<U>);
            draw(what, first, count, row, step, bits);
            f(first, count, static_cast<const U*>(bits));
        }
    }

    // The 32 bits of one column.
    std::uint32_t word(Draw what, Index column, Index row, Index step) const {
        std::uint32_t bits[32];
        draw(what, column / 32 * 32, 32, row, step, bits);
        return bits[column % 32];
    }
    // `count` numbers of a row at a step from the one at `first` on, which begins a group of 128
    // bytes; the room is of whole groups.
    template <class U>
    void draw(Draw what, Index first, Index count, Index row, Index step, U* bits) const {
        constexpr Index group = 128 / static_cast<Index>(sizeof(U));
        const Index n_groups = (count + group - 1) / group;
        const auto number = static_cast<std::uint64_t>(step);
        const PhiloxCounter counter{
            static_cast<std::uint32_t>(first / group * 8), static_cast<std::uint32_t>(row),
            static_cast<std::uint32_t>(number),
            static_cast<std::uint32_t>(number >> 32) ^ static_cast<std::uint32_t>(what) << 24};
        kernels<float>(active_isa()).random_groups(n_groups, counter, key_, bits);
    }

   private:
    std::uint64_t key_;
};

// Eight bytes, 1 where one of eight bits is set, 0 elsewhere.
inline std::uint64_t ones_of_bits(std::uint64_t bits) {
    // bit j in byte j, and each bit that is set at the lowest place of its byte
    const std::uint64_t spread = bits * 0x0101010101010101 & 0x8040201008040201;
    return (spread + 0x7F7F7F7F7F7F7F7F) >> 7 & 0x0101010101010101;
}

// Chooses each column of a row with probability `share`: those whose random number below 1 is less.
// It is drawn bit by bit, from the highest on, and no further than `share` has bits: two of a
// quarter. Where eight leave it undecided, in one column of 256, 32 more decide.
class Choice {
   public:
    Choice(double share, std::uint64_t key)
        : draws_(key),
          all_(share >= 1),
          byte_(static_cast<std::uint32_t>(share * 256)),
          rest_(static_cast<std::uint32_t>((share * 256 - std::floor(share * 256)) * 0x1p32)) {
        while (rest_ == 0 && n_bits_ > 1 && !(byte_ >> (8 - n_bits_) & 1)) --n_bits_;
    }

    // f(first column, number of columns, which are chosen) for consecutive parts of the n columns
    // of a row at a step: bit i % 64 of word i / 64 for column i of the part.
    template <class F>
    void for_each_part(Index n, Index row, Index step, const F& f) const {
        std::uint64_t bits[kPart / 64 * 8], chosen[kPart / 64];
        for (Index first = 0; first < n; first += kPart) {
            const Index count = std::min(n - first, kPart), n_words = (count + 63) / 64;
            if (all_) {
                std::fill_n(chosen, n_words, ~std::uint64_t{0});
            } else {
                // of 64 columns the first bits, then the second, and so on
                draws_.draw(Draw::choice, first / 64 * n_bits_, n_words * n_bits_, row, step, bits);
                for (Index w = 0; w < n_words; ++w) {
                    chosen[w] = compare(bits + w * n_bits_, first + 64 * w, n, row, step);
                }
            }
            f(first, count, static_cast<const std::uint64_t*>(chosen));
        }
    }

    // chosen (n) = 1 or 0
    void choose(Index n, Index row, Index step, std::uint8_t* chosen) const {
        for_each_part(n, row, step, [&](Index first, Index count, const std::uint64_t* words) {
            std::uint8_t* const to = chosen + first;
            for (Index i = 0; i < count; i += 8) {
                const std::uint64_t bytes = ones_of_bits(words[i / 64] >> i % 64 & 0xFF);
                std::memcpy(to + i, &bytes,
                            static_cast<std::size_t>(std::min(count - i, Index{8})));
            }
        });
    }

   private:
    static constexpr Index kPart = 1024;

    std::uint64_t compare(const std::uint64_t* bits, Index first, Index n, Index row,
                          Index step) const {
        std::uint64_t less = 0;
        for (int k = n_bits_ - 1; k >= 0; --k) {
            less = byte_ >> (7 - k) & 1 ? less | ~bits[k] : less & ~bits[k];
        }
        if (rest_ == 0) return less;
        std::uint64_t equal = ~std::uint64_t{0};
        for (int k = 0; k < n_bits_; ++k) equal &= byte_ >> (7 - k) & 1 ? bits[k] : ~bits[k];
        for (Index i = 0; equal; ++i, equal >>= 1) {
            if (!(equal & 1) || first + i >= n) continue;
            const bool chosen = draws_.word(Draw::rest_of_choice, first + i, row, step) < rest_;
            less |= std::uint64_t{chosen} << i;
        }
        return less;
    }

    Draws draws_;
    bool all_;            // share is 1
    std::uint32_t byte_;  // the first eight bits of share,
    std::uint32_t rest_;  // and 32 more
    int n_bits_ = 8;      // how many of the first eight decide
};

}  // namespace sae
