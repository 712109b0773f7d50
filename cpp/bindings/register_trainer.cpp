// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>

#include "bindings.hpp"
#include "sae/evaluation.hpp"
#include "sae/trainer.hpp"

namespace sae::bindings {

namespace {

// The data of an array with one entry per sample; null without one.
template <class T>
const T* per_sample(const std::optional<Array<T>>& values, Index n_samples) {
    if (!values) return nullptr;
    if (values->size() != n_samples) throw py::value_error("one entry per sample expected");
    return values->data();
}

// A Trainer, and what it reads from and writes to.
template <class T>
struct BoundTrainer {
    BoundTrainer(py::object network_object, py::object moments_object, py::object input_object,
                 const std::optional<Indices>& labels_array,
                 const std::optional<Array<T>>& weights_array, const TrainerOptions& options)
        : network(std::move(network_object)),
          moments(std::move(moments_object)),
          input(std::move(input_object)),
          labels(labels_array),
          weights(weights_array),
          trainer(network.cast<Network<T>&>(), moments.cast<Moments<T>&>(), samples(),
                  per_sample(labels, samples().n_samples()),
                  per_sample(weights, samples().n_samples()), options),
          batch_size(options.batch_size) {}

    const Input<T>& samples() const { return input.cast<const BoundInput<T>&>().input; }

    py::object network, moments, input;
    std::optional<Indices> labels;
    std::optional<Array<T>> weights;
    Trainer<T> trainer;
    Index batch_size;
};

}  // namespace

template <class T>
void register_trainer(py::module_& m) {
    py::class_<Moments<T>>(m, ("Moments" + std::string(kSuffix<T>)).c_str())
        .def(py::init<const Network<T>&>(), py::arg("network"))
        .def_readonly("steps_done", &Moments<T>::steps_done)
        .def("get_state",
             [](const Moments<T>& moments) {
                 const Index n = moments.m.size();
                 return py::make_tuple(Array<T>(n, moments.m.data()), Array<T>(n, moments.v.data()),
                                       moments.steps_done);
             })
        .def(
            "set_state",
            [](Moments<T>& moments, const Array<T>& first, const Array<T>& second,
               Index steps_done) {
                if (first.size() != moments.m.size() || second.size() != moments.v.size()) {
                    throw py::value_error("moments of another network");
                }
                std::copy_n(first.data(), first.size(), moments.m.data());
                std::copy_n(second.data(), second.size(), moments.v.data());
                moments.steps_done = steps_done;
            },
            py::arg("m").noconvert(), py::arg("v").noconvert(), py::arg("steps_done"));

    using Bound = BoundTrainer<T>;
    py::class_<Bound>(m, ("Trainer" + std::string(kSuffix<T>)).c_str())
        .def(py::init([](py::object network, py::object moments, py::object input,
                         const std::optional<Indices>& labels,
                         const std::optional<Array<T>>& weights, Loss loss, Index batch_size,
                         AdamForm adam, double learning_rate, double beta1, double beta2,
                         double epsilon, double weight_decay) {
                 return std::make_unique<Bound>(
                     std::move(network), std::move(moments), std::move(input), labels, weights,
                     TrainerOptions{loss, batch_size, adam, learning_rate, beta1, beta2, epsilon,
                                    weight_decay});
             }),
             py::arg("network"), py::arg("moments"), py::arg("input"),
             py::arg("labels").noconvert(), py::arg("weights").noconvert(), py::kw_only(),
             py::arg("loss"), py::arg("batch_size"), py::arg("adam"), py::arg("learning_rate"),
             py::arg("beta1"), py::arg("beta2"), py::arg("epsilon"), py::arg("weight_decay"))
        .def(
            "run",
            [](Bound& bound, const Indices& batches, double max_seconds, int n_threads) {
                if (batches.ndim() != 2 || batches.shape(1) != bound.batch_size) {
                    throw py::value_error("batches has another shape than (n_steps, batch_size)");
                }
                const std::int64_t* data = batches.data();
                const Index n_steps = batches.shape(0);
                return without_gil(
                    [&] { return bound.trainer.run(data, n_steps, max_seconds, n_threads); });
            },
            py::arg("batches").noconvert(), py::kw_only(), py::arg("max_seconds"),
            py::arg("n_threads"))
        .def("save_state", [](Bound& bound) { without_gil([&] { bound.trainer.save_state(); }); })
        .def("restore_state",
             [](Bound& bound) { without_gil([&] { bound.trainer.restore_state(); }); });

    m.def(
        "evaluate",
        [](const Network<T>& network, const BoundInput<T>& x, const std::optional<Indices>& labels,
           Loss loss, double weight_decay, int n_threads) {
            const std::int64_t* y = per_sample(labels, x.input.n_samples());
            const Evaluation result = without_gil(
                [&] { return evaluate(network, x.input, y, loss, weight_decay, n_threads); });
            return py::make_tuple(result.loss, result.n_correct);
        },
        py::arg("network"), py::arg("x"), py::arg("labels").noconvert(), py::kw_only(),
        py::arg("loss"), py::arg("weight_decay"), py::arg("n_threads"));

    m.def(
        "squared_errors",
        [](const Network<T>& network, const BoundInput<T>& x, int n_threads) {
            Array<double> out(x.input.n_samples());
            double* errors = out.mutable_data();
            without_gil([&] { squared_errors(network, x.input, n_threads, errors); });
            return out;
        },
        py::arg("network"), py::arg("x"), py::kw_only(), py::arg("n_threads"));
}

template void register_trainer<float>(py::module_&);
template void register_trainer<double>(py::module_&);

}  // namespace sae::bindings
