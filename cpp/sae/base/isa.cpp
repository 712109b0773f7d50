// SPDX-License-Identifier: BSD-3-Clause
#include "sae/base/isa.hpp"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace sae {

namespace {

// The compiler's run-time library asks CPUID for the instructions and XGETBV for whether the
// operating system saves their registers; both must agree.
bool can_run(Isa isa) {
    switch (isa) {
        case Isa::baseline:
            return true;
#ifdef SAE_FAST_X86_KERNELS
        case Isa::avx2:
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        case Isa::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
#endif
        default:
            return false;
    }
}

Isa& chosen() {
    static Isa isa = available_isas().back();
    return isa;
}

}  // namespace

std::vector<Isa> available_isas() {
    std::vector<Isa> found;
    for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
        if (can_run(isa)) found.push_back(isa);
    }
    return found;
}

Isa active_isa() { return chosen(); }

Isa find_isa(const std::string& name) {
    std::string names, lower = name;
    std::transform(name.begin(), name.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (Isa isa : available_isas()) {
        if (lower == isa_name(isa)) return isa;
        names += (names.empty() ? "" : ", ") + isa_name(isa);
    }
    throw std::invalid_argument("instruction set '" + name +
                                "' is unknown or cannot run on this processor; it offers " + names);
}

void force_isa(const std::string& name) { chosen() = find_isa(name); }

}  // namespace sae
