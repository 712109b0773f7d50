// SPDX-License-Identifier: BSD-3-Clause
// Our own kernels, which fuse bias, activation and update rule into the products and may be given
// any rows. The way back reads a transposed copy of w.
#include "sae/layers/strategy.hpp"

namespace sae {

namespace {

template <class T>
class Narrow : public Strategy<T> {
   public:
    Narrow(const Dense<T>& layer, bool passes_back) : Strategy<T>(layer) {
        if (!passes_back) return;
        memory_ = Buffer<T>(layer.n_out * padded<T>(layer.n_in));
        T* next = memory_.data();
        w_t_ = take(next, layer.n_out, layer.n_in);
    }

    Cut cut() const override { return Cut::rows; }
    Index task_rows() const override { return kFewestColumns; }

    void forward(const Rows<T>& x, View<T> a, Range, Workspace<T>&) const override {
        this->kernels_.dense_forward(a.rows, layer().n_out, layer().n_in, x.dense.data, x.dense.ld,
                                     layer().w.data, layer().w.ld, layer().b, layer().activation,
                                     a.data, a.ld);
    }

    void backward(View<const T> delta, Activation g, View<const T> a_in, View<T> delta_in,
                  Range) const override {
        this->kernels_.dense_backward(delta.rows, layer().n_in, layer().n_out, delta.data, delta.ld,
                                      w_t_.data, w_t_.ld, g, a_in.data, a_in.ld, delta_in.data,
                                      delta_in.ld);
    }

    void update(const Rows<T>& x, View<const T> delta, const LayerUpdate<T>& update,
                const List<Range>& stretches, Workspace<T>&) override {
        for (const Range rows : stretches) {
            this->kernels_.dense_update(rows.end - rows.begin, layer().n_out, delta.rows,
                                        x.dense.data + rows.begin, x.dense.ld, 1, delta.data,
                                        delta.ld, update.step, update.from(rows.begin));
            refresh(rows);
        }
    }

    void refresh(Range rows) override {
        if (!w_t_.data) return;
        this->kernels_.transpose(rows.end - rows.begin, layer().n_out, layer().w.row(rows.begin),
                                 layer().w.ld, w_t_.data + rows.begin, w_t_.ld);
    }
    View<const T> transposed() const override { return w_t_; }

   private:
    const Dense<T>& layer() const { return this->layer_; }

    Buffer<T> memory_;
    View<T> w_t_;  // (n_out, n_in)
};

}  // namespace

template <class T>
std::unique_ptr<Strategy<T>> make_narrow(const Dense<T>& layer, bool passes_back) {
    return std::make_unique<Narrow<T>>(layer, passes_back);
}

template std::unique_ptr<Strategy<float>> make_narrow(const Dense<float>&, bool);
template std::unique_ptr<Strategy<double>> make_narrow(const Dense<double>&, bool);

}  // namespace sae
