// SPDX-License-Identifier: BSD-3-Clause
#include "sae/data/batch.hpp"

#include <algorithm>

namespace sae {

template <class T>
Source<T>::Source(const Input<T>& input, const std::int64_t* labels, const T* weights)
    : input_(input) {
    if (labels) labels_.assign(labels, labels + n_samples());
    if (weights) weights_.assign(weights, weights + n_samples());
}

template <class T>
bool Source<T>::has_labels(Index n_classes) const {
    return labels_.count() == n_samples() &&
           std::all_of(labels_.begin(), labels_.end(),
                       [&](std::int64_t label) { return label >= 0 && label < n_classes; });
}

template <class T>
Batch<T> Source<T>::make_batch(Index n, BatchForm form) const {
    Batch<T> batch;
    const auto make_rows = [&](bool dense, Matrix<T>& memory) -> Rows<T> {
        if (input_.sparse() && !dense) {
            if (batch.start_memory.size() < n) batch.start_memory = Buffer<Index>(n);
            return {input_.packed(), batch.start_memory.data(), input_.density()};
        }
        memory = Matrix<T>(n, input_.n_features());
        return View<T>(memory);
    };
    batch.x = make_rows(form.dense_x, batch.x_memory);
    batch.apart = form.apart || (batch.x.sparse() && form.dense_target);
    batch.target = batch.apart ? make_rows(form.dense_target, batch.target_memory) : batch.x;
    if (!labels_.empty()) {
        batch.labels_memory = Buffer<std::int64_t>(n);
        batch.labels = batch.labels_memory.data();
    }
    if (!weights_.empty()) {
        batch.weights_memory = Buffer<T>(n);
        batch.weights = batch.weights_memory.data();
    }
    return batch;
}

template <class T>
void Source<T>::read(const std::int64_t* index, Index first, Range rows, Batch<T>& batch) const {
    const auto sample = [&](Index i) { return index ? static_cast<Index>(index[i]) : first + i; };
    const auto read_rows = [&](const Rows<T>& to) {
        if (to.sparse()) {
            for (Index i = rows.begin; i < rows.end; ++i) {
                to.start[i] = input_.row_start(sample(i));
            }
        } else {
            input_.gather(index ? index + rows.begin : nullptr, first + rows.begin,
                          to.part(rows).dense);
        }
    };
    read_rows(batch.x);
    if (batch.apart) read_rows(batch.target);
    for (Index i = rows.begin; i < rows.end; ++i) {
        if (batch.labels) batch.labels[i] = labels_[sample(i)];
        if (batch.weights) batch.weights[i] = weights_[sample(i)];
    }
}

template <class T>
void Source<T>::prefetch(const std::int64_t* index, Range rows) const {
    for (Index i = rows.begin; i < rows.end; ++i) {
        if (!labels_.empty()) __builtin_prefetch(&labels_[index[i]]);
        if (!weights_.empty()) __builtin_prefetch(&weights_[index[i]]);
        if (input_.sparse()) input_.prefetch(static_cast<Index>(index[i]));
    }
}

template class Source<float>;
template class Source<double>;

}  // namespace sae
