// SPDX-License-Identifier: BSD-3-Clause
// The kernels for AVX-512 F, VL, DQ and BW. Flags: CMakeLists.txt.
#define SAE_ISA avx512
#define SAE_VECTOR_BYTES 64
#include "sae/kernels/body.inl"
