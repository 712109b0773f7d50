// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>

#include "bindings.hpp"
#include "sae/evaluation/evaluation.hpp"
#include "sae/training/trainer.hpp"

namespace sae::bindings {

namespace {

// A set with labels, targets and weights, those that there are.
template <class T>
Source<T> source_of(const BoundInput<T>& x, const std::optional<Indices>& labels,
                    const BoundInput<T>* targets, const std::optional<Array<T>>& weights = {}) {
    const Index n = x.input.n_samples();
    return Source<T>(x.input, per_sample(labels, n), targets ? &targets->input : nullptr,
                     per_sample(weights, n));
}

using Dropouts = std::vector<std::pair<double, std::uint64_t>>;  // (share, key)

List<Dropout> dropout_of(const Dropouts& pairs) {
    List<Dropout> dropout;
    for (const auto& [share, key] : pairs) dropout.push_back({share, key});
    return dropout;
}

// A set as a trainer reads it, and the inputs that it refers to.
template <class T>
struct BoundSource {
    BoundSource(const BoundInput<T>& input, const std::optional<Indices>& labels,
                const std::optional<Array<T>>& weights, const BoundInput<T>* targets)
        : source(source_of(input, labels, targets, weights)),
          kept(py::make_tuple(py::cast(&input), py::cast(targets))) {}

    Source<T> source;
    py::tuple kept;  // the objects that Python has of them
};

// A gradient as NumPy has it, in memory of ours.
template <class T>
Array<T> array_of(Buffer<T> buffer) {
    auto kept = std::make_unique<Buffer<T>>(std::move(buffer));
    const Index n = kept->size();
    const py::capsule owner(kept.get(), [](void* p) { delete static_cast<Buffer<T>*>(p); });
    return Array<T>(n, kept.release()->data(), owner);
}

// A Trainer with its source; all else that it refers to is kept alive by Python.
template <class T>
struct BoundTrainer {
    BoundTrainer(Network<T>& network, const Optimizer& optimizer, OptimizerState<T>& state,
                 const BoundInput<T>& input, const std::optional<Indices>& labels,
                 const std::optional<Array<T>>& weights, const BoundInput<T>* targets,
                 const Corruption<T>* corruption, const Dropouts& dropout, LossName loss,
                 double weight_decay, const std::map<std::string, double>& penalties, Index size)
        : bound(std::make_unique<BoundSource<T>>(input, labels, weights, targets)),
          trainer(network, optimizer, state, bound->source, corruption, dropout_of(dropout),
                  {loss, weight_decay, make_penalties(penalties)}, size),
          batch_size(size),
          n_parameters(network.parameters().size()) {}

    void set_samples(const BoundInput<T>& input, const std::optional<Indices>& labels,
                     const std::optional<Array<T>>& weights, const BoundInput<T>* targets) {
        auto next = std::make_unique<BoundSource<T>>(input, labels, weights, targets);
        trainer.set_source(next->source);
        bound = std::move(next);
    }

    // That it is one of those that new_gradient() returned.
    void check(const Array<T>& gradient) const {
        const auto place = reinterpret_cast<std::uintptr_t>(gradient.data());
        if (gradient.size() != n_parameters || place % kAlignment != 0) {
            throw py::value_error("expected an array of new_gradient()");
        }
    }

    std::unique_ptr<BoundSource<T>> bound;
    Trainer<T> trainer;
    Index batch_size, n_parameters;
};

template <class T>
void register_state(py::module_& m) {
    using State = OptimizerState<T>;
    class_of<T, State>(m, "OptimizerState")
        .def(py::init([](const Network<T>& network, const Optimizer& optimizer) {
                 return std::make_unique<State>(network.parameters().size(), optimizer.n_slots);
             }),
             py::arg("network"), py::arg("optimizer"))
        .def_readonly("steps_done", &State::steps_done)
        .def("finite",
             [](const State& state) { return without_gil([&] { return state.finite(); }); })
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
        .def(py::init<Network<T>&, const Optimizer&, OptimizerState<T>&, const BoundInput<T>&,
                      const std::optional<Indices>&, const std::optional<Array<T>>&,
                      const BoundInput<T>*, const Corruption<T>*, const Dropouts&, LossName, double,
                      const std::map<std::string, double>&, Index>(),
             py::keep_alive<1, 2>(), py::keep_alive<1, 3>(), py::keep_alive<1, 4>(),
             py::keep_alive<1, 9>(), py::arg("network"), py::arg("optimizer"), py::arg("state"),
             py::arg("input"), py::arg("labels").noconvert(), py::arg("weights").noconvert(),
             py::kw_only(), py::arg("targets") = py::none(), py::arg("corruption"),
             py::arg("dropout"), py::arg("loss"), py::arg("weight_decay"),
             py::arg("penalties") = py::dict(), py::arg("batch_size"))
        .def("set_samples", &Bound::set_samples, py::arg("input"), py::arg("labels").noconvert(),
             py::arg("weights").noconvert(), py::kw_only(), py::arg("targets") = py::none())
        .def(
            "team_size",
            [](Bound& bound, int n_threads) {
                return without_gil([&] { return bound.trainer.team_size(n_threads); });
            },
            py::arg("n_threads"))
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
        .def("new_gradient",
             [](const Bound& bound) { return array_of(bound.trainer.new_gradient()); })
        .def(
            "gradient",
            [](Bound& bound, const Indices& samples, Index first, Array<T>& out, int n_threads) {
                bound.check(out);
                const std::int64_t* data = samples.data();
                const Index n = samples.size();
                T* to = out.mutable_data();
                without_gil([&] { bound.trainer.gradient(data, n, first, n_threads, to); });
            },
            py::arg("samples").noconvert(), py::kw_only(), py::arg("first"),
            py::arg("out").noconvert(), py::arg("n_threads"))
        .def(
            "update",
            [](Bound& bound, const Array<T>& gradient, double learning_rate, int n_threads) {
                bound.check(gradient);
                const T* from = gradient.data();
                without_gil([&] { bound.trainer.update(from, learning_rate, n_threads); });
            },
            py::arg("gradient").noconvert(), py::kw_only(), py::arg("learning_rate"),
            py::arg("n_threads"))
        .def("save_state", [](Bound& bound) { without_gil([&] { bound.trainer.save_state(); }); })
        .def("restore_state",
             [](Bound& bound) { without_gil([&] { bound.trainer.restore_state(); }); });

    m.def(
        "accumulate",
        [](Array<T>& to, const Array<T>& from) {
            if (from.size() != to.size()) throw py::value_error("arrays of different sizes");
            T* sum = to.mutable_data();
            const T* more = from.data();
            const Index n = to.size();
            without_gil([&] { accumulate(n, more, sum); });
        },
        py::arg("to").noconvert(), py::arg("from_array").noconvert());

    class_of<T, Evaluator<T>>(m, "Evaluator")
        .def(py::init([](const Network<T>& network, LossName loss, double weight_decay,
                         const std::map<std::string, double>& penalties) {
                 return Evaluator<T>(network, {loss, weight_decay, make_penalties(penalties)});
             }),
             py::keep_alive<1, 2>(), py::arg("network"), py::kw_only(), py::arg("loss"),
             py::arg("weight_decay"), py::arg("penalties") = py::dict())
        .def(
            "add",
            [](Evaluator<T>& evaluator, const BoundInput<T>& x,
               const std::optional<Indices>& labels, const std::optional<Array<T>>& weights,
               const BoundInput<T>* targets, int n_threads) {
                const Source<T> source = source_of(x, labels, targets, weights);
                without_gil([&] { evaluator.add(source, n_threads); });
            },
            py::arg("x"), py::arg("labels").noconvert(), py::arg("weights").noconvert(),
            py::kw_only(), py::arg("targets") = py::none(), py::arg("n_threads"))
        .def("merge", &Evaluator<T>::merge, py::arg("other"))
        .def("result", [](const Evaluator<T>& evaluator) {
            const Evaluation result = evaluator.result();
            return py::make_tuple(result.loss, result.n_right);
        });

    m.def(
        "evaluate",
        [](const Network<T>& network, const BoundInput<T>& x, const std::optional<Indices>& labels,
           const std::optional<Array<T>>& weights, const BoundInput<T>* targets, LossName loss,
           double weight_decay, const std::map<std::string, double>& penalties, int n_threads) {
            const Source<T> source = source_of(x, labels, targets, weights);
            const Objective objective{loss, weight_decay, make_penalties(penalties)};
            const Evaluation result =
                without_gil([&] { return evaluate(network, source, objective, n_threads); });
            return py::make_tuple(result.loss, result.n_right);
        },
        py::arg("network"), py::arg("x"), py::arg("labels").noconvert(),
        py::arg("weights").noconvert() = py::none(), py::kw_only(), py::arg("targets") = py::none(),
        py::arg("loss"), py::arg("weight_decay"), py::arg("penalties") = py::dict(),
        py::arg("n_threads"));

    m.def(
        "sample_losses",
        [](const Network<T>& network, const BoundInput<T>& x, const std::optional<Indices>& labels,
           const BoundInput<T>* targets, LossName loss, int n_threads) {
            const Source<T> source = source_of(x, labels, targets);
            Array<double> out(x.input.n_samples());
            double* losses = out.mutable_data();
            without_gil([&] { sample_losses(network, source, loss, n_threads, losses); });
            return out;
        },
        py::arg("network"), py::arg("x"), py::arg("labels").noconvert(), py::kw_only(),
        py::arg("targets") = py::none(), py::arg("loss"), py::arg("n_threads"));
}

template void register_trainer<float>(py::module_&);
template void register_trainer<double>(py::module_&);

void register_optimizer(py::module_& m) {
    py::class_<Optimizer>(m, "Optimizer")
        .def(py::init(&make_optimizer), py::arg("rule"), py::arg("options"))
        .def_readonly("n_slots", &Optimizer::n_slots);
}

}  // namespace sae::bindings
