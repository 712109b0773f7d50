// SPDX-License-Identifier: BSD-3-Clause
#include "sae/losses/loss.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "sae/layers/softmax.hpp"

namespace sae {

namespace {

// A sum of losses of values, one by one (kernels/losses.inl). Where delta is linear in the target,
// a sparse one needs its non-zeros alone: Own::part(a, t) is what they take from the delta of zero.
template <class Own, class T, ValueLoss name>
class OfValues : public Loss<T> {
   public:
    Target target() const override { return Target::values; }

    double value(Index n, T* a, const Batch<T>& batch, Index row) const override {
        return this->k().loss_value(name, n, a, batch.target.dense.row(row));
    }

    void delta(Index n, const T* a, const Batch<T>& batch, Index row, T* delta) const override {
        const bool sparse = batch.target.sparse();
        this->k().loss_delta(name, n, a, sparse ? nullptr : batch.target.dense.row(row), delta);
        if (!sparse) return;
        for_each_nonzero(batch.target.packed, batch.target.start[row],
                         [&](Index j, T t) { delta[j] -= Own::part(a[j], t); });
    }

    static T part(T, T t) { return t; }
};

template <class T>
class SquaredError : public OfValues<SquaredError<T>, T, ValueLoss::squared_error> {
   public:
    bool reads_sparse() const override { return true; }
    bool expands() const override { return true; }
    static T part(T, T t) { return 2 * t; }
};

template <class T>
class BinaryCrossEntropy
    : public OfValues<BinaryCrossEntropy<T>, T, ValueLoss::binary_cross_entropy> {
   public:
    Activation applied(Activation output) const override {
        return output == Activation::sigmoid ? Activation::linear : output;
    }
    bool reads_sparse() const override { return true; }
    Index n_right(View<const T> z, const Batch<T>& batch, Index row) const override {
        const T* t = batch.target.dense.row(row);
        Index right = 0;
        for (Index j = 0; j < z.cols; ++j) right += (z(row, j) > 0) == (t[j] > T(0.5));
        return right;
    }
};

template <class T>
class Huber : public OfValues<Huber<T>, T, ValueLoss::huber> {};

template <class T>
class AbsoluteError : public OfValues<AbsoluteError<T>, T, ValueLoss::absolute_error> {};

template <class T>
class Poisson : public OfValues<Poisson<T>, T, ValueLoss::poisson> {
   public:
    bool reads_sparse() const override { return true; }
    static T part(T a, T t) { return t / std::max(a, static_cast<T>(kSmallestMean)); }
};

// The divergence of a row's targets p, which sum to 1, from q = softmax(z):
// sum p log(p / q) (Kullback and Leibler).
template <class T>
class Divergence : public Loss<T> {
   public:
    Target target() const override { return Target::values; }

    double value(Index n, T* z, const Batch<T>& batch, Index row) const override {
        const T* p = batch.target.dense.row(row);
        double own = 0, sum = 0;
        for (Index j = 0; j < n; ++j) {
            const auto share = static_cast<double>(p[j]);
            if (share > 0) own += share * (std::log(share) - static_cast<double>(z[j]));
        }
        const T largest = shifted_exponentials(this->k(), n, z, z, sum);
        return own + static_cast<double>(largest) + std::log(sum);
    }

    // q - p
    void delta(Index n, const T* z, const Batch<T>& batch, Index row, T* delta) const override {
        const T* p = batch.target.dense.row(row);
        softmax_row(this->k(), n, z, delta);
        for (Index j = 0; j < n; ++j) delta[j] -= p[j];
    }
};

// -log softmax(z)[label], by log-sum-exp: finite for any finite z. The clipped form is the
// article's, -log clip(softmax(z)[label], 1e-10, 1): below the clip there is no gradient.
template <class T, bool clipped>
class CrossEntropyOf : public Loss<T> {
    static constexpr double kClip = 1e-10;

   public:
    Target target() const override { return Target::label; }

    double value(Index n, T* z, const Batch<T>& batch, Index row) const override {
        const T right = z[batch.labels[row]];
        double sum = 0;
        const T largest = shifted_exponentials(this->k(), n, z, z, sum);
        const double log_p =
            static_cast<double>(right) - static_cast<double>(largest) - std::log(sum);
        return clipped ? -std::max(log_p, std::log(kClip)) : -log_p;
    }

    Index n_right(View<const T> z, const Batch<T>& batch, Index row) const override {
        return largest<T>(z, row) == batch.labels[row];
    }

    // softmax(z) - onehot(label)
    void delta(Index n, const T* z, const Batch<T>& batch, Index row, T* delta) const override {
        const std::int64_t label = batch.labels[row];
        softmax_row(this->k(), n, z, delta);
        if (clipped && delta[label] < static_cast<T>(kClip)) {
            std::fill_n(delta, n, T(0));
        } else {
            delta[label] -= T(1);
        }
    }
};
template <class T>
using CrossEntropy = CrossEntropyOf<T, false>;
template <class T>
using ClippedCrossEntropy = CrossEntropyOf<T, true>;

template <class Class>
const Class kLoss;

}  // namespace

template <class T>
void Loss<T>::check(const Source<T>& source, Index n) const {
    if (target() == Target::label && !source.has_labels(n)) {
        throw std::invalid_argument("expected a label below " + std::to_string(n) +
                                    " for each sample");
    }
    if (target() == Target::values && source.target().n_features() != n) {
        throw std::invalid_argument("expected " + std::to_string(n) + " values, got " +
                                    std::to_string(source.target().n_features()));
    }
}

template <class T>
const Loss<T>& find_loss(LossName name) {
#define SAE_ADDRESS(name, Class) &kLoss<Class<T>>,
    static const Loss<T>* const losses[] = {SAE_LOSSES(SAE_ADDRESS)};
    return *losses[static_cast<int>(name)];
}

template class Loss<float>;
template class Loss<double>;
template const Loss<float>& find_loss(LossName);
template const Loss<double>& find_loss(LossName);

}  // namespace sae
