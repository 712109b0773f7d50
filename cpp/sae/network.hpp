// SPDX-License-Identifier: BSD-3-Clause
// A stack of dense layers: its parameters in one arena, and what it computes for whole sets of
// samples, a chunk of rows at a time. An autoencoder is a network of two layers.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "sae/buffer.hpp"
#include "sae/dense.hpp"
#include "sae/input.hpp"
#include "sae/parallel.hpp"
#include "sae/sparse_batch.hpp"

namespace sae {

// Activations of `rows` samples in the layers [first, last), and the samples themselves.
template <class T>
struct Activations {
    Activations(const std::vector<Dense<T>>& layers, Index first, Index last, Index rows);

    View<T> x;               // (rows, n_in of layer `first`), where the input is dense
    std::vector<View<T>> a;  // of each layer: (rows, n_out); empty outside [first, last)

   private:
    Buffer<T> arena_;
};

// Consecutive samples of a set and what a network makes of them.
template <class T>
struct Chunk {
    int rank;  // of the thread that has it
    Index first, rows;
    const Activations<T>& work;
    SparseBatch<T>& samples;  // if the input is sparse and goes into the first layer
};

template <class T>
class Network {
   public:
    // sizes: n_in of the first layer, then n_out of each; activations: one per layer.
    Network(const std::vector<Index>& sizes, const std::vector<Activation>& activations);

    const std::vector<Dense<T>>& layers() const { return layers_; }
    Index n_layers() const { return static_cast<Index>(layers_.size()); }
    const Buffer<T>& parameters() const { return parameters_; }

    // Copies w (n_in, n_out) and b (n_out), both contiguous, from and to the caller's memory.
    void set_parameters(Index layer, const T* w, const T* b);
    void get_parameters(Index layer, T* w, T* b) const;
    bool finite() const;
    // Whether a layer goes through BLAS, which rounds as the processor's kernels do.
    bool uses_blas() const;

    // Brings the transposed copy of rows [r0, r1) of a layer's w up to date.
    void update_transposed(Index layer, Index r0, Index r1);

    // Rows [begin, end) of dense samples or activations through layer l.
    void forward_rows(Index l, Range rows, const Activations<T>& work) const;

    // f for consecutive chunks of the input, in any order and on up to n_threads threads, each
    // chunk run through the layers [first_layer, last_layer).
    using ChunkFunction = std::function<void(const Chunk<T>&)>;
    void for_each_chunk(const Input<T>& input, Index first_layer, Index last_layer, int n_threads,
                        const ChunkFunction& f) const;

    // out (n_samples, n_out of the last layer), contiguous; softmax over each row if asked for.
    void predict(const Input<T>& input, Index first_layer, Index last_layer, bool softmax,
                 int n_threads, T* out) const;
    // Class with the largest output for each sample, the first of equals.
    void classify(const Input<T>& input, int n_threads, std::int64_t* classes) const;
    // For each layer, how many of its units are zero on every sample.
    std::vector<Index> count_dead_units(const Input<T>& input, int n_threads) const;

    // Samples of a chunk: the same for every number of threads.
    static constexpr Index kChunk = 64;

   private:
    std::vector<Dense<T>> layers_;
    Buffer<T> parameters_;
    Buffer<T> transposed_;
};

}  // namespace sae
