// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"

namespace sae::bindings {

namespace {

Storage storage_of(const py::array& a) {
    const char kind = a.dtype().kind();
    if (kind == 'u' && a.itemsize() == 1) return Storage::uint8;
    if (kind == 'f' && a.itemsize() == 4) return Storage::float32;
    if (kind == 'f' && a.itemsize() == 8) return Storage::float64;
    throw py::type_error("expected uint8, float32 or float64, got " +
                         py::str(a.dtype()).cast<std::string>());
}

template <class T>
BoundInput<T> from_dense(const py::array& x, double scale, Layout layout, int n_threads,
                         const std::optional<Array<double>>& zero) {
    if (zero && (zero->ndim() != 1 || x.ndim() != 2 || zero->size() != x.shape(1))) {
        throw py::value_error("expected a zero for each feature");
    }
    if (x.ndim() != 2) throw py::value_error("expected two dimensions");
    const DenseSource source{x.data(),
                             storage_of(x),
                             x.shape(0),
                             x.shape(1),
                             x.strides(0) / x.itemsize(),
                             x.strides(1) / x.itemsize()};
    auto input = without_gil([&] {
        return Input<T>(source, static_cast<T>(scale), layout, n_threads,
                        zero ? zero->data() : nullptr);
    });
    const bool packed = input.sparse();  // and reads no array any more
    return {std::move(input), packed ? py::object(py::none()) : py::object(x)};
}

// indptr, indices and data as SciPy has them: int32 or int64, sorted; checked by the caller.
template <class T, class I>
BoundInput<T> from_csr(const Array<I>& indptr, const Array<I>& indices, const py::array& data,
                       Index n_features, double scale, int n_threads) {
    if (indptr.ndim() != 1 || indptr.size() < 1 || n_features < 1 ||
        !(data.flags() & py::array::c_style)) {
        throw py::value_error("expected contiguous indptr, indices and data, and features");
    }
    const CsrSource<I> source{indptr.data(),
                              indices.data(),
                              data.data(),
                              storage_of(data),
                              indptr.size() - 1,
                              n_features,
                              std::min(indices.size(), data.size())};
    return {without_gil([&] { return Input<T>(source, static_cast<T>(scale), n_threads); }),
            py::none()};
}

}  // namespace

template <class T>
void register_input(py::module_& m) {
    using Bound = BoundInput<T>;
    auto input = class_of<T, Bound>(m, "Input");
    const auto def_from_csr = [&](auto* function) {
        input.def_static("from_csr", function, py::arg("indptr").noconvert(),
                         py::arg("indices").noconvert(), py::arg("data"), py::arg("n_features"),
                         py::kw_only(), py::arg("scale"), py::arg("n_threads"));
    };
    def_from_csr(&from_csr<T, std::int32_t>);
    def_from_csr(&from_csr<T, std::int64_t>);
    input
        .def(py::init(&from_dense<T>), py::arg("x"), py::kw_only(), py::arg("scale"),
             py::arg("layout"), py::arg("n_threads"), py::arg("zero") = py::none())
        .def_property_readonly("n_samples", [](const Bound& x) { return x.input.n_samples(); })
        .def_property_readonly("n_features", [](const Bound& x) { return x.input.n_features(); })
        .def_property_readonly("n_nonzero", [](const Bound& x) { return x.input.n_nonzero(); })
        .def_property_readonly("sparse", [](const Bound& x) { return x.input.sparse(); })
        .def(
            "find_outside",
            [](const Bound& x, double low, double high, int n_threads) -> py::object {
                const auto place = without_gil([&] {
                    return x.input.find_outside(static_cast<T>(low), static_cast<T>(high),
                                                n_threads);
                });
                if (!place) return py::none();
                return py::make_tuple(place->sample, place->feature, place->value);
            },
            py::arg("low"), py::arg("high"), py::kw_only(), py::arg("n_threads"))
        .def(
            "rows",
            [](const Bound& x, Index first, Index last) {
                if (first < 0 || first > last || last > x.input.n_samples()) {
                    throw py::value_error("no such rows");
                }
                const Index rows = last - first, cols = x.input.n_features();
                Array<T> out({rows, cols});
                const View<T> to{out.mutable_data(), rows, cols, cols};
                without_gil([&] { x.input.gather(nullptr, first, to); });
                return out;
            },
            py::arg("first"), py::arg("last"))
        .def(
            "take",
            [](const Bound& x, const Indices& rows) {
                const std::int64_t* index = rows.data();
                const Index n = rows.size(), cols = x.input.n_features();
                for (Index i = 0; i < n; ++i) {
                    if (index[i] < 0 || index[i] >= x.input.n_samples()) {
                        throw py::value_error("no such rows");
                    }
                }
                Array<T> out({n, cols});
                const View<T> to{out.mutable_data(), n, cols, cols};
                without_gil([&] { x.input.gather(index, 0, to); });
                return out;
            },
            py::arg("rows").noconvert());
}

template void register_input<float>(py::module_&);
template void register_input<double>(py::module_&);

}  // namespace sae::bindings
