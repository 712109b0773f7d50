// SPDX-License-Identifier: BSD-3-Clause
// The kernels on plain arrays, any instruction set by name: for tests and benchmarks alone. Arrays
// are padded on the way in and stripped on the way out.
#include "bindings.hpp"
#include "sae/base/blas.hpp"
#include "sae/base/buffer.hpp"
#include "sae/kernels/kernels.hpp"
#include "sae/losses/loss.hpp"
#include "sae/optimizers/optimizer.hpp"

namespace sae::bindings {

namespace {

// Writes a row of bytes to a place of `memory`, by way of what a data set keeps of it.
template <class T>
void write_bytes(const Kernels<T>& k, const std::uint8_t* row, Index n,
                 const PackedMemory<T>& memory, Index at) {
    std::vector<std::uint8_t> values;
    std::uint64_t* const bits = memory.bits() + at / 64;
    for (Index j = 0; j < n; ++j) {
        if (row[j] == 0) continue;
        values.push_back(row[j]);
        bits[j / 64] |= std::uint64_t{1} << j % 64;
    }
    values.resize(values.size() + 64);
    k.expand_bytes(n, bits, values.data(), memory.bytes() + at);
}

// A contiguous (rows, cols) or (cols,) array as it is: what a product has on its left.
template <class T>
View<const T> view(const Array<T>& a) {
    const Index cols = a.shape(a.ndim() - 1);
    return {a.data(), a.ndim() == 2 ? a.shape(0) : 1, cols, cols};
}

// A copy with padded rows, and one without.
template <class T>
struct Padded : Matrix<T> {
    using Matrix<T>::Matrix;
    explicit Padded(const Array<T>& a) : Matrix<T>(view(a).rows, view(a).cols) {
        for (Index i = 0; i < this->rows; ++i)
            std::copy_n(view(a).row(i), this->cols, this->row(i));
    }
    Array<T> array() const {
        Array<T> a({this->rows, this->cols});
        for (Index i = 0; i < this->rows; ++i) {
            std::copy_n(this->row(i), this->cols, a.mutable_data(i, 0));
        }
        return a;
    }
};

// Parameters and the slots of their update rule, padded; then without the padding.
template <class T>
struct Parameters {
    Parameters(const Array<T>& w_array, const std::vector<Array<T>>& slot_arrays) : w(w_array) {
        for (const Array<T>& slot : slot_arrays) slots.emplace_back(slot);
    }
    ParameterRows<T> rows() const {
        ParameterRows<T> found{w.data, {}, w.ld};
        for (std::size_t i = 0; i < slots.size(); ++i) found.slots[i] = slots[i].data;
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

// `array`, and `last` behind its end.
template <class To, class From>
std::vector<To> closed(const Array<From>& array, To last) {
    std::vector<To> copy;
    for (Index t = 0; t < array.size(); ++t) copy.push_back(static_cast<To>(array.data()[t]));
    copy.push_back(last);
    return copy;
}

// The losses of values come first among all.
ValueLoss value_loss(LossName loss) {
    if (static_cast<std::size_t>(loss) >= names_of(ValueLoss{}).size()) {
        throw py::value_error("expected a loss of values");
    }
    return static_cast<ValueLoss>(loss);
}

template <class T>
void register_kernels_of(py::module_& m) {
    using A = const Array<T>&;
    using Index32 = const Array<std::uint32_t>&;
    using Slots = const std::vector<Array<T>>&;
    using Name = const std::string&;
    // A step of an optimizer: its number, the learning rate, weight decay.
    using Step = const std::tuple<Index, double, double>&;
    const auto table = [](Name isa) { return kernels<T>(find_isa(isa)); };
    const auto update_step = [](const Optimizer& optimizer, Step step) {
        return optimizer.update_step<T>(std::get<0>(step), std::get<1>(step), std::get<2>(step));
    };
    m.def("dense_forward", [=](Name isa, A x, A w, A b, Activation f) {
        const Padded<T> pw(w), pb(b), out(x.shape(0), w.shape(1));
        table(isa).dense_forward(view(x), pw, pb.data, f, out);
        return out.array();
    });
    m.def("dense_backward", [=](Name isa, A delta, A w_t, Activation f, A a) {
        const Padded<T> pw(w_t), pa(a), out(delta.shape(0), w_t.shape(1));
        table(isa).dense_backward(view(delta), pw, f, pa, out);
        return out.array();
    });
    m.def("dense_update",
          [=](Name isa, A x, A delta, A w, Slots slots, const Optimizer& optimizer, Step step) {
              const Parameters<T> parameters(w, slots);
              table(isa).dense_update(view(x), Padded<T>(delta), update_step(optimizer, step),
                                      parameters.rows());
              return parameters.arrays();
          });
    m.def("update", [=](Name isa, A dw, A w, Slots slots, const Optimizer& optimizer, Step step) {
        const Parameters<T> parameters(w, slots);
        table(isa).update(Padded<T>(dw), update_step(optimizer, step), parameters.rows());
        return parameters.arrays();
    });
    // One row in all three ways that rows are packed: columns in 16 or 32 bits, or bytes of all
    // columns if there is a table of what they stand for.
    m.def("sparse_forward", [=](Name isa, Index32 columns, const py::array& values,
                                std::optional<Array<T>> byte_values, bool wide, A w, A b,
                                Activation f) {
        const Padded<T> pw(w), pb(b), out(1, w.shape(1));
        const auto columns16 = closed(columns, kNoColumn<std::uint16_t>);
        const auto columns32 = closed(columns, kNoColumn<std::uint32_t>);
        const auto numbers = closed(values.cast<Array<T>>(), T(0));
        PackedMemory<T> memory;
        PackedRows<T> packed{};
        if (byte_values) {
            const auto bytes = values.cast<Array<std::uint8_t>>();
            memory = PackedMemory<T>::of_bytes(1, bytes.size());
            write_bytes(table(isa), bytes.data(), bytes.size(), memory, 0);
            packed = memory.rows(byte_values->data(), bytes.size());
        } else {
            packed.values = numbers.data();
            if (wide) {
                packed.columns32 = columns32.data();
            } else {
                packed.columns16 = columns16.data();
            }
        }
        // in two blocks, the second on top of the first one's sums
        Index start = 0;
        const Index half = byte_values ? pw.rows / 128 * 64 : pw.rows / 2;
        table(isa).sparse_forward({packed, &start, {0, half}}, pw, false, nullptr, f, out);
        table(isa).sparse_forward({packed, &start, {half, pw.rows}}, pw, true, pb.data, f, out);
        return out.array();
    });
    m.def("sparse_update", [=](Name isa, Index32 rows, A values, A delta, A w, Slots slots,
                               const Optimizer& optimizer, Step step) {
        const Parameters<T> parameters(w, slots);
        std::vector<Entry<T>> column;
        for (Index t = 0; t < rows.size(); ++t) column.push_back({rows.at(t), values.at(t)});
        const std::uint32_t ends[] = {0, static_cast<std::uint32_t>(column.size())};
        table(isa).sparse_update(1, {column.data(), ends, nullptr, nullptr, 0, nullptr},
                                 Padded<T>(delta), update_step(optimizer, step), parameters.rows());
        return parameters.arrays();
    });
    // x (rows, columns, at most 64): bytes, of which byte_values says what each stands for
    m.def("byte_update", [=](Name isa, Array<std::uint8_t> x, Array<T> byte_values, A delta, A w,
                             Slots slots, const Optimizer& optimizer, Step step) {
        const Parameters<T> parameters(w, slots);
        const Index rows = x.shape(0), columns = x.shape(1), ld = (rows + 63) / 64 * 64;
        const auto memory = PackedMemory<T>::of_bytes(rows, columns);
        const Index room = PackedMemory<T>::row_bytes(columns);
        std::vector<Index> start;
        for (Index r = 0; r < rows; ++r) {
            start.push_back(r * room);
            write_bytes(table(isa), x.data() + r * columns, columns, memory, start.back());
        }
        std::vector<std::uint8_t> transposed(static_cast<std::size_t>(64 * ld));
        std::vector<std::uint64_t> bits(static_cast<std::size_t>(ld));
        table(isa).transpose_bytes(memory.rows(byte_values.data(), columns).bytes, start.data(),
                                   rows, 0, transposed.data(), bits.data(), ld);
        table(isa).sparse_update(
            columns, {nullptr, nullptr, transposed.data(), bits.data(), ld, byte_values.data()},
            Padded<T>(delta), update_step(optimizer, step), parameters.rows());
        return parameters.arrays();
    });
    m.def("activate", [=](Name isa, A z, A b, Activation f) {
        const Padded<T> out(z), pb(b);
        table(isa).activate(pb.data, f, out);
        return out.array();
    });
    m.def("derive", [=](Name isa, Activation f, A a, A delta) {
        const Padded<T> pa(a), out(delta);
        table(isa).derive(f, pa, out);
        return out.array();
    });
    m.def("penalize", [=](Name isa, Activation f, A a, const std::optional<Array<T>>& weights, T l1,
                          A linear, A squared, A delta) {
        const Padded<T> pa(a), pl(linear), ps(squared), out(delta);
        table(isa).penalize(f, pa, weights ? weights->data() : nullptr, {l1, pl.data, ps.data},
                            out);
        return out.array();
    });
    m.def("slope_squares",
          [=](Name isa, Activation f, A a, const std::optional<Array<T>>& weights) {
              const Padded<T> pa(a), out(1, a.shape(1));
              table(isa).slope_squares(f, pa, weights ? weights->data() : nullptr, out.data);
              return out.array();
          });
    m.def("column_squares", [=](Name isa, A w) {
        const Padded<T> pw(w), out(1, w.shape(1));
        table(isa).column_squares(pw, out.data);
        return out.array();
    });
    m.def("limit_norms", [=](Name isa, A w, T most) {
        const Padded<T> out(w);
        table(isa).limit_norms(out, most);
        return out.array();
    });
    m.def("keep_largest", [=](Name isa, Index k, A a) {
        const Padded<T> out(a);
        table(isa).keep_largest(k, out);
        return out.array();
    });
    m.def("transpose", [=](Name isa, A w) {
        const Padded<T> out(w.shape(1), w.shape(0));
        table(isa).transpose(view(w), out);
        return out.array();
    });
    m.def("loss_delta", [=](Name isa, LossName loss, A a, const std::optional<Array<T>>& t) {
        const Padded<T> pa(a), pt(t.value_or(a)), out(1, pa.ld);  // the padding too
        table(isa).loss_delta(value_loss(loss), a.size(), pa.data, t ? pt.data : nullptr, out.data);
        return out.array();
    });
    m.def("loss_value", [=](Name isa, LossName loss, A a, A t) {
        return table(isa).loss_value(value_loss(loss), a.size(), Padded<T>(a).data,
                                     Padded<T>(t).data);
    });
    m.def("exp_shifted", [=](Name isa, A z, T largest) {
        const Padded<T> pz(z), out(1, pz.ld);  // the padding too, which stays zero
        table(isa).exp_shifted(z.size(), pz.data, largest, out.data);
        return out.array();
    });
    m.def("dot", [=](Name isa, A a, A x) { return table(isa).dot(a.size(), a.data(), x.data()); });
    m.def("random_groups", [=](Name isa, Index n, const PhiloxCounter& counter, std::uint64_t key) {
        Array<std::uint64_t> out(16 * n);
        table(isa).random_groups(n, counter, key, out.mutable_data());
        return out;
    });
    m.def("normals", [=](Name isa, const Array<std::uint32_t>& words) {
        Array<T> out(words.size());
        table(isa).normals(words.size() / 32, words.data(), out.mutable_data());
        return out;
    });
    m.def(
        "multiply_adds",
        [=](Name isa, Index rounds) {
            Buffer<T> out(kAlignment / static_cast<Index>(sizeof(T)));
            return table(isa).multiply_adds(rounds, T(0.5), T(1), out.data());
        },
        py::call_guard<GilReleased>());
    m.def("gram", [=](Name isa, A h) {
        const Padded<T> ph(h), out(h.shape(1), h.shape(1));
        table(isa).gram(ph, out);
        return out.array();
    });
    m.def("gemm", [](bool transpose_a, bool transpose_b, A a, A b) {
        const auto flag = [](bool yes) { return yes ? Transpose::yes : Transpose::no; };
        Array<T> c({a.shape(transpose_a ? 1 : 0), b.shape(transpose_b ? 0 : 1)});
        const View<T> to{c.mutable_data(), c.shape(0), c.shape(1), c.shape(1)};
        gemm<T>(flag(transpose_a), flag(transpose_b), view(a), view(b), to);
        return c;
    });
}

}  // namespace

void register_kernels(py::module_& m) {
    const char* const what = "The kernels, for tests and benchmarks.";
    auto float32 = m.def_submodule("kernels_float32", what);
    auto float64 = m.def_submodule("kernels_float64", what);
    register_kernels_of<float>(float32);
    register_kernels_of<double>(float64);
}

}  // namespace sae::bindings
