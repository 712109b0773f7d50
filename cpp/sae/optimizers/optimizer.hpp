// SPDX-License-Identifier: BSD-3-Clause
// How parameters move along their gradients: an update rule of the kernels, the numbers that it
// takes at each step, and the state that it keeps of each parameter. To add one: a word in
// kernels/names.hpp, its struct in kernels/rules.inl, its numbers in optimizer.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include "sae/base/buffer.hpp"
#include "sae/kernels/kernels.hpp"

namespace sae {

using Coefficients = std::array<double, kMostCoefficients>;

// The normal numbers of a precision.
struct NormalRange {
    double smallest, largest;

    template <class T>
    static NormalRange of() {
        return {std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
    }
};

struct Optimizer {
    Rule rule;
    Index n_slots;  // values that it keeps of each parameter
    // The numbers of step `step`, counted from 1, for the precision of this range: in the order of
    // the rule's struct in kernels/rules.inl.
    std::function<Coefficients(Index step, double learning_rate, NormalRange range)> coefficients;
    double weight_decay = 0;  // apart from the gradient: w loses learning_rate times this first

    template <class T>
    UpdateStep<T> update_step(Index step, double learning_rate, double l2) const {
        const NormalRange range = NormalRange::of<T>();
        const Coefficients numbers = coefficients(step, learning_rate, range);
        // what T cannot hold must not make a NaN of a weight that does not move
        const auto held = [&](double number) {
            return static_cast<T>(std::min(number, range.largest));
        };
        UpdateStep<T> update{rule, {}, held(l2), held(learning_rate * weight_decay)};
        std::transform(numbers.begin(), numbers.end(), update.coefficients, held);
        return update;
    }
};

// The optimizer of a rule, with its options by their names; std::out_of_range if one is missing.
using OptimizerOptions = std::map<std::string, double>;
Optimizer make_optimizer(Rule rule, const OptimizerOptions& options);

// What an optimizer keeps of a network's parameters; a training that is to go on later keeps it.
template <class T>
struct OptimizerState {
    OptimizerState(Index n_parameters, Index n_slots) {
        for (Index i = 0; i < n_slots; ++i) slots.emplace_back(n_parameters);
    }

    bool finite() const {
        return std::all_of(slots.begin(), slots.end(),
                           [](const Buffer<T>& slot) { return slot.finite(); });
    }

    List<Buffer<T>> slots;  // each laid out as the network's parameters
    Index steps_done = 0;
};

}  // namespace sae
