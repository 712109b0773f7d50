// SPDX-License-Identifier: BSD-3-Clause
#include "sae/evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace sae {

namespace {

// A set of at least so many samples is worth the expansion below, and averages its rounding errors.
constexpr Index kExpandedSamples = 4096;

// Where less than this share of the terms is left after they cancel, they are not trusted.
constexpr double kCancellation = 3e-3;

// With rows of w whose squares are below this, or above its inverse, they are not trusted either.
constexpr double kSmallest = 1e-20;

// What a chunk adds: its loss, and what else is counted beside it.
struct Sums {
    double loss, other;
};

// The sums of f(chunk) over the chunks in their order, each chunk run through the first n_layers
// layers.
template <class T, class F>
Sums sum_chunks(const Network<T>& network, const Input<T>& input, Index n_layers, int n_threads,
                const F& f) {
    constexpr Index size = Network<T>::kChunk;
    std::vector<Sums> sums(static_cast<std::size_t>((input.n_samples() + size - 1) / size));
    network.for_each_chunk(input, 0, n_layers, n_threads, [&](const Chunk<T>& chunk) {
        sums[static_cast<std::size_t>(chunk.first / size)] = f(chunk);
    });
    Sums total{0, 0};
    for (const Sums& part : sums) {
        total.loss += part.loss;
        total.other += part.other;
    }
    return total;
}

// |x - a|^2 of a row of the chunk, a being the last layer's output, for each in turn to f(i,
// error).
template <class T, class F>
void for_each_error(const Input<T>& input, const Chunk<T>& chunk, const F& f) {
    const Kernels<T>& k = kernels<T>(active_isa());
    const View<T> a = chunk.work.a.back(), x = chunk.work.x;
    if (input.sparse()) input.gather(nullptr, chunk.first, chunk.rows, x);
    for (Index i = 0; i < chunk.rows; ++i) f(i, k.squared_error(a.cols, a.row(i), x.row(i)));
}

// Their sum over the set.
template <class T>
double squared_error(const Network<T>& network, const Input<T>& input, int n_threads) {
    const auto chunk_sums = [&](const Chunk<T>& chunk) {
        Sums sum{0, 0};
        for_each_error(input, chunk, [&](Index, double error) { sum.loss += error; });
        return sum;
    };
    return sum_chunks(network, input, network.n_layers(), n_threads, chunk_sums).loss;
}

// The same where x is sparse and the last layer linear, a = h w + b, without a:
//   |x - a|^2 summed = <h^T h, w w^T> - 2 <h, x w^T - b w^T> + |x - b|^2
// x w^T needs the non-zeros of x alone, h^T h and w w^T are as small as h, and the last term's sum
// over a set needs no more than sums of x. Sums over chunks are in float64; empty if too little is
// left of what cancels.
template <class T>
class LinearDecoder {
   public:
    LinearDecoder(const Network<T>& network, int n_threads)
        : network_(network),
          layer_(network.layers().back()),
          gram_(layer_.n_in * padded<T>(layer_.n_in)),
          minus_wb_(padded<T>(layer_.n_in)),
          scratch_(static_cast<std::size_t>(n_threads)) {
        const Kernels<T>& k = kernels<T>(active_isa());
        for (Index i = 0; i < layer_.n_in; ++i) {
            const T* w = layer_.w.row(i);
            const double square = k.dot(layer_.n_out, w, w);
            in_range_ =
                in_range_ && (square == 0 || (square > kSmallest && square < 1 / kSmallest));
            minus_wb_.data()[i] = static_cast<T>(-k.dot(layer_.n_out, w, layer_.b));
            for (Index j = i; j < layer_.n_in; ++j) {  // h^T h is symmetric
                gram_.data()[i * padded<T>(layer_.n_in) + j] =
                    static_cast<T>((i == j ? 1 : 2) * k.dot(layer_.n_out, w, layer_.w.row(j)));
            }
        }
    }

    // Whether the expansion has less to compute than the reconstruction.
    static bool pays(const Network<T>& network, const Input<T>& input) {
        const Dense<T>& layer = network.layers().back();
        const auto n_in = static_cast<double>(layer.n_in);
        const auto n_out = static_cast<double>(layer.n_out);
        return input.sparse() && network.n_layers() > 1 && layer.w_t.data &&
               layer.activation == Activation::identity && input.n_samples() >= kExpandedSamples &&
               n_in + input.density() * n_out < 0.8 * n_out;
    }

    std::optional<double> squared_error(const Input<T>& input, int n_threads) {
        const Sums sum = sum_chunks(network_, input, network_.n_layers() - 1, n_threads,
                                    [&](const Chunk<T>& chunk) { return expand(chunk); });
        const auto& columns = input.column_sums(n_threads);
        double xb = 0, bb = 0;
        for (Index j = 0; j < layer_.n_out; ++j) {
            const auto b = static_cast<double>(layer_.b[j]);
            xb += columns.values[static_cast<std::size_t>(j)] * b;
            bb += static_cast<double>(input.n_samples()) * b * b;
        }
        const double loss = sum.loss + (columns.squares - 2 * xb + bb);
        // not finite: for this way alone, perhaps
        const bool trusted =
            std::isfinite(loss) && loss >= kCancellation * (sum.other + columns.squares + bb);
        if (!trusted || !in_range_) return std::nullopt;
        return loss;
    }

   private:
    struct Scratch {
        Buffer<T> wx;   // (rows, padded n_in): x w^T - b w^T
        Buffer<T> hth;  // (n_in, padded n_in)
    };

    // The terms of a chunk that have h in them, and those of them that are squares.
    Sums expand(const Chunk<T>& chunk) {
        const Kernels<T>& k = kernels<T>(active_isa());
        Scratch& s = scratch_[static_cast<std::size_t>(chunk.rank)];
        const Index n = layer_.n_in, ld = padded<T>(n);
        if (!s.wx.data()) s = {Buffer<T>(Network<T>::kChunk * ld), Buffer<T>(n * ld)};
        const Dense<T> transposed{layer_.n_out,     n, Activation::identity, layer_.w_t,
                                  minus_wb_.data(), {}};
        chunk.samples.forward(k, transposed, {s.wx.data(), chunk.rows, n, ld});
        const View<T> h = chunk.work.a[chunk.work.a.size() - 2];
        k.gram(chunk.rows, n, h.data, h.ld, s.hth.data(), ld);
        const double squares = k.dot(n * ld, s.hth.data(), gram_.data());
        double cross = 0;
        for (Index i = 0; i < chunk.rows; ++i) cross += k.dot(n, h.row(i), s.wx.data() + i * ld);
        return {squares - 2 * cross, squares};
    }

    const Network<T>& network_;
    const Dense<T>& layer_;
    bool in_range_ = true;          // whether products of w with itself keep their digits in T
    Buffer<T> gram_;                // (n_in, padded n_in): w w^T, twice its upper triangle
    Buffer<T> minus_wb_;            // (n_in): -b w^T
    std::vector<Scratch> scratch_;  // one per thread
};

}  // namespace

template <class T>
Evaluation evaluate(const Network<T>& network, const Input<T>& input, const std::int64_t* labels,
                    Loss loss, double weight_decay, int n_threads) {
    Evaluation total{0, 0};
    if (loss == Loss::squared_error) {
        std::optional<double> expanded;
        if (LinearDecoder<T>::pays(network, input)) {
            expanded = LinearDecoder<T>(network, n_threads).squared_error(input, n_threads);
        }
        total.loss = expanded ? *expanded : squared_error(network, input, n_threads);
    } else {
        const Kernels<T>& k = kernels<T>(active_isa());
        const auto chunk_sums = [&](const Chunk<T>& chunk) {
            const View<T> a = chunk.work.a.back();
            Sums sum{0, 0};  // the other: how many are right
            for (Index i = 0; i < chunk.rows; ++i) {
                T* z = a.row(i);
                const std::int64_t label = labels[chunk.first + i];
                sum.other += std::max_element(z, z + a.cols) - z == label;
                sum.loss += classification_loss(k, loss, a.cols, z, label);
            }
            return sum;
        };
        const Sums sum = sum_chunks(network, input, network.n_layers(), n_threads, chunk_sums);
        total = {sum.loss, static_cast<Index>(sum.other)};
    }
    double squares = 0;
    for (const Dense<T>& layer : network.layers()) {
        for (Index i = 0; weight_decay != 0 && i < layer.n_in; ++i) {
            for (Index j = 0; j < layer.n_out; ++j) {
                const auto w = static_cast<double>(layer.w(i, j));
                squares += w * w;
            }
        }
    }
    total.loss += weight_decay * squares / 2;
    return total;
}

template <class T>
void squared_errors(const Network<T>& network, const Input<T>& input, int n_threads,
                    double* errors) {
    network.for_each_chunk(input, 0, network.n_layers(), n_threads, [&](const Chunk<T>& chunk) {
        for_each_error(input, chunk,
                       [&](Index i, double error) { errors[chunk.first + i] = error; });
    });
}

template void squared_errors(const Network<float>&, const Input<float>&, int, double*);
template void squared_errors(const Network<double>&, const Input<double>&, int, double*);
template Evaluation evaluate(const Network<float>&, const Input<float>&, const std::int64_t*, Loss,
                             double, int);
template Evaluation evaluate(const Network<double>&, const Input<double>&, const std::int64_t*,
                             Loss, double, int);

}  // namespace sae
