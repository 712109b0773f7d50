// SPDX-License-Identifier: BSD-3-Clause
// Enumerations with their names, from a list of words: a macro LIST(X) that gives X(word, what the
// word stands for) for each.
#pragma once

#include <array>

#define SAE_ENUM_VALUE(name, what) name,
#define SAE_ENUM_NAME(name, what) #name,

// enum class Enum, and names_of(Enum{}): its words in their order.
#define SAE_ENUM(Enum, LIST)                  \
    enum class Enum { LIST(SAE_ENUM_VALUE) }; \
    constexpr auto names_of(Enum) { return std::array{LIST(SAE_ENUM_NAME)}; }
