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
#include "sae/data/codes.hpp"
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
    // Layer l's as the next one reads them.
    Rows<T> rows(Index l) const {
        return codes_[l].empty() ? Rows<T>(of_layer_[l]) : codes_[l].rows();
    }
    // Takes some rows of `of_layer`, l's or what a dropout left of them, over into them.
    void pack(Index l, View<const T> of_layer, Range rows) const {
        if (!codes_[l].empty()) codes_[l].pack(of_layer, rows);
    }

   private:
    List<View<T>> of_layer_;
    List<Codes<T>> codes_;  // of layers whose units are few that are not zero
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
    // sizes: n_in of the first layer, then n_out of each; activations: one per layer; kept: of
    // each, how many of a row's largest stay, 0 for all; tied: the upper half of the layers are the
    // lower ones' mirror images, with the transposes of their w; centers: the last layer is one of
    // them. std::invalid_argument if there are not as many, one is not from 1 to kMostUnits, kept
    // is more than there are, halves that are tied do not mirror each other, or centers have no
    // layer below or an activation.
    Network(const List<Index>& sizes, const List<Activation>& activations,
            const List<Index>& kept = {}, bool tied = false, bool centers = false);

    const List<Dense<T>>& layers() const { return layers_; }
    const Dense<T>& layer(Index l) const { return layers_[l]; }
    Index n_layers() const { return layers_.count(); }
    const Buffer<T>& parameters() const { return parameters_; }
    // Where in them something of a layer is.
    Index offset(const T* parameter) const { return parameter - parameters_.data(); }
    bool tied() const { return tied_; }
    Index mirror(Index l) const { return n_layers() - 1 - l; }
    // Whether layer l's w is a copy, its mirror's transpose, and none of the parameters.
    bool copies(Index l) const { return tied_ && l > mirror(l); }
    // How layer l computes what is sparse, as the input or the codes below may be, or not.
    Strategy<T>& strategy(Index l, bool sparse) const {
        return sparse ? *sparse_[l] : *strategies_[l];
    }

    // Whether a layer reads what the one below leaves that is not zero.
    bool reads_codes(Index l) const { return l > 0 && sparse_[l]; }

    // Copies w (n_in, n_out) and b (n_out), both contiguous, from and to the caller's memory. Of a
    // layer that copies its mirror only b is set.
    void set_parameters(Index l, const T* w, const T* b);
    void get_parameters(Index l, T* w, T* b) const;
    // Copies a layer of another network that has its shape.
    void copy_layer(Index l, const Network& from, Index from_l);
    bool finite() const { return parameters_.finite(); }
    // Whether a layer rounds as BLAS's kernels for this processor do.
    bool uses_blas() const;
    // Brings copies of a part of layer l's w up to date, or of all weights.
    void refresh(Index l, Range rows, Range columns);
    void refresh();
    // Makes all but the largest of each row of layer l's activations zero, if it keeps so many.
    void keep_largest(Index l, View<T> a) const;

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
    // For each unit of each layer, 1 if its derivative is zero, to the last digit of 1, on every
    // sample.
    List<List<std::uint8_t>> dead_units(const Input<T>& input, int n_threads) const;

    // Widest layer: BLAS counts in 32 bits, and two such layers are a matrix of 2^48 numbers.
    static constexpr Index kMostUnits = Index{1} << 24;
    // Samples of a chunk: the same for every number of threads.
    static constexpr Index kChunk = 64;

   private:
    Buffer<T> parameters_;
    Buffer<T> copies_;  // w of the upper half, if it is tied
    bool tied_;
    List<Dense<T>> layers_;
    List<std::unique_ptr<Strategy<T>>> strategies_;
    List<std::unique_ptr<Strategy<T>>> sparse_;  // null where nothing below is
};

}  // namespace sae
