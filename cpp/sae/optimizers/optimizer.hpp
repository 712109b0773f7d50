// SPDX-License-Identifier: BSD-3-Clause
// How parameters move along their gradients: an update rule of the kernels, the numbers that it
// takes at each step, and the state that it keeps of each parameter.
#pragma once

#include <limits>
#include <map>
#include <memory>
#include <string>

#include "sae/base/buffer.hpp"
#include "sae/base/list.hpp"
#include "sae/kernels/kernels.hpp"

namespace sae {

// The normal numbers of a precision.
struct NormalRange {
    double smallest, largest;

    template <class T>
    static NormalRange of() {
        return {std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
    }
};

class Optimizer {
   public:
    virtual ~Optimizer() = default;
    virtual Rule rule() const = 0;
    // Values that it keeps of each parameter.
    virtual Index n_slots() const = 0;
    // The numbers of step `step`, counted from 1, for the precision of this range: in the order of
    // the rule's struct in kernels/rules.inl.
    virtual void coefficients(Index step, double learning_rate, NormalRange range,
                              double* numbers) const = 0;

    template <class T>
    UpdateStep<T> update_step(Index step, double learning_rate, double weight_decay) const {
        double numbers[kMostCoefficients] = {};
        coefficients(step, learning_rate, NormalRange::of<T>(), numbers);
        UpdateStep<T> update{rule(), {}, static_cast<T>(weight_decay)};
        for (Index i = 0; i < kMostCoefficients; ++i) {
            update.coefficients[i] = static_cast<T>(numbers[i]);
        }
        return update;
    }
};

// The optimizer of a rule, with its options by their names; std::out_of_range if one is missing.
using OptimizerOptions = std::map<std::string, double>;
std::unique_ptr<Optimizer> make_optimizer(Rule rule, const OptimizerOptions& options);

// What an optimizer keeps of a network's parameters; a training that is to go on later keeps it.
template <class T>
struct OptimizerState {
    OptimizerState(Index n_parameters, Index n_slots) {
        for (Index i = 0; i < n_slots; ++i) slots.emplace_back(n_parameters);
    }

    List<Buffer<T>> slots;  // each laid out as the network's parameters
    Index steps_done = 0;
};

}  // namespace sae
