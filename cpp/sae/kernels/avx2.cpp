// SPDX-License-Identifier: BSD-3-Clause
// The kernels for AVX2 and FMA. Flags: CMakeLists.txt.
#define SAE_ISA avx2
#define SAE_VECTOR_BYTES 32
#include "sae/kernels/body.inl"
