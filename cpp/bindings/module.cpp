// SPDX-License-Identifier: BSD-3-Clause
#include <pybind11/native_enum.h>

#include <cstdlib>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "bindings.hpp"
#include "sae/base/blas.hpp"
#include "sae/base/isa.hpp"
#include "sae/base/parallel.hpp"
#include "sae/data/corruption.hpp"
#include "sae/losses/loss.hpp"

namespace sae::bindings {

namespace {

template <class Enum>
void register_enum(py::module_& m, const char* name) {
    py::native_enum<Enum> values(m, name, "enum.Enum");
    int value = 0;
    for (const char* word : names_of(Enum{})) values.value(word, static_cast<Enum>(value++));
    values.finalize();
}

py::dict build_config() {
    py::dict config;
    config["version"] = SAE_FAST_VERSION;
    config["compiler"] = SAE_FAST_COMPILER;
    config["isa"] = isa_name(active_isa());
    py::list isas;
    for (const Isa isa : available_isas()) isas.append(isa_name(isa));
    config["available_isas"] = isas;
    config["blas"] = blas_description();
    config["openmp"] = openmp_description();
    return config;
}

}  // namespace

void GilReleased::await_at_exit() {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { under_way = 0; });  // the others are not in the child
#endif
    Py_AtExit([] {
        while (under_way > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
}

PYBIND11_MODULE(_core, m) {
    m.doc() = "The C++ core of sae_fast. Not public: use the classes of sae_fast.";
    if (const char* name = std::getenv("SAE_FAST_ISA"); name && *name) {
        try {
            force_isa(name);
        } catch (const std::invalid_argument& error) {
            throw py::import_error("SAE_FAST_ISA: " + std::string(error.what()));
        }
    }
    blas_init();
    parallel_init();
    GilReleased::await_at_exit();

    py::native_enum<Layout>(m, "Layout", "enum.Enum")
        .value("automatic", Layout::automatic)
        .value("dense", Layout::dense)
        .value("sparse", Layout::sparse)
        .finalize();
    register_enum<Activation>(m, "Activation");
    register_enum<Rule>(m, "Rule");
    register_enum<LossName>(m, "Loss");
    register_enum<CorruptionName>(m, "CorruptionName");

    register_input<float>(m);
    register_input<double>(m);
    register_network<float>(m);
    register_network<double>(m);
    register_optimizer(m);
    register_trainer<float>(m);
    register_trainer<double>(m);
    register_kernels(m);
    m.def("build_config", &build_config);
    m.def("openmp_threads", &openmp_threads);
    m.def("measure_handover", &measure_handover, py::call_guard<GilReleased>());
    m.attr("SOURCES") = SAE_FAST_SOURCES;
}

}  // namespace sae::bindings
