// SPDX-License-Identifier: BSD-3-Clause
// Counter-based random numbers: Philox4x64-10 (Salmon, Moraes, Dror and Shaw 2011), as NumPy has
// it. What is drawn is a function of key and counter, whoever draws it.
#pragma once

#include <array>
#include <cstdint>

namespace sae {

using PhiloxKey = std::array<std::uint64_t, 2>;
using PhiloxBlock = std::array<std::uint64_t, 4>;

inline PhiloxBlock philox(PhiloxBlock counter, PhiloxKey key) {
    __extension__ typedef unsigned __int128 Wide;
    for (int round = 0; round < 10; ++round) {
        const Wide a = Wide{0xD2E7470EE14C6C93} * counter[0];
        const Wide b = Wide{0xCA5A826395121157} * counter[2];
        counter = {static_cast<std::uint64_t>(b >> 64) ^ counter[1] ^ key[0],
                   static_cast<std::uint64_t>(b),
                   static_cast<std::uint64_t>(a >> 64) ^ counter[3] ^ key[1],
                   static_cast<std::uint64_t>(a)};
        key[0] += 0x9E3779B97F4A7C15;
        key[1] += 0xBB67AE8584CAA73B;
    }
    return counter;
}

}  // namespace sae
