// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"

namespace sae::bindings {

namespace {

template <class T>
const Dense<T>& checked_layer(const Network<T>& net, Index layer) {
    if (layer < 0 || layer >= net.n_layers()) throw py::index_error("no such layer");
    return net.layer(layer);
}

}  // namespace

template <class T>
void register_network(py::module_& m) {
    using Net = Network<T>;
    using Bound = BoundInput<T>;
    class_of<T, Net>(m, "Network")
        .def(py::init([](const std::vector<Index>& sizes, const std::vector<Activation>& f,
                         const std::vector<Index>& kept, bool tied, bool centers) {
                 return std::make_unique<Net>(sizes, f, kept, tied, centers);
             }),
             py::arg("sizes"), py::arg("activations"), py::arg("kept") = std::vector<Index>{},
             py::arg("tied") = false, py::arg("centers") = false)
        .def(
            "set_parameters",
            [](Net& net, Index layer, const Array<T>& w, const Array<T>& b) {
                const auto& to = checked_layer(net, layer);
                if (w.ndim() != 2 || w.shape(0) != to.n_in || w.shape(1) != to.n_out ||
                    b.ndim() != 1 || b.shape(0) != to.n_out) {
                    throw py::value_error("w or b has another shape than the layer");
                }
                net.set_parameters(layer, w.data(), b.data());
            },
            py::arg("layer"), py::arg("w").noconvert(), py::arg("b").noconvert())
        .def(
            "get_parameters",
            [](const Net& net, Index layer) {
                const auto& from = checked_layer(net, layer);
                Array<T> w({from.n_in, from.n_out});
                Array<T> b(from.n_out);
                net.get_parameters(layer, w.mutable_data(), b.mutable_data());
                return py::make_tuple(w, b);
            },
            py::arg("layer"))
        .def(
            "copy_layer",
            [](Net& net, Index layer, const Net& from, Index from_layer) {
                const auto& to = checked_layer(net, layer);
                const auto& source = checked_layer(from, from_layer);
                if (to.n_in != source.n_in || to.n_out != source.n_out) {
                    throw py::value_error("the layer has another shape");
                }
                net.copy_layer(layer, from, from_layer);
            },
            py::arg("layer"), py::arg("from_network"), py::arg("from_layer"))
        .def(
            "encode",
            [](const Net& net, const Bound& x, Index first_layer, Index last_layer, int n_threads) {
                const Index n = x.input.n_samples();
                const Index n_out = checked_layer(net, last_layer - 1).n_out;
                return without_gil([&] {
                    Buffer<T> codes(n * n_out);
                    net.predict(x.input, first_layer, last_layer, false, n_threads, codes.data());
                    const DenseSource source{codes.data(), kStorage<T>, n, n_out, n_out, 1};
                    Input<T> input(source, T(1), Layout::automatic, n_threads);
                    if (input.sparse()) codes = Buffer<T>();
                    return std::make_unique<Bound>(Bound{std::move(input), {}, std::move(codes)});
                });
            },
            py::arg("x"), py::kw_only(), py::arg("first_layer"), py::arg("last_layer"),
            py::arg("n_threads"))
        .def("finite", [](const Net& net) { return without_gil([&] { return net.finite(); }); })
        .def("uses_blas", &Net::uses_blas)
        .def(
            "predict",
            [](const Net& net, const Bound& x, Index first_layer, Index last_layer, bool softmax,
               int n_threads) {
                const auto& last = checked_layer(net, last_layer - 1);
                Array<T> out({x.input.n_samples(), last.n_out});
                T* data = out.mutable_data();
                without_gil([&] {
                    net.predict(x.input, first_layer, last_layer, softmax, n_threads, data);
                });
                return out;
            },
            py::arg("x"), py::kw_only(), py::arg("first_layer"), py::arg("last_layer"),
            py::arg("softmax"), py::arg("n_threads"))
        .def(
            "classify",
            [](const Net& net, const Bound& x, int n_threads) {
                Indices out(x.input.n_samples());
                std::int64_t* data = out.mutable_data();
                without_gil([&] { net.classify(x.input, n_threads, data); });
                return out;
            },
            py::arg("x"), py::kw_only(), py::arg("n_threads"))
        .def(
            "dead_units",
            [](const Net& net, const Bound& x, int n_threads) {
                const auto dead = without_gil([&] { return net.dead_units(x.input, n_threads); });
                py::list layers;
                for (const auto& units : dead) {
                    layers.append(
                        Array<bool>(units.count(), reinterpret_cast<const bool*>(units.data())));
                }
                return layers;
            },
            py::arg("x"), py::kw_only(), py::arg("n_threads"));
}

template void register_network<float>(py::module_&);
template void register_network<double>(py::module_&);

}  // namespace sae::bindings
