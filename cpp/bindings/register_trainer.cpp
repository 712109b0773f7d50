// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>

#include "bindings.hpp"
#include "sae/evaluation/evaluation.hpp"
#include "sae/training/trainer.hpp"

namespace sae::bindings {

namespace {

// A Trainer, and what it reads from and writes to.
template <class T>
struct BoundTrainer {
    BoundTrainer(py::object network_object, py::object optimizer_object, py::object state_object,
                 py::object input_object, py::object corruption_object,
                 const std::optional<Indices>& labels_array,
                 const std::optional<Array<T>>& weights_array, Objective objective, Index size)
        : network(std::move(network_object)),
          optimizer(std::move(optimizer_object)),
          state(std::move(state_object)),
          input(std::move(input_object)),
          corruption(std::move(corruption_object)),
          labels(labels_array),
          weights(weights_array),
          source(samples(), per_sample(labels, samples().n_samples()),
                 per_sample(weights, samples().n_samples())),
          trainer(network.cast<Network<T>&>(), optimizer.cast<const Optimizer&>(),
                  state.cast<OptimizerState<T>&>(), source, corruption.cast<const Corruption<T>*>(),
                  objective, size),
          batch_size(size) {}

    const Input<T>& samples() const { return input.cast<const BoundInput<T>&>().input; }

    py::object network, optimizer, state, input, corruption;
    std::optional<Indices> labels;
    std::optional<Array<T>> weights;
    Source<T> source;
    Trainer<T> trainer;
    Index batch_size;
};

// A set with labels, as an evaluation reads it.
template <class T>
Source<T> labelled(const BoundInput<T>& x, const std::optional<Indices>& labels) {
    return Source<T>(x.input, per_sample(labels, x.input.n_samples()));
}

template <class T>
void register_state(py::module_& m) {
    using State = OptimizerState<T>;
    class_of<T, State>(m, "OptimizerState")
        .def(py::init([](const Network<T>& network, const Optimizer& optimizer) {
                 return std::make_unique<State>(network.parameters().size(), optimizer.n_slots);
             }),
             py::arg("network"), py::arg("optimizer"))
        .def_readonly("steps_done", &State::steps_done)
        .def("get_state",
             [](const State& state) {
                 py::list slots;
                 for (const Buffer<T>& slot : state.slots) {
                     slots.append(Array<T>(slot.size(), slot.data()));
                 }
                 return py::make_tuple(slots, state.steps_done);
             })
        .def(
            "set_state",
            [](State& state, const std::vector<Array<T>>& slots, Index steps_done) {
                bool fits = slots.size() == state.slots.size();
                for (std::size_t i = 0; fits && i < slots.size(); ++i) {
                    fits = slots[i].size() == state.slots.front().size();
                }
                if (!fits) throw py::value_error("state of another network or optimizer");
                for (Index i = 0; i < state.slots.count(); ++i) {
                    const Array<T>& from = slots[static_cast<std::size_t>(i)];
                    std::copy_n(from.data(), from.size(), state.slots[i].data());
                }
                state.steps_done = steps_done;
            },
            py::arg("slots").noconvert(), py::arg("steps_done"));
}

}  // namespace

template <class T>
void register_trainer(py::module_& m) {
    register_state<T>(m);
    class_of<T, Corruption<T>>(m, "Corruption")
        .def(py::init(&make_corruption<T>), py::arg("name"), py::arg("options"), py::arg("key"));

    using Bound = BoundTrainer<T>;
    class_of<T, Bound>(m, "Trainer")
        .def(py::init([](py::object network, py::object optimizer, py::object state,
                         py::object input, const std::optional<Indices>& labels,
                         const std::optional<Array<T>>& weights, py::object corruption,
                         LossName loss, double weight_decay, Index batch_size) {
                 return std::make_unique<Bound>(std::move(network), std::move(optimizer),
                                                std::move(state), std::move(input),
                                                std::move(corruption), labels, weights,
                                                Objective{loss, weight_decay}, batch_size);
             }),
             py::arg("network"), py::arg("optimizer"), py::arg("state"), py::arg("input"),
             py::arg("labels").noconvert(), py::arg("weights").noconvert(), py::kw_only(),
             py::arg("corruption"), py::arg("loss"), py::arg("weight_decay"), py::arg("batch_size"))
        .def(
            "run",
            [](Bound& bound, const Indices& batches, const Array<double>& learning_rates,
               double max_seconds, int n_threads) {
                if (batches.ndim() != 2 || batches.shape(1) != bound.batch_size) {
                    throw py::value_error("batches has another shape than (n_steps, batch_size)");
                }
                const Index n_steps = batches.shape(0);
                if (learning_rates.size() != n_steps) {
                    throw py::value_error("learning_rates has another length than n_steps");
                }
                const std::int64_t* data = batches.data();
                const double* rates = learning_rates.data();
                return without_gil([&] {
                    return bound.trainer.run(data, rates, n_steps, max_seconds, n_threads);
                });
            },
            py::arg("batches").noconvert(), py::arg("learning_rates").noconvert(), py::kw_only(),
            py::arg("max_seconds"), py::arg("n_threads"))
        .def("save_state", [](Bound& bound) { without_gil([&] { bound.trainer.save_state(); }); })
        .def("restore_state",
             [](Bound& bound) { without_gil([&] { bound.trainer.restore_state(); }); });

    m.def(
        "evaluate",
        [](const Network<T>& network, const BoundInput<T>& x, const std::optional<Indices>& labels,
           LossName loss, double weight_decay, int n_threads) {
            const Source<T> source = labelled(x, labels);
            const Evaluation result = without_gil(
                [&] { return evaluate(network, source, loss, weight_decay, n_threads); });
            return py::make_tuple(result.loss, result.n_correct);
        },
        py::arg("network"), py::arg("x"), py::arg("labels").noconvert(), py::kw_only(),
        py::arg("loss"), py::arg("weight_decay"), py::arg("n_threads"));

    m.def(
        "sample_losses",
        [](const Network<T>& network, const BoundInput<T>& x, const std::optional<Indices>& labels,
           LossName loss, int n_threads) {
            const Source<T> source = labelled(x, labels);
            Array<double> out(x.input.n_samples());
            double* losses = out.mutable_data();
            without_gil([&] { sample_losses(network, source, loss, n_threads, losses); });
            return out;
        },
        py::arg("network"), py::arg("x"), py::arg("labels").noconvert(), py::kw_only(),
        py::arg("loss"), py::arg("n_threads"));
}

template void register_trainer<float>(py::module_&);
template void register_trainer<double>(py::module_&);

void register_optimizer(py::module_& m) {
    py::class_<Optimizer>(m, "Optimizer")
        .def(py::init(&make_optimizer), py::arg("rule"), py::arg("options"))
        .def_readonly("n_slots", &Optimizer::n_slots);
}

}  // namespace sae::bindings
