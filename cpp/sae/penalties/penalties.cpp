// SPDX-License-Identifier: BSD-3-Clause
#include "sae/penalties/penalties.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace sae {

namespace {

// A mean activation counts as this at least, and as less than 1 by it.
constexpr double kClip = 1e-10;

double clipped(double mean) { return std::clamp(mean, kClip, 1 - kClip); }

// KL(target || mean) of two coins, and its derivative by the mean.
double divergence(double target, double mean) {
    const double p = clipped(mean);
    return target * std::log(target / p) + (1 - target) * std::log((1 - target) / (1 - p));
}
double divergence_slope(double target, double mean) {
    const double p = clipped(mean);
    return (1 - target) / (1 - p) - target / p;
}

template <class T>
double weight_of(const T* weights, Index i) {
    return weights ? static_cast<double>(weights[i]) : 1;
}

template <class T>
double sum_of_weights(const T* weights, Index n) {
    return weights ? std::accumulate(weights, weights + n, 0.0) : static_cast<double>(n);
}

}  // namespace

Penalties make_penalties(const std::map<std::string, double>& factors) {
    Penalties penalties;
    for (const auto& [key, factor] : factors) {
        double* place = nullptr;
#define SAE_FIND(name) \
    if (key == #name) place = &penalties.name;
        SAE_PENALTIES(SAE_FIND)
#undef SAE_FIND
        if (!place) throw std::invalid_argument("no penalty is called " + key);
        *place = factor;
    }
    return penalties;
}

template <class T>
CodePenalties<T>::CodePenalties(const Penalties& penalties, const Network<T>& network)
    : penalties_(penalties) {
    if (!any()) return;
    if (network.n_layers() % 2 != 0) throw std::invalid_argument("expected a network with a code");
    layer_ = network.n_layers() / 2 - 1;
    encoder_ = network.layer(layer_);
    if (penalties.kl_sparsity != 0 && encoder_.activation != Activation::sigmoid) {
        throw std::invalid_argument("kl_sparsity: expected a sigmoid code");
    }
    if (penalties.contractive != 0 && layer_ != 0) {
        throw std::invalid_argument("contractive: expected an encoder of one layer");
    }
    for (Matrix<T>* one : {&linear_, &squared_, &decay_}) *one = Matrix<T>(1, encoder_.n_out);
}

template <class T>
void CodePenalties<T>::add_gradient(View<const T> a, const T* weights, View<T> delta, Range units) {
    const View<const T> own = a.columns(units);
    if (penalties_.kl_sparsity != 0) {
        const double n = sum_of_weights(weights, a.rows);
        for (Index j = units.begin; j < units.end; ++j) {
            double sum = 0;
            for (Index i = 0; i < a.rows; ++i) {
                sum += weight_of(weights, i) * static_cast<double>(a(i, j));
            }
            const double slope = n > 0 ? divergence_slope(penalties_.kl_target, sum / n) : 0;
            linear_(0, j) = static_cast<T>(penalties_.kl_sparsity * slope);
        }
    }
    T* const squared = squared_.data + units.begin;
    if (penalties_.contractive != 0) {
        const T factor = held<T>(penalties_.contractive);
        T* const decay = decay_.data + units.begin;
        k_.column_squares(encoder_.w.columns(units), squared);
        k_.slope_squares(encoder_.activation, own, weights, decay);
        for (Index j = 0; j < units.count(); ++j) {
            squared[j] *= factor;
            decay[j] *= 2 * factor;
        }
    }
    k_.penalize(encoder_.activation, own, weights,
                {held<T>(penalties_.code_l1), linear_.data + units.begin, squared},
                delta.columns(units));
}

template <class T>
void CodePenalties<T>::reserve(Index n_chunks) {
    k_.column_squares(encoder_.w, squared_.data);
    if (penalties_.kl_sparsity == 0) return;
    sums_.assign(static_cast<std::size_t>(n_chunks * encoder_.n_out), 0);
    counts_.assign(static_cast<std::size_t>(n_chunks), 0);
    sum_.resize(static_cast<std::size_t>(encoder_.n_out));
}

template <class T>
void CodePenalties<T>::take_up() {
    for (Index at = 0; at < counts_.count(); ++at) {
        count_ += counts_[at];
        for (Index j = 0; j < sum_.count(); ++j) sum_[j] += sums_[at * sum_.count() + j];
    }
}

template <class T>
void CodePenalties<T>::merge(const CodePenalties& other) {
    count_ += other.count_;
    sum_.resize(std::max(sum_.size(), other.sum_.size()));  // none before the first
    for (Index j = 0; j < other.sum_.count(); ++j) sum_[j] += other.sum_[j];
}

template <class T>
double CodePenalties<T>::value(const Chunk<T>& chunk) {
    const Index n_units = encoder_.n_out, at = chunk.first / Network<T>::kChunk;
    const View<const T> a = chunk.a[layer_].part({0, chunk.rows});
    const T* const weights = chunk.batch.weights;
    double absolute = 0, squares = 0;
    for (Index i = 0; i < a.rows; ++i) {
        const double weight = weight_of(weights, i);
        for (Index j = 0; j < n_units; ++j) {
            const auto code = static_cast<double>(a(i, j));
            absolute += weight * std::abs(code);
            if (penalties_.kl_sparsity != 0) sums_[at * n_units + j] += weight * code;
        }
    }
    if (penalties_.kl_sparsity != 0) counts_[at] = sum_of_weights(weights, a.rows);
    if (penalties_.contractive != 0) {
        const Matrix<T> slopes(1, n_units);
        k_.slope_squares(encoder_.activation, a, weights, slopes.data);
        squares = k_.dot(n_units, slopes.data, squared_.data);
    }
    return penalties_.code_l1 * absolute + penalties_.contractive * squares;
}

template <class T>
double CodePenalties<T>::rest() const {
    if (penalties_.kl_sparsity == 0 || count_ <= 0) return 0;
    double total = 0;
    for (const double sum : sum_) total += divergence(penalties_.kl_target, sum / count_);
    return penalties_.kl_sparsity * count_ * total;
}

template class CodePenalties<float>;
template class CodePenalties<double>;

}  // namespace sae
