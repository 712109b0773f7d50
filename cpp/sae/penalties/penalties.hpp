// SPDX-License-Identifier: BSD-3-Clause
// What a training minimizes beside its samples' losses. What is on weights acts in the update
// (UpdateStep) or right after it. What is on codes adds to their delta between the way back and the
// update, by units, each over the whole batch, so that sums keep their order whoever has a unit. To
// add one: a word in the list, and what it adds in penalties.cpp.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "sae/layers/network.hpp"
#include "sae/losses/loss.hpp"

namespace sae {

// Factors, 0 for none: of sums over all weights, max_norm aside, and over samples and units of the
// code.
#define SAE_PENALTIES(X)                                                    \
    X(l1)          /* |w| */                                                \
    X(max_norm)    /* the most that the norm of a hidden unit's w may be */ \
    X(code_l1)     /* |a| */                                                \
    X(kl_sparsity) /* KL(kl_target || the mean of a over the samples) */    \
    X(kl_target)                                                            \
    X(contractive) /* f'(z)^2 |w of the unit|^2 */

struct Penalties {
#define SAE_FIELD(name) double name = 0;
    SAE_PENALTIES(SAE_FIELD)
#undef SAE_FIELD

    bool on_codes() const { return code_l1 != 0 || kl_sparsity != 0 || contractive != 0; }
};

// What T holds of a factor.
template <class T>
T held(double factor) {
    return static_cast<T>(std::min<double>(factor, std::numeric_limits<T>::max()));
}

// From their names; std::invalid_argument if one is unknown.
Penalties make_penalties(const std::map<std::string, double>& factors);

// What a training minimizes.
struct Objective {
    LossName loss;
    double weight_decay;  // L2, of the weights, not of the biases
    Penalties penalties{};
};

// The penalties on the code of a network, which is what the layer halfway through it gives. A
// sample of some weight counts as so many samples.
template <class T>
class CodePenalties {
   public:
    // std::invalid_argument if the network has no such layer, or another activation in it than a
    // penalty needs.
    CodePenalties(const Penalties& penalties, const Network<T>& network);

    bool any() const { return penalties_.on_codes(); }
    Index layer() const { return layer_; }

    // Adds their gradient to the delta of a batch with the code a, both (n, n_units), in some
    // columns, whole vectors of them.
    void add_gradient(View<const T> a, const T* weights, View<T> delta, Range units);
    // (n_units), for an update after that: the L2 of the weights into each unit; null for none.
    const T* decay() const { return penalties_.contractive != 0 ? decay_.data : nullptr; }

    // Their value for all chunks of a set, which come in any order and on several threads: room for
    // so many, and what one adds; these are taken up in their order, before the next so many or
    // what others have taken up, and the rest is left to add when all have been here.
    void reserve(Index n_chunks);
    double value(const Chunk<T>& chunk);
    void take_up();
    void merge(const CodePenalties& other);
    double rest() const;

   private:
    const Penalties penalties_;
    const Kernels<T>& k_ = kernels<T>(active_isa());
    Index layer_ = 0;
    Dense<T> encoder_{};
    Matrix<T> linear_, squared_, decay_;  // (1, n_units): as the kernels take them
    List<double> sums_, counts_;          // (n_chunks, n_units), (n_chunks): of codes, of samples
    List<double> sum_;                    // (n_units): of all that is taken up
    double count_ = 0;
};

}  // namespace sae
