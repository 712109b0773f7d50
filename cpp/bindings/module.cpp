// SPDX-License-Identifier: BSD-3-Clause
#include <pybind11/native_enum.h>

#include <cstdlib>

#include "bindings.hpp"
#include "sae/blas.hpp"
#include "sae/isa.hpp"
#include "sae/loss.hpp"
#include "sae/parallel.hpp"
#include "sae/trainer.hpp"

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
    py::native_enum<Activation>(m, "Activation", "enum.Enum")
        .value("identity", Activation::identity)
        .value("relu", Activation::relu)
        .finalize();
    py::native_enum<Loss>(m, "Loss", "enum.Enum")
        .value("squared_error", Loss::squared_error)
        .value("cross_entropy", Loss::cross_entropy)
        .value("article", Loss::article)
        .finalize();
    py::native_enum<AdamForm>(m, "AdamForm", "enum.Enum")
        .value("tf1", AdamForm::tf1)
        .value("torch", AdamForm::torch)
        .finalize();

    register_input<float>(m);
    register_input<double>(m);
    register_network<float>(m);
    register_network<double>(m);
    register_trainer<float>(m);
    register_trainer<double>(m);
    register_kernels(m);
    m.def("build_config", &build_config);
}

}  // namespace sae::bindings
