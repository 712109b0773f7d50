// SPDX-License-Identifier: BSD-3-Clause
// The loss over a whole set or of each sample, and how many are classified right. Sums are in
// float64, over chunks of samples in their order, so that they are the same for every number of
// threads.
#pragma once

#include <cstdint>

#include "sae/loss.hpp"
#include "sae/network.hpp"

namespace sae {

// Loss summed over a set, and how many samples are classified right (0 without labels).
struct Evaluation {
    double loss;
    Index n_correct;
};

// labels: (n_samples) classes, null for squared error; weight_decay: L2 penalty on the weights,
// part of the loss.
template <class T>
Evaluation evaluate(const Network<T>& network, const Input<T>& input, const std::int64_t* labels,
                    Loss loss, double weight_decay, int n_threads);

// errors (n_samples): sum of squared differences between each sample and the network's output.
template <class T>
void squared_errors(const Network<T>& network, const Input<T>& input, int n_threads,
                    double* errors);

}  // namespace sae
