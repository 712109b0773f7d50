// SPDX-License-Identifier: BSD-3-Clause
// The squared error of a linear decoder over a sparse set, a = h w + b, without a:
//   |x - a|^2 summed = <h^T h, w w^T> - 2 <h, x w^T - b w^T> + |x - b|^2
// x w^T needs the non-zeros of x alone, h^T h and w w^T are as small as h, and the last term's sum
// over a set needs no more than sums of x.
#include <cmath>

#include "sae/evaluation/evaluation.hpp"

namespace sae {

namespace {

// A set of at least so many samples is worth the expansion, and averages its rounding errors.
constexpr Index kExpandedSamples = 4096;

// Where less than this share of the terms is left after they cancel, they are not trusted.
constexpr double kCancellation = 3e-3;

// With rows of w whose squares are below this, or above its inverse, they are not trusted either.
constexpr double kSmallest = 1e-20;

// Whether the expansion has less to compute than the reconstruction.
template <class T>
bool pays(const Network<T>& network, const Input<T>& input) {
    const Index last = network.n_layers() - 1;
    const auto n_in = static_cast<double>(network.layer(last).n_in);
    const auto n_out = static_cast<double>(network.layer(last).n_out);
    return input.sparse() && network.strategy(last, false).transposed().data &&
           network.layer(last).activation == Activation::linear &&
           input.n_samples() >= kExpandedSamples && n_in + input.density() * n_out < 0.8 * n_out;
}

template <class T>
class LinearDecoder {
   public:
    LinearDecoder(const Network<T>& network, int n_threads)
        : network_(network),
          layer_(network.layers().back()),
          gram_(layer_.n_in, layer_.n_in),
          minus_wb_(1, layer_.n_in),
          scratch_(static_cast<std::size_t>(n_threads)) {
        for (Index i = 0; i < layer_.n_in; ++i) {
            const T* w = layer_.w.row(i);
            const double square = k_.dot(layer_.n_out, w, w);
            in_range_ =
                in_range_ && (square == 0 || (square > kSmallest && square < 1 / kSmallest));
            minus_wb_(0, i) = static_cast<T>(-k_.dot(layer_.n_out, w, layer_.b));
            for (Index j = i; j < layer_.n_in; ++j) {  // h^T h is symmetric
                gram_(i, j) =
                    static_cast<T>((i == j ? 1 : 2) * k_.dot(layer_.n_out, w, layer_.w.row(j)));
            }
        }
        const View<T> w = network.strategy(network.n_layers() - 1, false).transposed();
        transposed_ = sparse_strategy(
            Dense<T>{layer_.n_out, layer_.n_in, Activation::linear, w, minus_wb_.data});
    }

    std::optional<double> squared_error(const Source<T>& source, int n_threads) {
        const Sums sum = sum_chunks(network_, source, {}, network_.n_layers() - 1, n_threads,
                                    [&](const Chunk<T>& chunk) { return expand(chunk); });
        const auto& columns = source.input().column_sums(n_threads);
        double xb = 0, bb = 0;
        for (Index j = 0; j < layer_.n_out; ++j) {
            const auto b = static_cast<double>(layer_.b[j]);
            xb += columns.values[j] * b;
            bb += static_cast<double>(source.n_samples()) * b * b;
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
        Workspace<T> workspace;
        Matrix<T> wx;   // (rows, n_in): x w^T - b w^T
        Matrix<T> hth;  // (n_in, n_in)
    };

    // The terms of a chunk that have h in them, and those of them that are squares.
    Sums expand(const Chunk<T>& chunk) {
        Scratch& s = scratch_[chunk.rank];
        const Index n = layer_.n_in;
        if (!s.wx.data) {
            s.wx = Matrix<T>(Network<T>::kChunk, n);
            s.hth = Matrix<T>(n, n);
            transposed_->reserve(s.workspace, chunk.batch.x, Network<T>::kChunk, false);
        }
        const View<T> h = chunk.a[network_.n_layers() - 2].part({0, chunk.rows});
        transposed_->forward(chunk.batch.x, Activation::linear, s.wx.part({0, h.rows}), {0, n},
                             s.workspace);
        k_.gram(h, s.hth);
        const double squares = k_.dot(n * gram_.ld, s.hth.data, gram_.data);
        double cross = 0;
        for (Index i = 0; i < h.rows; ++i) cross += k_.dot(n, h.row(i), s.wx.row(i));
        return {squares - 2 * cross, squares};
    }

    const Network<T>& network_;
    const Dense<T>& layer_;
    const Kernels<T>& k_ = kernels<T>(active_isa());
    bool in_range_ = true;  // whether products of w with itself keep their digits in T
    Matrix<T> gram_;        // (n_in, n_in): w w^T, twice its upper triangle
    Matrix<T> minus_wb_;    // (1, n_in): -b w^T
    std::unique_ptr<Strategy<T>> transposed_;  // x w^T - b w^T
    List<Scratch> scratch_;                    // one per thread
};

}  // namespace

template <class T>
std::optional<double> expanded_squared_error(const Network<T>& network, const Source<T>& source,
                                             int n_threads) {
    if (!pays(network, source.input())) return std::nullopt;
    return LinearDecoder<T>(network, n_threads).squared_error(source, n_threads);
}

template std::optional<double> expanded_squared_error(const Network<float>&, const Source<float>&,
                                                      int);
template std::optional<double> expanded_squared_error(const Network<double>&, const Source<double>&,
                                                      int);

}  // namespace sae
