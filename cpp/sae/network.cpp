// SPDX-License-Identifier: BSD-3-Clause
#include "sae/network.hpp"

#include <algorithm>
#include <cmath>

#include "sae/loss.hpp"

namespace sae {

template <class T>
Activations<T>::Activations(const std::vector<Dense<T>>& layers, Index first, Index last,
                            Index rows) {
    const auto at = [&](Index l) { return layers[static_cast<std::size_t>(l)]; };
    Index size = rows * padded<T>(at(first).n_in);
    for (Index l = first; l < last; ++l) size += rows * padded<T>(at(l).n_out);
    arena_ = Buffer<T>(size);
    T* next = arena_.data();
    x = take(next, rows, at(first).n_in);
    a.resize(layers.size());
    for (Index l = first; l < last; ++l) {
        a[static_cast<std::size_t>(l)] = take(next, rows, at(l).n_out);
    }
}

template <class T>
Network<T>::Network(const std::vector<Index>& sizes, const std::vector<Activation>& activations) {
    Index n_parameters = 0, n_transposed = 0;
    const Index n_layers = static_cast<Index>(activations.size());
    const auto size = [&](Index l) { return sizes[static_cast<std::size_t>(l)]; };
    const auto has_transposed = [&](Index l) {
        return l > 0 && !Dense<T>::is_wide(size(l), size(l + 1));
    };
    for (Index l = 0; l < n_layers; ++l) {
        n_parameters += (size(l) + 1) * padded<T>(size(l + 1));
        if (has_transposed(l)) n_transposed += size(l + 1) * padded<T>(size(l));
    }
    parameters_ = Buffer<T>(n_parameters);
    transposed_ = Buffer<T>(n_transposed);
    T* next = parameters_.data();
    T* next_transposed = transposed_.data();
    for (Index l = 0; l < n_layers; ++l) {
        Dense<T> layer{size(l), size(l + 1), activations[static_cast<std::size_t>(l)], {}, {}, {}};
        layer.w = take(next, layer.n_in, layer.n_out);
        layer.b = take(next, 1, layer.n_out).data;
        if (has_transposed(l)) layer.w_t = take(next_transposed, layer.n_out, layer.n_in);
        layers_.push_back(layer);
    }
}

template <class T>
void Network<T>::set_parameters(Index l, const T* w, const T* b) {
    const Dense<T>& layer = layers_[static_cast<std::size_t>(l)];
    for (Index i = 0; i < layer.n_in; ++i) {
        std::copy_n(w + i * layer.n_out, layer.n_out, layer.w.row(i));
    }
    std::copy_n(b, layer.n_out, layer.b);
    update_transposed(l, 0, layer.n_in);
}

template <class T>
void Network<T>::get_parameters(Index l, T* w, T* b) const {
    const Dense<T>& layer = layers_[static_cast<std::size_t>(l)];
    for (Index i = 0; i < layer.n_in; ++i) {
        std::copy_n(layer.w.row(i), layer.n_out, w + i * layer.n_out);
    }
    std::copy_n(layer.b, layer.n_out, b);
}

template <class T>
bool Network<T>::finite() const {
    return std::all_of(parameters_.data(), parameters_.data() + parameters_.size(),
                       [](T value) { return std::isfinite(value); });
}

template <class T>
bool Network<T>::uses_blas() const {
    return std::any_of(layers_.begin(), layers_.end(),
                       [](const Dense<T>& layer) { return layer.wide(); });
}

template <class T>
void Network<T>::update_transposed(Index l, Index r0, Index r1) {
    const Dense<T>& layer = layers_[static_cast<std::size_t>(l)];
    if (!layer.w_t.data) return;
    kernels<T>(active_isa())
        .transpose(r1 - r0, layer.n_out, layer.w.row(r0), layer.w.ld, layer.w_t.data + r0,
                   layer.w_t.ld);
}

template <class T>
void Network<T>::forward_rows(Index l, Range rows, const Activations<T>& work) const {
    const Dense<T>& layer = layers_[static_cast<std::size_t>(l)];
    const View<T> a = work.a[static_cast<std::size_t>(l)];
    const View<T> below = l == 0 ? View<T>{} : work.a[static_cast<std::size_t>(l - 1)];
    const View<T> x = below.data ? below : work.x;
    const Index n = rows.end - rows.begin;
    dense_forward<T>(kernels<T>(active_isa()), layer, {x.row(rows.begin), n, layer.n_in, x.ld},
                     {a.row(rows.begin), n, layer.n_out, a.ld});
}

template <class T>
void Network<T>::for_each_chunk(const Input<T>& input, Index first_layer, Index last_layer,
                                int n_threads, const ChunkFunction& f) const {
    const Index n = input.n_samples();
    const Index n_chunks = (n + kChunk - 1) / kChunk;
    double work_per_sample = 0;
    for (Index l = first_layer; l < last_layer; ++l) {
        const Dense<T>& layer = layers_[static_cast<std::size_t>(l)];
        work_per_sample += static_cast<double>(layer.n_in * layer.w.ld) * sizeof(T) / 32;
    }
    const int team = std::min(useful_threads(n_threads, static_cast<double>(n) * work_per_sample),
                              static_cast<int>(n_chunks));
    const Kernels<T>& k = kernels<T>(active_isa());
    const bool sparse = first_layer == 0 && input.sparse();
    std::vector<Activations<T>> work;
    std::vector<SparseBatch<T>> samples(static_cast<std::size_t>(team));
    work.reserve(static_cast<std::size_t>(team));
    for (int t = 0; t < team; ++t) {
        work.emplace_back(layers_, first_layer, last_layer, std::min(n, kChunk));
    }
    for (SparseBatch<T>& batch : samples) {
        if (sparse) batch = {input, std::min(n, kChunk)};
    }
    run_team(team, [&](Member member) {
        const Activations<T>& mine = work[static_cast<std::size_t>(member.rank)];
        SparseBatch<T>& batch = samples[static_cast<std::size_t>(member.rank)];
        const Range chunks = member.share(n_chunks);
        for (Index c = chunks.begin; c < chunks.end; ++c) {
            const Index first = c * kChunk;
            const Index rows = std::min(kChunk, n - first);
            if (sparse) {
                batch.choose(nullptr, first, rows);
                batch.forward(k, layers_.front(), mine.a.front());
            } else {
                input.gather(nullptr, first, rows, mine.x);
            }
            for (Index l = first_layer + sparse; l < last_layer; ++l) {
                forward_rows(l, {0, rows}, mine);
            }
            f({member.rank, first, rows, mine, batch});
        }
    });
}

template <class T>
void Network<T>::predict(const Input<T>& input, Index first_layer, Index last_layer, bool softmax,
                         int n_threads, T* out) const {
    const Kernels<T>& k = kernels<T>(active_isa());
    for_each_chunk(input, first_layer, last_layer, n_threads, [&](const Chunk<T>& chunk) {
        const View<T> a = chunk.work.a[static_cast<std::size_t>(last_layer - 1)];
        for (Index i = 0; i < chunk.rows; ++i) {
            if (softmax) softmax_row(k, a.cols, a.row(i), a.row(i));
            std::copy_n(a.row(i), a.cols, out + (chunk.first + i) * a.cols);
        }
    });
}

template <class T>
void Network<T>::classify(const Input<T>& input, int n_threads, std::int64_t* classes) const {
    for_each_chunk(input, 0, n_layers(), n_threads, [&](const Chunk<T>& chunk) {
        const View<T> a = chunk.work.a.back();
        for (Index i = 0; i < chunk.rows; ++i) {
            classes[chunk.first + i] = std::max_element(a.row(i), a.row(i) + a.cols) - a.row(i);
        }
    });
}

template <class T>
std::vector<Index> Network<T>::count_dead_units(const Input<T>& input, int n_threads) const {
    const Index n_chunks = (input.n_samples() + kChunk - 1) / kChunk;
    Index n_units = 0;
    for (const Dense<T>& layer : layers_) n_units += layer.n_out;
    // (n_chunks, n_units): whether the unit is alive on a sample of the chunk
    std::vector<char> alive(static_cast<std::size_t>(n_chunks * n_units));
    for_each_chunk(input, 0, n_layers(), n_threads, [&](const Chunk<T>& chunk) {
        char* unit = alive.data() + chunk.first / kChunk * n_units;
        for (const View<T>& a : chunk.work.a) {
            for (Index j = 0; j < a.cols; ++j, ++unit) {
                for (Index i = 0; i < chunk.rows && !*unit; ++i) *unit = a(i, j) != T(0);
            }
        }
    });
    std::vector<Index> dead;
    Index unit = 0;
    for (const Dense<T>& layer : layers_) {
        dead.push_back(0);
        for (Index j = 0; j < layer.n_out; ++j, ++unit) {
            bool any = false;
            for (Index c = 0; c < n_chunks && !any; ++c) {
                any = alive[static_cast<std::size_t>(c * n_units + unit)] != 0;
            }
            dead.back() += !any;
        }
    }
    return dead;
}

template struct Activations<float>;
template struct Activations<double>;
template class Network<float>;
template class Network<double>;

}  // namespace sae
