// SPDX-License-Identifier: BSD-3-Clause
#include "sae/kernels/kernels.hpp"

namespace sae {

template <class T>
const Kernels<T>& kernels(Isa isa) {
    switch (isa) {
#ifdef SAE_FAST_X86_KERNELS
        case Isa::avx2:
            return kernels_of<T, Isa::avx2>();
        case Isa::avx512:
            return kernels_of<T, Isa::avx512>();
#endif
        default:
            return kernels_of<T, Isa::baseline>();
    }
}

template const Kernels<float>& kernels<float>(Isa);
template const Kernels<double>& kernels<double>(Isa);

}  // namespace sae
