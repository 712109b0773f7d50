// SPDX-License-Identifier: BSD-3-Clause
// The kernels on plain arrays, any instruction set by name: for tests and benchmarks alone. Arrays
// are padded on the way in and stripped on the way out.
#include "bindings.hpp"
#include "sae/base/blas.hpp"
#include "sae/base/buffer.hpp"
#include "sae/kernels/kernels.hpp"
#include "sae/optimizers/optimizer.hpp"

namespace sae::bindings {

namespace {

// A copy of a contiguous (rows, cols) or (cols,) array with padded rows.
template <class T>
struct Padded {
    explicit Padded(const Array<T>& a)
        : rows(a.ndim() == 2 ? a.shape(0) : 1),
          cols(a.shape(a.ndim() - 1)),
          ld(padded<T>(cols)),
          memory(rows * ld) {
        for (Index i = 0; i < rows; ++i) std::copy_n(a.data() + i * cols, cols, data() + i * ld);
    }
    Padded(Index n_rows, Index n_cols)
        : rows(n_rows), cols(n_cols), ld(padded<T>(cols)), memory(rows * ld) {}

    T* data() const { return memory.data(); }
    Array<T> array() const {
        Array<T> a({rows, cols});
        for (Index i = 0; i < rows; ++i) {
            std::copy_n(data() + i * ld, cols, a.mutable_data() + i * cols);
        }
        return a;
    }

    Index rows, cols, ld;
    Buffer<T> memory;
};

// One column's entries.
template <class T>
std::vector<Entry<T>> entries(const Array<std::uint32_t>& rows, const Array<T>& values) {
    std::vector<Entry<T>> x;
    for (Index t = 0; t < rows.size(); ++t) x.push_back({rows.data()[t], values.data()[t]});
    return x;
}

// `array`, and `last` behind its end.
template <class To, class From>
std::vector<To> closed(const Array<From>& array, To last) {
    std::vector<To> copy;
    for (Index t = 0; t < array.size(); ++t) copy.push_back(static_cast<To>(array.data()[t]));
    copy.push_back(last);
    return copy;
}

template <class T>
void register_kernels_of(py::module_& m) {
    using A = const Array<T>&;
    using Index32 = const Array<std::uint32_t>&;
    const auto table = [](const std::string& isa) { return kernels<T>(find_isa(isa)); };
    m.def("dense_forward", [=](const std::string& isa, A x, A w, A b, Activation f) {
        Padded<T> pw(w), pb(b), out(x.shape(0), w.shape(1));
        table(isa).dense_forward(out.rows, out.cols, x.shape(1), x.data(), x.shape(1), pw.data(),
                                 pw.ld, pb.data(), f, out.data(), out.ld);
        return out.array();
    });
    m.def("dense_backward", [=](const std::string& isa, A delta, A w_t, Activation f, A a) {
        Padded<T> pw(w_t), pa(a), out(delta.shape(0), w_t.shape(1));
        table(isa).dense_backward(out.rows, out.cols, delta.shape(1), delta.data(), delta.shape(1),
                                  pw.data(), pw.ld, f, pa.data(), pa.ld, out.data(), out.ld);
        return out.array();
    });
    // Parameters and the slots of their update rule, padded; then without the padding.
    struct Parameters {
        Parameters(A w_array, const std::vector<Array<T>>& slot_arrays) : w(w_array) {
            for (const Array<T>& slot : slot_arrays) slots.emplace_back(slot);
        }
        ParameterRows<T> rows() const {
            ParameterRows<T> found{w.data(), {}, w.ld};
            for (std::size_t i = 0; i < slots.size(); ++i) found.slots[i] = slots[i].data();
            return found;
        }
        py::tuple arrays() const {
            py::list list;
            for (const Padded<T>& slot : slots) list.append(slot.array());
            return py::make_tuple(w.array(), list);
        }

        Padded<T> w;
        std::vector<Padded<T>> slots;
    };
    using Slots = const std::vector<Array<T>>&;
    // A step of an optimizer: its number, the learning rate, weight decay.
    using Step = const std::tuple<Index, double, double>&;
    const auto update_step = [](const Optimizer& optimizer, Step step) {
        return optimizer.update_step<T>(std::get<0>(step), std::get<1>(step), std::get<2>(step));
    };
    m.def("dense_update", [=](const std::string& isa, A x, A delta, A w, Slots slots,
                              const Optimizer& optimizer, Step step) {
        Padded<T> pd(delta);
        const Parameters parameters(w, slots);
        table(isa).dense_update(w.shape(0), w.shape(1), x.shape(0), x.data(), x.shape(1), 1,
                                pd.data(), pd.ld, update_step(optimizer, step), parameters.rows());
        return parameters.arrays();
    });
    m.def("update", [=](const std::string& isa, A dw, A w, Slots slots, const Optimizer& optimizer,
                        Step step) {
        Padded<T> pd(dw);
        const Parameters parameters(w, slots);
        table(isa).update(w.shape(0), w.shape(1), pd.data(), pd.ld, update_step(optimizer, step),
                          parameters.rows());
        return parameters.arrays();
    });
    // One row in all three ways that rows are packed: columns in 16 or 32 bits, values in bytes
    // if there is a table.
    m.def("sparse_forward",
          [=](const std::string& isa, Index32 columns, const py::array& values,
              std::optional<Array<T>> byte_values, bool wide, A w, A b, Activation f) {
              Padded<T> pw(w), pb(b), out(1, w.shape(1));
              const auto columns16 = closed(columns, kNoColumn<std::uint16_t>);
              const auto columns32 = closed(columns, kNoColumn<std::uint32_t>);
              std::vector<std::uint8_t> bytes;
              std::vector<T> numbers;
              PackedRows<T> packed{};
              if (wide) {
                  packed.columns32 = columns32.data();
              } else {
                  packed.columns16 = columns16.data();
              }
              if (byte_values) {
                  bytes = closed(values.cast<Array<std::uint8_t>>(), std::uint8_t{0});
                  packed.bytes = {bytes.data(), byte_values->data()};
              } else {
                  numbers = closed(values.cast<Array<T>>(), T(0));
                  packed.values = {numbers.data()};
              }
              // in two blocks, the second on top of the first one's sums
              Index next = 0;
              const auto middle = static_cast<std::uint32_t>(w.shape(0) / 2);
              const auto all = static_cast<std::uint32_t>(w.shape(0));
              table(isa).sparse_forward(1, out.cols, {packed, &next, middle}, pw.data(), pw.ld,
                                        false, nullptr, f, out.data(), out.ld);
              table(isa).sparse_forward(1, out.cols, {packed, &next, all}, pw.data(), pw.ld, true,
                                        pb.data(), f, out.data(), out.ld);
              return out.array();
          });
    m.def("sparse_update", [=](const std::string& isa, Index32 rows, A values, A delta, A w,
                               Slots slots, const Optimizer& optimizer, Step step) {
        Padded<T> pd(delta);
        const Parameters parameters(w, slots);
        const std::vector<Entry<T>> x = entries<T>(rows, values);
        const std::uint32_t ends[] = {0, static_cast<std::uint32_t>(x.size())};
        table(isa).sparse_update(1, w.shape(1), {x.data(), ends}, pd.data(), pd.ld,
                                 update_step(optimizer, step), parameters.rows());
        return parameters.arrays();
    });
    m.def("activate", [=](const std::string& isa, A z, A b, Activation f) {
        Padded<T> pz(z), pb(b);
        table(isa).activate(pz.rows, pz.cols, pb.data(), f, pz.data(), pz.ld);
        return pz.array();
    });
    m.def("derive", [=](const std::string& isa, Activation f, A a, A delta) {
        Padded<T> pa(a), pd(delta);
        table(isa).derive(pd.rows, pd.cols, f, pa.data(), pa.ld, pd.data(), pd.ld);
        return pd.array();
    });
    m.def("transpose", [=](const std::string& isa, A w) {
        Padded<T> out(w.shape(1), w.shape(0));
        table(isa).transpose(w.shape(0), w.shape(1), w.data(), w.shape(1), out.data(), out.ld);
        return out.array();
    });
    m.def("squared_error_delta", [=](const std::string& isa, A a, A x) {
        Padded<T> pa(a), px(x), out(1, a.size());
        table(isa).squared_error_delta(a.size(), pa.data(), px.data(), out.data());
        return out.array();
    });
    m.def("exp_shifted", [=](const std::string& isa, A z, T largest) {
        Padded<T> pz(z), out(1, pz.ld);  // the padding too, which stays zero
        table(isa).exp_shifted(z.size(), pz.data(), largest, out.data());
        return out.array();
    });
    m.def("squared_error", [=](const std::string& isa, A a, A x) {
        return table(isa).squared_error(a.size(), a.data(), x.data());
    });
    m.def("dot", [=](const std::string& isa, A a, A x) {
        return table(isa).dot(a.size(), a.data(), x.data());
    });
    m.def(
        "multiply_adds",
        [=](const std::string& isa, Index rounds) {
            Buffer<T> out(kAlignment / static_cast<Index>(sizeof(T)));
            return table(isa).multiply_adds(rounds, T(0.5), T(1), out.data());
        },
        py::call_guard<py::gil_scoped_release>());
    m.def("gram", [=](const std::string& isa, A h) {
        Padded<T> ph(h), out(h.shape(1), h.shape(1));
        table(isa).gram(ph.rows, ph.cols, ph.data(), ph.ld, out.data(), out.ld);
        return out.array();
    });
    m.def("gemm", [](bool transpose_a, bool transpose_b, A a, A b) {
        const auto flag = [](bool yes) { return yes ? Transpose::yes : Transpose::no; };
        const Index m_rows = a.shape(transpose_a ? 1 : 0), k = a.shape(transpose_a ? 0 : 1);
        const Index n = b.shape(transpose_b ? 0 : 1);
        Array<T> c({m_rows, n});
        gemm(flag(transpose_a), flag(transpose_b), m_rows, n, k, a.data(), a.shape(1), b.data(),
             b.shape(1), c.mutable_data(), n);
        return c;
    });
}

}  // namespace

void register_kernels(py::module_& m) {
    auto float32 = m.def_submodule("kernels_float32", "The kernels, for tests and benchmarks.");
    register_kernels_of<float>(float32);
    auto float64 = m.def_submodule("kernels_float64", "The kernels, for tests and benchmarks.");
    register_kernels_of<double>(float64);
}

}  // namespace sae::bindings
