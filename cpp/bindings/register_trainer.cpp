// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"
#include "sae/evaluation.hpp"
#include "sae/trainer.hpp"

namespace sae::bindings {

namespace {

const std::int64_t* labels_of(const std::optional<Indices>& labels, Index n_samples) {
    if (!labels) return nullptr;
    if (labels->size() != n_samples) throw py::value_error("one label per sample expected");
    return labels->data();
}

// A Trainer, and what it reads from.
template <class T>
struct BoundTrainer {
    BoundTrainer(py::object network_object, py::object input_object,
                 const std::optional<Indices>& labels_array, const TrainerOptions& options)
        : network(std::move(network_object)),
          input(std::move(input_object)),
          labels(labels_array),
          trainer(network.cast<Network<T>&>(), input.cast<const BoundInput<T>&>().input,
                  labels_of(labels, input.cast<const BoundInput<T>&>().input.n_samples()), options),
          batch_size(options.batch_size) {}

    py::object network, input;
    std::optional<Indices> labels;
    Trainer<T> trainer;
    Index batch_size;
};

}  // namespace

template <class T>
void register_trainer(py::module_& m) {
    using Bound = BoundTrainer<T>;
    py::class_<Bound>(m, ("Trainer" + std::string(kSuffix<T>)).c_str())
        .def(py::init([](py::object network, py::object input, const std::optional<Indices>& labels,
                         Loss loss, Index batch_size, AdamForm adam, double learning_rate,
                         double beta1, double beta2, double epsilon, double weight_decay) {
                 return std::make_unique<Bound>(
                     std::move(network), std::move(input), labels,
                     TrainerOptions{loss, batch_size, adam, learning_rate, beta1, beta2, epsilon,
                                    weight_decay});
             }),
             py::arg("network"), py::arg("input"), py::arg("labels").noconvert(), py::kw_only(),
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
        .def_property_readonly("steps_done",
                               [](const Bound& bound) { return bound.trainer.steps_done(); });

    m.def(
        "evaluate",
        [](const Network<T>& network, const BoundInput<T>& x, const std::optional<Indices>& labels,
           Loss loss, double weight_decay, int n_threads) {
            const std::int64_t* y = labels_of(labels, x.input.n_samples());
            const Evaluation result = without_gil(
                [&] { return evaluate(network, x.input, y, loss, weight_decay, n_threads); });
            return py::make_tuple(result.loss, result.n_correct);
        },
        py::arg("network"), py::arg("x"), py::arg("labels").noconvert(), py::kw_only(),
        py::arg("loss"), py::arg("weight_decay"), py::arg("n_threads"));
}

template void register_trainer<float>(py::module_&);
template void register_trainer<double>(py::module_&);

}  // namespace sae::bindings
