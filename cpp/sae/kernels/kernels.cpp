// SPDX-License-Identifier: BSD-3-Clause
#include "sae/kernels/kernels.hpp"

namespace sae {

namespace baseline {
template <class T>
const Kernels<T>& table();
}
#ifdef SAE_FAST_X86_KERNELS
namespace avx2 {
template <class T>
const Kernels<T>& table();
}
namespace avx512 {
template <class T>
const Kernels<T>& table();
}
#endif

template <class T>
const Kernels<T>& kernels(Isa isa) {
    switch (isa) {
#ifdef SAE_FAST_X86_KERNELS
        case Isa::avx2:
            return avx2::table<T>();
        case Isa::avx512:
            return avx512::table<T>();
#endif
        default:
            return baseline::table<T>();
    }
}

template const Kernels<float>& kernels<float>(Isa);
template const Kernels<double>& kernels<double>(Isa);

}  // namespace sae
