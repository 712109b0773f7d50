// SPDX-License-Identifier: BSD-3-Clause
#include "sae/training/plan.hpp"

#include <algorithm>
#include <cmath>

namespace sae {

namespace {

// Cost of a vector through an update rule, in multiply-adds: a square root, a division and six
// memory accesses.
constexpr double kUpdateCost = 12;

// Multiply-adds of a step, in vectors, that make another thread worth its two barriers.
constexpr double kCostPerThread = 10000;

}  // namespace

template <class T>
Plan::Plan(const Network<T>& network, bool sparse, Index batch_size, const Products& products) {
    constexpr double lanes = 32.0 / sizeof(T);
    for (Index l = 0; l < network.n_layers(); ++l) {
        const Dense<T>& layer = network.layer(l);
        const double vectors = std::ceil(static_cast<double>(layer.n_out) / lanes);
        const bool packed = l == 0 ? sparse : network.reads_codes(l);
        const Index most = network.strategy(l, packed).task_rows();
        for (Index r = 0; r < layer.n_in && !network.copies(l);) {
            const Index begin = r;
            double cost = 0;
            for (; r < std::min(begin + most, layer.n_in); ++r) {
                const double own = products(l, r);
                if (own < 0) break;
                cost += own + kUpdateCost;
            }
            if (r > begin) tasks_.push_back({l, {begin, r}, false, vectors * cost});
            while (r < layer.n_in && products(l, r) < 0) ++r;
        }
        const double bias_cost = static_cast<double>(batch_size) + kUpdateCost;
        tasks_.push_back({l, {0, 0}, true, vectors * bias_cost});
    }
    for (const Task& task : tasks_) total_cost_ += task.cost;
}

int Plan::team_size(int n_threads) const {
    return std::max(1, static_cast<int>(std::min<double>(n_threads, total_cost_ / kCostPerThread)));
}

List<LayerShare> Plan::share(Member member) const {
    List<LayerShare> shares;
    double before = 0;  // cost of the tasks up to this one, itself included
    for (const Task& task : tasks_) {
        before += task.cost;
        // the member that has the stretch of the total in which the task ends, the last one having
        // what rounding leaves over
        const auto owner = static_cast<int>(before * member.size / total_cost_);
        if (std::min(owner, member.size - 1) != member.rank) continue;
        if (task.bias || shares.empty() || shares.back().bias ||
            shares.back().layer != task.layer) {
            shares.push_back({task.layer, task.bias, {}});
        }
        if (!task.bias) shares.back().stretches.push_back(task.rows);
    }
    return shares;
}

template Plan::Plan(const Network<float>&, bool, Index, const Products&);
template Plan::Plan(const Network<double>&, bool, Index, const Products&);

}  // namespace sae
