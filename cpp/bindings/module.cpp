// SPDX-License-Identifier: BSD-3-Clause
#include <pybind11/native_enum.h>

#include <cstdlib>

#include "bindings.hpp"
#include "sae/base/blas.hpp"
#include "sae/base/isa.hpp"
#include "sae/base/parallel.hpp"
#include "sae/data/corruption.hpp"
#include "sae/losses/loss.hpp"

namespace sae::bindings {

namespace {

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

    py::native_enum<Layout>(m, "Layout", "enum.Enum")
        .value("automatic", Layout::automatic)
        .value("dense", Layout::dense)
        .value("sparse", Layout::sparse)
        .finalize();
    py::native_enum<Activation> activations(m, "Activation", "enum.Enum");
#define SAE_VALUE(name, Struct) activations.value(#name, Activation::name);
    SAE_ACTIVATIONS(SAE_VALUE)
#undef SAE_VALUE
    activations.finalize();
    py::native_enum<Rule> rules(m, "Rule", "enum.Enum");
#define SAE_VALUE(name, Struct) rules.value(#name, Rule::name);
    SAE_RULES(SAE_VALUE)
#undef SAE_VALUE
    rules.finalize();
    py::native_enum<LossName> losses(m, "Loss", "enum.Enum");
#define SAE_VALUE(name) losses.value(#name, LossName::name);
    SAE_LOSSES(SAE_VALUE)
#undef SAE_VALUE
    losses.finalize();

    py::native_enum<CorruptionName> corruptions(m, "CorruptionName", "enum.Enum");
#define SAE_VALUE(name, Class) corruptions.value(#name, CorruptionName::name);
    SAE_CORRUPTIONS(SAE_VALUE)
#undef SAE_VALUE
    corruptions.finalize();

    register_input<float>(m);
    register_input<double>(m);
    register_network<float>(m);
    register_network<double>(m);
    register_optimizer(m);
    register_trainer<float>(m);
    register_trainer<double>(m);
    register_kernels(m);
    m.def("build_config", &build_config);
}

}  // namespace sae::bindings
