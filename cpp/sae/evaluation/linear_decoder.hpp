// SPDX-License-Identifier: BSD-3-Clause
// The squared error of a linear decoder over a sparse set, a = h w + b, without a:
//   |x - a|^2 summed = <h^T h, w w^T> - 2 <h, x w^T - b w^T> + |x - b|^2
// x w^T needs the non-zeros of x alone, h^T h and w w^T are as small as h, and the last term's sum
// over a set needs no more than sums of x.
#pragma once

#include <optional>

#include "sae/layers/network.hpp"

namespace sae {

// Sums over chunks are in float64. Empty if it does not apply or has no less to compute than the
// reconstruction, or if too little is left of what cancels.
template <class T>
std::optional<double> expanded_squared_error(const Network<T>& network, const Source<T>& source,
                                             int n_threads);

}  // namespace sae
