// SPDX-License-Identifier: BSD-3-Clause
// How a layer computes: its products, how work on them may be cut among threads, and the copies of
// w that it needs. Chosen once for each layer; the result depends on the choice in its last bits,
// and never on the cut.
#pragma once

#include <memory>

#include "sae/base/parallel.hpp"
#include "sae/data/sparse_columns.hpp"

namespace sae {

// One dense layer, a = f(x w + b), or one of centers (similarity.hpp).
template <class T>
struct Dense {
    Index n_in, n_out;
    Activation activation;
    View<T> w;             // (n_in, n_out)
    T* b;                  // (n_out)
    Index kept = 0;        // of each row of a, its largest; the others are zero. 0: all
    bool centers = false;  // whether w's columns are points, and a says how near x is to them
};

// Of how many units one that is not zero is worth its own search: from there on the layer above
// reads non-zeros alone (benchmarks/test_steps.py).
inline constexpr Index kUnitsPerCode = 8;

// Whether so few units of a layer are not zero that the layer above reads those alone.
template <class T>
bool is_sparse(const Dense<T>& layer) {
    return layer.kept > 0 && layer.kept * kUnitsPerCode <= layer.n_out;
}

// A step on parameters of a layer; `rows` are those of w's first row, or of b.
template <class T>
struct LayerUpdate {
    UpdateStep<T> step;
    ParameterRows<T> rows;

    // From another row of w on.
    ParameterRows<T> from(Index row) const {
        ParameterRows<T> moved = rows;
        moved.w += row * rows.ld;
        for (T*& slot : moved.slots) {
            if (slot) slot += row * rows.ld;
        }
        return moved;
    }
};

// By what the forward and backward products of a batch are shared out: by its rows, so that a
// thread may take its own through several layers, or by the columns of what is computed, all rows
// at once.
enum class Cut { rows, columns };

// What a thread needs of its own; all layers that it computes share it.
template <class T>
struct Workspace {
    Buffer<Index> next;        // (rows): where each sparse sample goes on
    SparseColumns<T> columns;  // of a sparse batch
    Buffer<T> dw;              // (rows of w, padded n_out)
    Matrix<T> w_t;             // (n_out, rows of a tile)
};

template <class T>
class Strategy {
   public:
    explicit Strategy(const Dense<T>& dense) : layer(dense) {}
    virtual ~Strategy() = default;
    Strategy(const Strategy&) = delete;
    Strategy& operator=(const Strategy&) = delete;

    virtual Cut cut() const = 0;
    // Columns of a cut are shared out in multiples of this.
    virtual Index tile() const { return 1; }
    // Rows of w that one task updates: whole tiles, small enough to share out evenly.
    virtual Index task_rows() const = 0;
    // Whether it rounds as BLAS's kernels for this processor do.
    virtual bool uses_blas() const { return false; }
    // Room for batches like x of n rows: for forward(), and for update() where it is to train.
    virtual void reserve(Workspace<T>&, const Rows<T>&, Index, bool /* train */) const {}

    // a (n, n_out) = f(x w + b), the columns `columns` alone if that is the cut; f: of the layer,
    // or another.
    virtual void forward(const Rows<T>& x, Activation f, View<T> a, Range columns,
                         Workspace<T>&) const = 0;
    // delta_in (n, n_in) = (delta (n, n_out) w^T) * g'(z_in), a_in being g(z_in), of the layer
    // below.
    virtual void backward(View<const T> delta, Activation g, View<const T> a_in, View<T> delta_in,
                          Range columns, Workspace<T>&) const = 0;
    // A step on some stretches of rows of w, in ascending order, with dw = x^T delta.
    virtual void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                        const List<Range>& stretches, Workspace<T>&) = 0;
    // The gradient alone, on top of what is there: rows of dw (n_in, n_out) += x^T delta.
    virtual void gradient(const Rows<T>& x, View<const T> delta, View<T> dw,
                          const List<Range>& stretches, Workspace<T>&) = 0;
    // A step on b, db = the sum of delta's rows.
    virtual void update_bias(View<const T> delta, const LayerUpdate<T>& update) const;
    // The gradient alone, on top of what is there: db (n_out) += the sum of delta's rows.
    virtual void bias_gradient(View<const T> delta, T* db) const;

    // Brings copies of a part of w up to date.
    virtual void refresh(Range /* rows */, Range /* columns */) {}
    // A copy of w^T (n_out, n_in), or empty.
    virtual View<T> transposed() const { return {}; }

   protected:
    const Dense<T> layer;
    const Kernels<T>& k = kernels<T>(active_isa());
};

// The fastest way to compute a layer, as it was measured; w_t: w^T where it is kept up to date
// anyway, or empty.
template <class T>
std::unique_ptr<Strategy<T>> choose_strategy(const Dense<T>& layer, bool first, View<T> w_t);

// The way of a layer that reads non-zeros: of a sparse input, or of codes of few units.
template <class T>
std::unique_ptr<Strategy<T>> sparse_strategy(const Dense<T>& layer);

}  // namespace sae
