// SPDX-License-Identifier: BSD-3-Clause
// The loss over a whole set or of each sample, and how many labels are right. Sums are in
// float64, over chunks of samples in their order, so that they are the same for every number of
// threads.
#pragma once

#include <optional>

#include "sae/penalties/penalties.hpp"

namespace sae {

// Loss summed over a set, and how much is right: of its samples, or of their labels where each has
// several (0 where there is nothing of the kind).
struct Evaluation {
    double loss;
    Index n_right;
};

// The value of an objective, its penalties included, over a set that comes in parts; a source's
// weights are factors of its samples' losses. Keeps a reference to the network.
template <class T>
class Evaluator {
   public:
    Evaluator(const Network<T>& network, const Objective& objective);

    // std::invalid_argument as from a trainer.
    void add(const Source<T>& source, int n_threads);
    // What another one was given, after what this one was.
    void merge(const Evaluator& other);
    Evaluation result() const;

   private:
    const Network<T>& network_;
    Objective objective_;
    CodePenalties<T> code_penalties_;
    double loss_ = 0, n_right_ = 0;
};

// The same over a set in one part.
template <class T>
Evaluation evaluate(const Network<T>& network, const Source<T>& source, const Objective& objective,
                    int n_threads);

// losses (n_samples), each of one sample.
template <class T>
void sample_losses(const Network<T>& network, const Source<T>& source, LossName loss, int n_threads,
                   double* losses);

// What a chunk adds: its loss, and what else is counted beside it.
struct Sums {
    double loss = 0, other = 0;
};

template <class T>
Index count_chunks(const Source<T>& source) {
    return (source.n_samples() + Network<T>::kChunk - 1) / Network<T>::kChunk;
}

// The sums of f(chunk) over the chunks in their order, each chunk run through the first n_layers
// layers, as for_each_chunk has it.
template <class T, class F>
Sums sum_chunks(const Network<T>& network, const Source<T>& source, BatchForm form, Index n_layers,
                int n_threads, const F& f, std::optional<Activation> top = {}) {
    List<Sums> sums(static_cast<std::size_t>(count_chunks(source)));
    const auto keep = [&](const Chunk<T>& chunk) {
        sums[chunk.first / Network<T>::kChunk] = f(chunk);
    };
    network.for_each_chunk(source, form, 0, n_layers, n_threads, keep, top);
    Sums total;
    for (const Sums& part : sums) {
        total.loss += part.loss;
        total.other += part.other;
    }
    return total;
}

// The squared error of a linear decoder over a sparse set without its reconstruction
// (linear_decoder.cpp). Empty if it does not apply or has no less to compute than the
// reconstruction, or if too little is left of what cancels.
template <class T>
std::optional<double> expanded_squared_error(const Network<T>& network, const Source<T>& source,
                                             int n_threads);

}  // namespace sae
