// SPDX-License-Identifier: BSD-3-Clause
#include "sae/data/batch.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace sae {

template <class T>
Source<T>::Source(const Input<T>& input, const std::int64_t* labels, const Input<T>* targets,
                  const T* weights)
    : input_(input), target_(targets ? *targets : input) {
    if (target_.n_samples() != n_samples()) {
        throw std::invalid_argument("expected targets for " + std::to_string(n_samples()) +
                                    " samples, got " + std::to_string(target_.n_samples()));
    }
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
    const auto make_rows = [&](const Input<T>& from, bool dense, Matrix<T>& memory,
                               Buffer<Index>& start_memory) -> Rows<T> {
        if (from.sparse() && !dense) {
            start_memory = Buffer<Index>(n);
            return {from.packed(), start_memory.data(), from.density()};
        }
        memory = Matrix<T>(n, from.n_features());
        return View<T>(memory);
    };
    batch.clean = make_rows(input_, form.dense_x, batch.clean_memory, batch.start_memory);
    batch.x = batch.target = batch.clean;
    batch.apart = has_targets() || (batch.clean.sparse() && form.dense_target);
    if (batch.apart) {
        batch.target =
            make_rows(target_, form.dense_target, batch.target_memory, batch.target_start_memory);
    }
    if (form.corrupted) {
        batch.corrupted_memory = Matrix<std::uint8_t>(n, input_.n_features());
        batch.corrupted = batch.corrupted_memory;
        if (batch.clean.sparse()) {
            batch.packed_memory = input_.packed_memory(n);
            batch.packed_start_memory = Buffer<Index>(n);
            batch.x.packed = batch.packed_memory.rows(input_.packed().bytes.table);
            batch.x.start = batch.packed_start_memory.data();
            const Index length = input_.longest_row();
            for (Index i = 0; i < n; ++i) batch.x.start[i] = i * length;
        } else {
            batch.x = make_rows(input_, true, batch.x_memory, batch.start_memory);
        }
    }
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
    const auto read_rows = [&](const Input<T>& from, const Rows<T>& to) {
        if (to.sparse()) {
            for (Index i = rows.begin; i < rows.end; ++i) {
                to.start[i] = from.row_start(sample(i));
            }
        } else {
            from.gather(index ? index + rows.begin : nullptr, first + rows.begin,
                        to.part(rows).dense);
        }
    };
    read_rows(input_, batch.clean);
    if (batch.apart) read_rows(target_, batch.target);
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
        if (has_targets() && target_.sparse()) target_.prefetch(static_cast<Index>(index[i]));
    }
}

template class Source<float>;
template class Source<double>;

}  // namespace sae
