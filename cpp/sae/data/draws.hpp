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

   private:
    // Those of `count` columns from `first` on, which begins a group.
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

    std::uint64_t key_;
};

// Chooses each column of a row with probability `share`.
class Choice {
   public:
    Choice(double share, std::uint64_t key)
        : draws_(key),
          all_(share >= 1),
          byte_(static_cast<std::uint8_t>(share * 256)),
          rest_(static_cast<std::uint32_t>((share * 256 - std::floor(share * 256)) * 0x1p32)) {}

    // chosen (n) = 1 or 0. A byte decides, and where that is undecided, in one column of 256, 32
    // bits more.
    void choose(Index n, Index row, Index step, std::uint8_t* chosen) const {
        if (all_) return static_cast<void>(std::fill_n(chosen, n, std::uint8_t{1}));
        draws_.for_each_part<std::uint8_t>(
            Draw::choice, n, row, step, [&](Index first, Index count, const std::uint8_t* bytes) {
                std::uint8_t* const to = chosen + first;
                const std::uint8_t limit = byte_;  // which writing a byte might change
                for (Index i = 0; i < count; ++i) to[i] = bytes[i] < limit;
                for (Index i = 0; rest_ > 0; ++i) {
                    const void* const found =
                        std::memchr(bytes + i, byte_, static_cast<std::size_t>(count - i));
                    if (!found) break;
                    i = static_cast<const std::uint8_t*>(found) - bytes;
                    to[i] = draws_.word(Draw::rest_of_choice, first + i, row, step) < rest_;
                }
            });
    }

   private:
    Draws draws_;
    bool all_;            // share is 1
    std::uint8_t byte_;   // chosen if a byte is below this,
    std::uint32_t rest_;  // or if it is the same and 32 bits more are below this
};

}  // namespace sae
