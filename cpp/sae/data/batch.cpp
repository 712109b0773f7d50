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
    const auto own_rows = [&](const Input<T>& from, SparseMemory<T>& memory) -> Rows<T> {
        memory = {from.packed_memory(n), Buffer<Index>(n)};
        const Index room = from.row_room();
        for (Index i = 0; i < n; ++i) memory.start.data()[i] = i * room;
        return {memory.packed.rows(from.table(), from.n_features()), memory.start.data(),
                from.density()};
    };
    const auto make_rows = [&](const Input<T>& from, bool dense, Matrix<T>& memory,
                               SparseMemory<T>& sparse) -> Rows<T> {
        if (from.sparse() && !dense) {
            if (from.is_bytes()) return own_rows(from, sparse);
            sparse.start = Buffer<Index>(n);
            return {from.lists(), sparse.start.data(), from.density()};
        }
        memory = Matrix<T>(n, from.n_features());
        return View<T>(memory);
    };
    batch.clean = make_rows(input_, form.dense_x, batch.clean_memory, batch.clean_sparse);
    batch.x = batch.target = batch.clean;
    batch.apart = has_targets() || (batch.clean.sparse() && form.dense_target);
    if (batch.apart) {
        batch.target =
            make_rows(target_, form.dense_target, batch.target_memory, batch.target_sparse);
    }
    if (form.corrupted) {
        batch.corrupted_memory = Matrix<std::uint8_t>(n, input_.n_features());
        batch.corrupted = batch.corrupted_memory;
        if (batch.clean.sparse()) {
            batch.x = own_rows(input_, batch.x_sparse);
        } else {
            batch.x_memory = Matrix<T>(n, input_.n_features());
            batch.x = View<T>(batch.x_memory);
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
    const auto read_rows = [&](const Input<T>& from, const Rows<T>& to,
                               const SparseMemory<T>& memory) {
        if (!to.sparse()) {
            return from.gather(index ? index + rows.begin : nullptr, first + rows.begin,
                               to.part(rows).dense);
        }
        for (Index i = rows.begin; i < rows.end; ++i) {
            if (from.is_bytes()) {
                from.expand(sample(i), memory.packed.bytes() + to.start[i],
                            memory.packed.bits() + to.start[i] / 64);
            } else {
                to.start[i] = from.row_start(sample(i));
            }
        }
    };
    read_rows(input_, batch.clean, batch.clean_sparse);
    if (batch.apart) read_rows(target_, batch.target, batch.target_sparse);
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
