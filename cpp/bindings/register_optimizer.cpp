// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"
#include "sae/optimizers/optimizer.hpp"

namespace sae::bindings {

namespace {

template <class T>
void register_state(py::module_& m) {
    using State = OptimizerState<T>;
    py::class_<State>(m, ("OptimizerState" + std::string(kSuffix<T>)).c_str())
        .def(py::init([](const Network<T>& network, const Optimizer& optimizer) {
                 return std::make_unique<State>(network.parameters().size(), optimizer.n_slots());
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

void register_optimizer(py::module_& m) {
    py::class_<Optimizer>(m, "Optimizer")
        .def(py::init(&make_optimizer), py::arg("rule"), py::arg("options"))
        .def_property_readonly("n_slots", &Optimizer::n_slots);
    register_state<float>(m);
    register_state<double>(m);
}

}  // namespace sae::bindings
