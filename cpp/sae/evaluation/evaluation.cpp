// SPDX-License-Identifier: BSD-3-Clause
#include "sae/evaluation/evaluation.hpp"

#include <cmath>

namespace sae {

namespace {

// The penalties on all weights.
template <class T>
double weight_penalties(const Network<T>& network, double l2, double l1) {
    double squares = 0, absolute = 0;
    for (Index l = 0; l < network.n_layers() && !network.copies(l); ++l) {
        const Dense<T>& layer = network.layer(l);
        for (Index i = 0; (l2 != 0 || l1 != 0) && i < layer.n_in; ++i) {
            for (Index j = 0; j < layer.n_out; ++j) {
                const auto w = static_cast<double>(layer.w(i, j));
                squares += w * w;
                absolute += std::abs(w);
            }
        }
    }
    return l2 * squares / 2 + l1 * absolute;
}

}  // namespace

template <class T>
Evaluator<T>::Evaluator(const Network<T>& network, const Objective& objective)
    : network_(network), objective_(objective), code_penalties_(objective.penalties, network) {}

template <class T>
void Evaluator<T>::add(const Source<T>& source, int n_threads) {
    const Loss<T>& loss = find_loss<T>(objective_.loss);
    network_.check(source.input(), 0, network_.n_layers());
    loss.check(source, network_.layers().back().n_out);
    Sums sum;
    std::optional<double> expanded;
    if (loss.expands() && !source.has_targets() && !source.has_weights() && !code_penalties_.any())
        expanded = expanded_squared_error(network_, source, n_threads);
    if (expanded) {
        sum.loss = *expanded;
    } else {
        const bool counts = source.has_labels() || source.has_targets();
        if (code_penalties_.any()) code_penalties_.reserve(count_chunks(source));
        const auto chunk_sums = [&](const Chunk<T>& chunk) {
            const View<T> a = chunk.a.back();
            Sums own;  // the other: how many are right
            if (code_penalties_.any()) own.loss += code_penalties_.value(chunk);
            for (Index i = 0; i < chunk.rows; ++i) {
                if (counts) own.other += static_cast<double>(loss.n_right(a, chunk.batch, i));
                const double value = loss.value(a.cols, a.row(i), chunk.batch, i);
                const T* weights = chunk.batch.weights;
                own.loss += weights ? static_cast<double>(weights[i]) * value : value;
            }
            return own;
        };
        sum = sum_chunks(network_, source, {false, loss.target() == Target::values},
                         network_.n_layers(), n_threads, chunk_sums,
                         loss.applied(network_.layers().back().activation));
        if (code_penalties_.any()) code_penalties_.take_up();
    }
    loss_ += sum.loss;
    n_right_ += sum.other;
}

template <class T>
void Evaluator<T>::merge(const Evaluator& other) {
    loss_ += other.loss_;
    n_right_ += other.n_right_;
    code_penalties_.merge(other.code_penalties_);
}

template <class T>
Evaluation Evaluator<T>::result() const {
    const double added =
        code_penalties_.rest() +
        weight_penalties(network_, objective_.weight_decay, objective_.penalties.l1);
    return {loss_ + added, static_cast<Index>(n_right_)};
}

template <class T>
Evaluation evaluate(const Network<T>& network, const Source<T>& source, const Objective& objective,
                    int n_threads) {
    Evaluator<T> evaluator(network, objective);
    evaluator.add(source, n_threads);
    return evaluator.result();
}

template <class T>
void sample_losses(const Network<T>& network, const Source<T>& source, LossName name, int n_threads,
                   double* losses) {
    const Loss<T>& loss = find_loss<T>(name);
    const Dense<T>& last = network.layers().back();
    loss.check(source, last.n_out);
    network.for_each_chunk(
        source, {false, loss.target() == Target::values}, 0, network.n_layers(), n_threads,
        [&](const Chunk<T>& chunk) {
            const View<T> a = chunk.a.back();
            for (Index i = 0; i < chunk.rows; ++i) {
                losses[chunk.first + i] = loss.value(a.cols, a.row(i), chunk.batch, i);
            }
        },
        loss.applied(last.activation));
}

#define SAE_INSTANTIATE(T)                                                                    \
    template class Evaluator<T>;                                                              \
    template Evaluation evaluate(const Network<T>&, const Source<T>&, const Objective&, int); \
    template void sample_losses(const Network<T>&, const Source<T>&, LossName, int, double*);
SAE_INSTANTIATE(float)
SAE_INSTANTIATE(double)
#undef SAE_INSTANTIATE

}  // namespace sae
