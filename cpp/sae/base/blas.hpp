// SPDX-License-Identifier: BSD-3-Clause
// Row-major products through BLAS, each call single-threaded: threads are ours (parallel.hpp), and
// a single-threaded call on a fixed tile is deterministic.
#pragma once

#include <string>

#include "sae/base/view.hpp"

namespace sae {

enum class Transpose { no, yes };

// c = op(a) op(b) + beta c
template <class T>
void gemm(Transpose transpose_a, Transpose transpose_b, View<const T> a, View<const T> b, View<T> c,
          T beta = 0);

// What the library says of itself: version, build options, kernel in use.
std::string blas_description();

// Turns off the library's own threads: in our copy of it, or in a system's OpenBLAS. Another system
// library keeps what its environment variables say. Makes forks wait for calls that are under way.
// Called once, at import.
void blas_init();

}  // namespace sae
