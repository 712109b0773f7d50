// SPDX-License-Identifier: BSD-3-Clause
// Which instruction set the kernels of this process use: the best that the processor and the
// operating system offer, or the one that a name forces.
#pragma once

#include <string>
#include <vector>

#include "sae/base/enum.hpp"

namespace sae {

#define SAE_ISAS(X) X(baseline, ) X(avx2, ) X(avx512, )
SAE_ENUM(Isa, SAE_ISAS)

inline std::string isa_name(Isa isa) { return names_of(isa)[static_cast<std::size_t>(isa)]; }

// Those that were compiled in and can run here, slowest first.
std::vector<Isa> available_isas();

// The one in use. At first the fastest available.
Isa active_isa();

// Forces one by name for the whole process; std::invalid_argument if it is unknown or cannot run.
void force_isa(const std::string& name);

// The ISA of this name; std::invalid_argument if it is unknown or cannot run here.
Isa find_isa(const std::string& name);

}  // namespace sae
