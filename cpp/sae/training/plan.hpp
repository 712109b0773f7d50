// SPDX-License-Identifier: BSD-3-Clause
// How the parameters of a network are shared out among threads at each step, by what they cost. The
// cost model balances the shares and has no other effect: results do not depend on it.
#pragma once

#include <functional>

#include "sae/base/buffer.hpp"
#include "sae/base/parallel.hpp"
#include "sae/layers/network.hpp"

namespace sae {

// What one thread updates of one layer: some rows of w, or its b.
struct LayerShare {
    Index layer;
    bool bias;
    List<Range> stretches;  // of rows of w, in ascending order
};

class Plan {
   public:
    Plan() = default;
    // products(l, r): how many samples of a batch have a part in the gradient of row r of layer l's
    // w, on the average; negative if that row stays as it is at every step.
    using Products = std::function<double(Index l, Index r)>;
    template <class T>
    Plan(const Network<T>& network, bool sparse, Index batch_size, const Products& products);

    bool empty() const { return tasks_.empty(); }
    // Threads that a step keeps busy, at most n_threads: never so many that it gets slower.
    int team_size(int n_threads) const;
    // The consecutive tasks of one member: the same share of the cost for each, and the same tasks
    // at every step, so that their parameters and state stay in that core's cache.
    List<LayerShare> share(Member member) const;

   private:
    // A part of the parameters that one thread updates on its own: rows of a layer's w, or its b.
    struct Task {
        Index layer;
        Range rows;  // of w
        bool bias;
        double cost;  // vector operations, roughly
    };

    List<Task> tasks_;
    double total_cost_ = 0;
};

}  // namespace sae
