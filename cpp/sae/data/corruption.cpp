// SPDX-License-Identifier: BSD-3-Clause
#include "sae/data/corruption.hpp"

#include "sae/data/masking.hpp"

namespace sae {

template <class T>
std::unique_ptr<Corruption<T>> make_corruption(CorruptionName name,
                                               const std::map<std::string, double>& options,
                                               PhiloxKey key) {
    switch (name) {
#define SAE_CASE(name, Class)  \
    case CorruptionName::name: \
        return std::make_unique<Class<T>>(options, key);
        SAE_CORRUPTIONS(SAE_CASE)
#undef SAE_CASE
    }
    return nullptr;
}

#define SAE_INSTANTIATE(T)                                   \
    template std::unique_ptr<Corruption<T>> make_corruption( \
        CorruptionName, const std::map<std::string, double>&, PhiloxKey);
SAE_INSTANTIATE(float)
SAE_INSTANTIATE(double)
#undef SAE_INSTANTIATE

}  // namespace sae
