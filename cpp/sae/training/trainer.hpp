// SPDX-License-Identifier: BSD-3-Clause
// Minibatch training of a network towards its own input, or towards labels. All memory is taken
// before the first step; a step only computes.
//
// A step has two phases. By rows: each thread takes some samples of the batch forward through all
// layers, to the loss, and back. By parameters: each takes some rows of the weight matrices, sums
// their gradients over the whole batch in order and applies the update rule at once. Neither cut
// enters any sum, so the result is the same, to the bit, for every number of threads. One barrier
// after each phase is all that layers cut by rows need; those cut by columns have one between.
// Penalties on codes, and a bound on norms, have a phase of their own, by units.
//
// Where several processes share a step, the two phases are two calls: gradient() sums those of
// some of the batch's rows, a chunk after the other, in the order of a binary tree over the chunks
// of the whole batch; update() takes the sum of all.
#pragma once

#include <cstdint>

#include "sae/data/batch.hpp"
#include "sae/data/corruption.hpp"
#include "sae/data/draws.hpp"
#include "sae/layers/network.hpp"
#include "sae/optimizers/optimizer.hpp"
#include "sae/penalties/penalties.hpp"
#include "sae/training/plan.hpp"

namespace sae {

// Dropout of a layer's units (Srivastava et al. 2014): at each step each unit of each sample is
// left out with probability `share`, and what the others say counts 1 / (1 - share) times. The
// draws are those of the key.
struct Dropout {
    double share;  // 0: none
    std::uint64_t key;
};

// to (n) += from, outside of any kernel: as fast as memory is.
template <class T>
void accumulate(Index n, const T* from, T* to) {
    for (Index i = 0; i < n; ++i) to[i] += from[i];
}

template <class T>
class Trainer {
   public:
    // Keeps references: all of them must outlive the trainer; corruption: null for none; dropout:
    // of each hidden layer, or empty for none. std::invalid_argument if the state is of another
    // network or optimizer, or the source, the batch size or the dropout fits none of this.
    Trainer(Network<T>& network, const Optimizer& optimizer, OptimizerState<T>& state,
            const Source<T>& source, const Corruption<T>* corruption, const List<Dropout>& dropout,
            Objective objective, Index batch_size);

    // Goes on with other samples, of the same kind. std::invalid_argument, and all is as it was, if
    // they do not fit.
    void set_source(const Source<T>& source);

    // Steps on the batches (n_steps, batch_size) of sample numbers at the learning rates (n_steps),
    // until all are done or max_seconds have passed; returns how many were done, at least one if
    // there is any. std::out_of_range names a sample that the source does not have. Goes by copies
    // of the batches, whoever writes to the caller's meanwhile.
    Index run(const std::int64_t* batches, const double* learning_rates, Index n_steps,
              double max_seconds, int n_threads);

    // Threads that a step keeps busy, at most n_threads.
    int team_size(int n_threads);

    // Room for the gradient of all parameters, laid out as they are.
    Buffer<T> new_gradient() const { return Buffer<T>(network_.parameters().size()); }
    // out = the gradient at the next step over `samples` (n), which are the rows of its batch from
    // `first` on: chunks of batch_size rows each, the last one of what is left, summed in pairs,
    // in pairs of pairs and so on. std::invalid_argument if a penalty or a corruption is of the
    // whole batch, std::out_of_range as in run().
    void gradient(const std::int64_t* samples, Index n, Index first, int n_threads, T* out);
    // Takes the next step with the gradient of its whole batch.
    void update(const T* gradient, double learning_rate, int n_threads);

    // Keeps a copy of the parameters and the optimizer's state, in the place of the last one; goes
    // back to it.
    void save_state();
    void restore_state();

   private:
    // What belongs to one thread.
    struct alignas(kAlignment) Scratch {
        Workspace<T> workspace;
        List<LayerShare> shares;
    };

    // What layer l reads of the batch.
    Rows<T> x(Index l) const {
        if (l == 0) return batch_.x;
        return network_.reads_codes(l) ? a_.rows(l - 1) : Rows<T>(output(l - 1));
    }
    Strategy<T>& strategy(Index l) const {
        return network_.strategy(l, l == 0 ? sparse() : network_.reads_codes(l));
    }
    bool sparse() const { return batch_.x.sparse(); }
    bool by_columns(Index l) const { return strategy(l).cut() == Cut::columns; }
    Range columns_of_member(const Member& member, Index l, Index n_columns) const;
    void check(const List<std::int64_t>& samples) const;
    // Of all parameters, or of those alone that a step may move.
    Plan plan(bool all, int n_threads) const;
    void reserve_scratch(int n_threads);
    UpdateStep<T> update_step(double learning_rate, Index number) const;
    LayerUpdate<T> layer_update(const UpdateStep<T>& step, Index l, bool bias) const;

    // What the layer above l reads.
    View<T> output(Index l) const { return dropped_[l].a.data ? View<T>(dropped_[l].a) : a_[l]; }
    void draw_dropout(Range rows, Index step);
    // to = from, some rows and columns of layer l's, as its dropout leaves them.
    void drop(Index l, Range rows, Range columns, View<T> from, View<T> to) const;
    // The phase by rows, of the first n of the batch: those of samples index[0 ... n).
    void differentiate(const Member& member, const std::int64_t* index, Index n, Index number,
                       Scratch& scratch);
    void forward(const Member& member, Range rows, Index n, Scratch& scratch);
    void loss_delta(Range rows);
    void backward(const Member& member, Range rows, Index n, Scratch& scratch);
    void limit_norms(const Member& member);
    void update(const UpdateStep<T>& step, Scratch& scratch, Index first, Index last);
    // Rows of dw (n_in, n_out) += the gradient of w of layer l over n samples, that of its mirror
    // too if it has one.
    void add_gradient(Index l, Index n, View<T> dw, const List<Range>& stretches, Scratch& scratch);
    void update_tied(const LayerShare& share, const LayerUpdate<T>& update, Scratch& scratch);

    Network<T>& network_;
    const Optimizer& optimizer_;
    OptimizerState<T>& state_;
    const Source<T>* source_ = nullptr;
    const Corruption<T>* corruption_;
    const Loss<T>& loss_;
    const Activation top_;  // what the last layer applies, the rest being part of the loss
    Objective objective_;
    CodePenalties<T> code_penalties_;
    Index batch_size_;
    Batch<T> batch_;
    List<std::int64_t> batches_;  // (n_steps, batch_size), of run()
    Activations<T> a_;            // of the batch
    // Of each layer; empty where nothing is left out.
    struct Dropped {
        Choice choice{0, 0};
        T scale = 1;
        Matrix<std::uint8_t> chosen;  // (batch, n_out): 1 where a unit is left out
        Matrix<T> a;                  // (batch, n_out): what is left of a_
    };
    List<Dropped> dropped_;
    Activations<T> deltas_;      // the loss's gradient with respect to their pre-activations
    List<Matrix<T>> gradients_;  // of w that two layers use (n_in, n_out)
    Plan plan_, plan_of_all_;
    List<Buffer<T>> sums_;  // of gradients: those that wait for others, but for the first
    struct {
        Buffer<T> parameters;
        List<Buffer<T>> slots;
        Index steps_done = 0;
    } saved_;
    List<Scratch> scratch_;  // one per thread
};

}  // namespace sae
