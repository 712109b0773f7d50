// SPDX-License-Identifier: BSD-3-Clause
// A stack of dense layers: its parameters in one arena, and what it computes for whole sets of
// samples, a chunk of rows at a time. An autoencoder is a network of two layers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "sae/base/buffer.hpp"
#include "sae/data/batch.hpp"
#include "sae/layers/strategy.hpp"

namespace sae {

// What the layers [first, last) compute for some samples: of each layer (rows, n_out), empty
// outside.
template <class T>
struct Activations {
    Activations(const List<Dense<T>>& layers, Index first, Index last, Index rows);

    const View<T>& operator[](Index l) const { return of_layer_[l]; }
    const View<T>& back() const { return of_layer_.back(); }
    const List<View<T>>& all() const { return of_layer_; }

   private:
    List<View<T>> of_layer_;
    Buffer<T> arena_;
};

// Consecutive samples of a set and what a network makes of them.
template <class T>
struct Chunk {
    int rank;  // of the thread that has it
    Index first, rows;
    const Batch<T>& batch;
    const Activations<T>& a;
};

template <class T>
class Network {
   public:
    // sizes: n_in of the first layer, then n_out of each; activations: one per layer.
    // std::invalid_argument if there are not as many, or one is not from 1 to kMostUnits.
    Network(const List<Index>& sizes, const List<Activation>& activations);

    const List<Dense<T>>& layers() const { return layers_; }
    const Dense<T>& layer(Index l) const { return layers_[l]; }
    Index n_layers() const { return layers_.count(); }
    const Buffer<T>& parameters() const { return parameters_; }
    // Where layer l's w begins in them; its b follows.
    Index offset(Index l) const { return layers_[l].w.data - parameters_.data(); }
    // How layer l computes what is sparse or not.
    Strategy<T>& strategy(Index l, bool sparse) const {
        return sparse ? *sparse_ : *strategies_[l];
    }

    // Copies w (n_in, n_out) and b (n_out), both contiguous, from and to the caller's memory.
    void set_parameters(Index l, const T* w, const T* b);
    void get_parameters(Index l, T* w, T* b) const;
    // Copies a layer of another network that has its shape.
    void copy_layer(Index l, const Network& from, Index from_l);
    bool finite() const { return parameters_.finite(); }
    // Whether a layer rounds as BLAS's kernels for this processor do.
    bool uses_blas() const;
    // Brings all copies of the weights up to date.
    void refresh();

    // std::out_of_range if there are no layers [first, last), std::invalid_argument if the samples
    // of an input do not fit the first.
    void check(const Input<T>& input, Index first_layer, Index last_layer) const;

    // f for consecutive chunks of a set, in any order and on up to n_threads threads, each chunk
    // run through the layers [first_layer, last_layer); top: what the last of them applies in the
    // place of its activation.
    using ChunkFunction = std::function<void(const Chunk<T>&)>;
    void for_each_chunk(const Source<T>& source, BatchForm form, Index first_layer,
                        Index last_layer, int n_threads, const ChunkFunction& f,
                        std::optional<Activation> top = {}) const;

    // out (n_samples, n_out of the last layer), contiguous; softmax over each row if asked for.
    // std::domain_error names the first row whose logits have overflowed, here and in classify().
    void predict(const Input<T>& input, Index first_layer, Index last_layer, bool softmax,
                 int n_threads, T* out) const;
    // Class with the largest output for each sample, the first of equals.
    void classify(const Input<T>& input, int n_threads, std::int64_t* classes) const;
    // For each layer, how many of its units have a derivative of zero, to the last digit of 1, on
    // every sample.
    List<Index> count_dead_units(const Input<T>& input, int n_threads) const;

    // Widest layer: BLAS counts in 32 bits, and two such layers are a matrix of 2^48 numbers.
    static constexpr Index kMostUnits = Index{1} << 24;
    // Samples of a chunk: the same for every number of threads.
    static constexpr Index kChunk = 64;

   private:
    Buffer<T> parameters_;
    List<Dense<T>> layers_;
    List<std::unique_ptr<Strategy<T>>> strategies_;
    std::unique_ptr<Strategy<T>> sparse_;  // of the first layer
};

}  // namespace sae
