// SPDX-License-Identifier: BSD-3-Clause
// Minibatch training of a network with Adam: an autoencoder towards its own input, a classifier
// towards labels. All memory is taken before the first step; a step only computes.
//
// A step has two phases. By rows: each thread takes some samples of the batch forward through all
// layers, to the loss, and back. By parameters: each takes some rows of the weight matrices, sums
// their gradients over the whole batch in order and applies Adam at once. Neither cut enters any
// sum, so the result is the same, to the bit, for every number of threads. One barrier after each
// phase is all that narrow layers need; wide ones are cut by columns, with a barrier between.
#pragma once

#include <cstdint>
#include <vector>

#include "sae/loss.hpp"
#include "sae/network.hpp"
#include "sae/sparse_batch.hpp"

namespace sae {

enum class AdamForm { tf1, torch };

struct TrainerOptions {
    Loss loss;
    Index batch_size;
    AdamForm adam;
    double learning_rate;
    double beta1, beta2, epsilon;
    double weight_decay;  // on the weights, not on the biases
};

// What Adam knows of a network's gradients; a training that is to go on later keeps them.
template <class T>
struct Moments {
    explicit Moments(const Network<T>& network)
        : m(network.parameters().size()), v(network.parameters().size()) {}

    Buffer<T> m, v;  // first and second, laid out as the network's parameters
    Index steps_done = 0;
};

template <class T>
class Trainer {
   public:
    // Keeps references: network, moments and input must outlive the trainer. labels: (n_samples)
    // classes, null for squared error; weights: (n_samples) of each sample's loss, null for ones.
    // std::invalid_argument if the moments are of another network.
    Trainer(Network<T>& network, Moments<T>& moments, const Input<T>& input,
            const std::int64_t* labels, const T* weights, const TrainerOptions& options);

    // Steps on the batches (n_steps, batch_size) of sample numbers, until all are done or
    // max_seconds have passed; returns how many were done, at least one if there is any.
    // std::out_of_range names a sample that the input does not have.
    Index run(const std::int64_t* batches, Index n_steps, double max_seconds, int n_threads);

    // Keeps a copy of the parameters and the moments, in the place of the last one; goes back to
    // it.
    void save_state();
    void restore_state();

   private:
    // A part of the parameters that one thread updates on its own: rows of a layer's w, or its b.
    struct Task {
        Index layer;
        Range rows;   // of w; n_in … n_in + 1 is the bias
        double cost;  // vector operations, roughly
    };
    // What belongs to one thread: its samples, in the phase by rows; the columns that it updates,
    // in the phase by parameters.
    struct alignas(kAlignment) Scratch {
        SparseBatch<T> samples;
        SparseColumns<T> columns;
        Buffer<T> dw;  // (rows of a task, padded n_out of the widest layer)
    };

    bool wide(Index layer) const;
    void plan(int n_threads);
    void reserve_scratch(int n_threads);
    int team_size(int n_threads) const;
    Range task_share(Member member) const;
    AdamStep<T> adam_step(Index step) const;

    void forward(const Member& member, const std::int64_t* index, Range rows, Scratch& scratch);
    void loss_delta(const std::int64_t* index, Range rows);
    void backward(const Member& member, Range rows);
    void update(const std::int64_t* index, const std::int64_t* next, Range rows,
                const AdamStep<T>& adam, Range tasks, Scratch& scratch);
    void update_sparse(const std::int64_t* index, const AdamStep<T>& adam, Range tasks,
                       Scratch& scratch);
    void prefetch(const std::int64_t* index, Range rows) const;

    Network<T>& network_;
    Moments<T>& moments_;
    const Input<T>& input_;
    const std::int64_t* labels_;
    const T* weights_;
    TrainerOptions options_;
    Activations<T> work_;    // of the batch
    Activations<T> deltas_;  // their gradients; its x is not used
    std::vector<Task> tasks_;
    Index n_sparse_tasks_ = 0;  // the first ones, on the non-zeros of a sparse input
    double total_cost_ = 0;
    struct {
        Buffer<T> parameters, m, v;
        Index steps_done;
    } saved_;
    std::vector<Scratch> scratch_;  // one per thread
};

}  // namespace sae
