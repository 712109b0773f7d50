// SPDX-License-Identifier: BSD-3-Clause
// The kernels for any processor: SSE2 on x86-64, NEON on aarch64. Flags: CMakeLists.txt.
#define SAE_ISA baseline
#define SAE_VECTOR_BYTES 16
#include "sae/kernels/body.inl"
