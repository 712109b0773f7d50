// SPDX-License-Identifier: BSD-3-Clause
#include "sae/layers/network.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "sae/layers/softmax.hpp"

namespace sae {

namespace {

template <class T>
[[noreturn]] void raise_logits(Index row) {
    throw std::domain_error("row " + std::to_string(row) + " has logits beyond what " +
                            (sizeof(T) == 4 ? "float32" : "float64") +
                            " holds, expected smaller values");
}

}  // namespace

template <class T>
Activations<T>::Activations(const List<Dense<T>>& layers, Index first, Index last, Index rows)
    : of_layer_(layers.size()), codes_(layers.size()) {
    Index size = 0;
    for (Index l = first; l < last; ++l) size += rows * padded<T>(layers[l].n_out);
    arena_ = Buffer<T>(size);
    T* next = arena_.data();
    for (Index l = first; l < last; ++l) {
        of_layer_[l] = take(next, rows, layers[l].n_out);
        if (is_sparse(layers[l])) codes_[l] = {rows, layers[l].n_out, layers[l].kept};
    }
}

template <class T>
Network<T>::Network(const List<Index>& sizes, const List<Activation>& activations,
                    const List<Index>& kept, bool tied, bool centers)
    : tied_(tied) {
    const Index n_layers = activations.count();
    const auto is_width = [](Index n) { return n > 0 && n <= kMostUnits; };
    if (n_layers < 1 || sizes.count() != n_layers + 1 ||
        !std::all_of(sizes.begin(), sizes.end(), is_width)) {
        throw std::invalid_argument("expected widths of the input and of each layer");
    }
    for (Index l = 0; l < kept.count(); ++l) {
        if (kept.count() != n_layers || kept[l] < 0 || kept[l] > sizes[l + 1]) {
            throw std::invalid_argument("expected for each layer how many units it keeps");
        }
    }
    if (tied && (n_layers % 2 != 0 || !std::equal(sizes.begin(), sizes.end(), sizes.rbegin()))) {
        throw std::invalid_argument("expected layers that mirror each other");
    }
    const bool keeps = std::any_of(kept.begin(), kept.end(), [](Index n) { return n > 0; });
    if (centers && (tied || keeps || n_layers < 2 || activations.back() != Activation::linear)) {
        throw std::invalid_argument("expected linear centers of what layers below give, all of it");
    }
    const auto copied = [&](Index l) { return tied && l >= n_layers / 2; };
    Index n_parameters = 0, n_copied = 0;
    for (Index l = 0; l < n_layers; ++l) {
        const Index row = padded<T>(sizes[l + 1]);
        (copied(l) ? n_copied : n_parameters) += sizes[l] * row;
        n_parameters += row;
    }
    parameters_ = Buffer<T>(n_parameters);
    copies_ = Buffer<T>(n_copied);
    T *next = parameters_.data(), *next_copy = copies_.data();
    for (Index l = 0; l < n_layers; ++l) {
        const View<T> w = take(copied(l) ? next_copy : next, sizes[l], sizes[l + 1]);
        T* const b = take(next, 1, sizes[l + 1]).data;
        const View<T> w_t = copied(l) ? layers_[n_layers - 1 - l].w : View<T>{};
        const bool reads_codes = l > 0 && is_sparse(layers_.back());
        layers_.push_back({sizes[l], sizes[l + 1], activations[l], w, b, kept.empty() ? 0 : kept[l],
                           centers && l + 1 == n_layers});
        strategies_.push_back(choose_strategy(layers_.back(), l == 0 || reads_codes, w_t));
        sparse_.push_back(l == 0 || reads_codes ? sparse_strategy(layers_.back()) : nullptr);
    }
}

template <class T>
void Network<T>::set_parameters(Index l, const T* w, const T* b) {
    const Dense<T>& to = layer(l);
    std::copy_n(b, to.n_out, to.b);
    if (copies(l)) return;
    for (Index i = 0; i < to.n_in; ++i) std::copy_n(w + i * to.n_out, to.n_out, to.w.row(i));
    refresh(l, {0, to.n_in}, {0, to.n_out});
}

template <class T>
void Network<T>::get_parameters(Index l, T* w, T* b) const {
    const Dense<T>& from = layer(l);
    for (Index i = 0; i < from.n_in; ++i)
        std::copy_n(from.w.row(i), from.n_out, w + i * from.n_out);
    std::copy_n(from.b, from.n_out, b);
}

template <class T>
void Network<T>::copy_layer(Index l, const Network& from, Index from_l) {
    const Dense<T>& to = layer(l);
    const Dense<T>& source = from.layer(from_l);
    std::copy_n(source.b, to.w.ld, to.b);
    if (copies(l)) return;
    std::copy_n(source.w.data, to.n_in * to.w.ld, to.w.data);
    refresh(l, {0, to.n_in}, {0, to.n_out});
}

template <class T>
void Network<T>::check(const Input<T>& input, Index first_layer, Index last_layer) const {
    if (first_layer < 0 || first_layer >= last_layer || last_layer > n_layers()) {
        throw std::out_of_range("no such layers");
    }
    if (input.n_features() != layer(first_layer).n_in) {
        throw std::invalid_argument("expected " + std::to_string(layer(first_layer).n_in) +
                                    " features, got " + std::to_string(input.n_features()));
    }
}

template <class T>
bool Network<T>::uses_blas() const {
    return std::any_of(strategies_.begin(), strategies_.end(),
                       [](const auto& strategy) { return strategy->uses_blas(); });
}

template <class T>
void Network<T>::refresh(Index l, Range rows, Range columns) {
    strategies_[l]->refresh(rows, columns);
    if (!tied_ || copies(l)) return;
    const View<T> copy = layer(mirror(l)).w.part(columns).columns(rows);
    kernels<T>(active_isa()).transpose(layer(l).w.part(rows).columns(columns), copy);
}

template <class T>
void Network<T>::refresh() {
    for (Index l = 0; l < n_layers(); ++l) refresh(l, {0, layer(l).n_in}, {0, layer(l).n_out});
}

template <class T>
void Network<T>::keep_largest(Index l, View<T> a) const {
    if (layer(l).kept > 0) kernels<T>(active_isa()).keep_largest(layer(l).kept, a);
}

template <class T>
void Network<T>::for_each_chunk(const Source<T>& source, BatchForm form, Index first_layer,
                                Index last_layer, int n_threads, const ChunkFunction& f,
                                std::optional<Activation> top) const {
    check(source.input(), first_layer, last_layer);
    const Index n = source.n_samples();
    const Index n_chunks = (n + kChunk - 1) / kChunk;
    double work_per_sample = 0;
    for (Index l = first_layer; l < last_layer; ++l) {
        work_per_sample += static_cast<double>(layer(l).n_in * layer(l).w.ld) * sizeof(T) / 32;
    }
    const int team = std::min(useful_threads(n_threads, static_cast<double>(n) * work_per_sample),
                              static_cast<int>(n_chunks));
    form.dense_x = form.dense_x || first_layer > 0;
    struct Own {
        Batch<T> batch;
        Activations<T> a;
        Workspace<T> workspace;
    };
    List<Own> own;
    own.reserve(static_cast<std::size_t>(team));
    for (int t = 0; t < team; ++t) {
        const Index rows = std::min(n, kChunk);
        own.push_back(
            {source.make_batch(rows, form), {layers_, first_layer, last_layer, rows}, {}});
        Rows<T> x = own.back().batch.x;
        for (Index l = first_layer; l < last_layer; ++l) {
            strategy(l, x.sparse()).reserve(own.back().workspace, x, rows, false);
            x = own.back().a.rows(l);
        }
    }
    std::atomic<Index> next{0};  // chunk: one who is not running now leaves them to the others
    run_team(team, [&](Member member) {
        Own& mine = own[member.rank];
        for (Index c = next++; c < n_chunks; c = next++) {
            const Index first = c * kChunk;
            const Range rows{0, std::min(kChunk, n - first)};
            source.read(nullptr, first, rows, mine.batch);
            Rows<T> x = mine.batch.x.part(rows);
            for (Index l = first_layer; l < last_layer; ++l) {
                const View<T> a = mine.a[l].part(rows);
                const Activation f_own = layer(l).activation;
                strategy(l, x.sparse())
                    .forward(x, l + 1 < last_layer ? f_own : top.value_or(f_own), a, {0, a.cols},
                             mine.workspace);
                keep_largest(l, a);
                mine.a.pack(l, mine.a[l], rows);
                x = mine.a.rows(l).part(rows);
            }
            f({member.rank, first, rows.end, mine.batch, mine.a});
        }
    });
}

template <class T>
void Network<T>::predict(const Input<T>& input, Index first_layer, Index last_layer, bool softmax,
                         int n_threads, T* out) const {
    const Kernels<T>& k = kernels<T>(active_isa());
    for_each_chunk(Source<T>(input), {}, first_layer, last_layer, n_threads,
                   [&](const Chunk<T>& chunk) {
                       const View<T> a = chunk.a[last_layer - 1];
                       for (Index i = 0; i < chunk.rows; ++i) {
                           if (softmax && largest<T>(a, i) < 0) {
                               a(i, 0) = std::numeric_limits<T>::quiet_NaN();
                           } else if (softmax) {
                               softmax_row(k, a.cols, a.row(i), a.row(i));
                           }
                           std::copy_n(a.row(i), a.cols, out + (chunk.first + i) * a.cols);
                       }
                   });
    const Index n_out = layer(last_layer - 1).n_out;
    for (Index i = 0; softmax && i < input.n_samples(); ++i) {
        if (std::isnan(out[i * n_out])) raise_logits<T>(i);
    }
}

template <class T>
void Network<T>::classify(const Input<T>& input, int n_threads, std::int64_t* classes) const {
    for_each_chunk(Source<T>(input), {}, 0, n_layers(), n_threads, [&](const Chunk<T>& chunk) {
        for (Index i = 0; i < chunk.rows; ++i) {
            classes[chunk.first + i] = largest<T>(chunk.a.back(), i);
        }
    });
    const Index bad = std::find(classes, classes + input.n_samples(), -1) - classes;
    if (bad < input.n_samples()) raise_logits<T>(bad);
}

template <class T>
List<List<std::uint8_t>> Network<T>::dead_units(const Input<T>& input, int n_threads) const {
    Index n_units = 0;
    for (const Dense<T>& one : layers_) n_units += one.n_out;
    List<std::atomic<bool>> alive(static_cast<std::size_t>(n_units));  // on a sample or more
    const Kernels<T>& k = kernels<T>(active_isa());
    for_each_chunk(Source<T>(input), {}, 0, n_layers(), n_threads, [&](const Chunk<T>& chunk) {
        std::atomic<bool>* unit = alive.data();
        for (Index l = 0; l < n_layers(); unit += layer(l).n_out, ++l) {
            const Index n = layer(l).n_out;
            if (std::all_of(unit, unit + n, [](const auto& one) { return one.load(); })) continue;
            Matrix<T> slope(chunk.rows, n);
            for (Index i = 0; i < chunk.rows; ++i) std::fill_n(slope.row(i), n, T(1));
            k.derive(layer(l).activation, chunk.a[l].part({0, chunk.rows}), slope);
            for (Index j = 0; j < n; ++j) {
                for (Index i = 0; i < chunk.rows && !unit[j]; ++i) {
                    if (!(slope(i, j) < std::numeric_limits<T>::epsilon())) unit[j] = true;
                }
            }
        }
    });
    List<List<std::uint8_t>> dead;
    const std::atomic<bool>* unit = alive.data();
    for (const Dense<T>& one : layers_) {
        List<std::uint8_t>& own = dead.emplace_back();
        for (Index j = 0; j < one.n_out; ++j) own.push_back(*unit++ ? 0 : 1);
    }
    return dead;
}

template struct Activations<float>;
template struct Activations<double>;
template class Network<float>;
template class Network<double>;

}  // namespace sae
