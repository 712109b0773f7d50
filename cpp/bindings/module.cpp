// SPDX-License-Identifier: BSD-3-Clause
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

    py::enum_<Layout>(m, "Layout")
        .value("automatic", Layout::automatic)
        .value("dense", Layout::dense)
        .value("sparse", Layout::sparse);
    py::enum_<Activation>(m, "Activation")
        .value("identity", Activation::identity)
        .value("relu", Activation::relu);
    py::enum_<Loss>(m, "Loss")
        .value("squared_error", Loss::squared_error)
        .value("cross_entropy", Loss::cross_entropy)
        .value("article", Loss::article);
    py::enum_<AdamForm>(m, "AdamForm").value("tf1", AdamForm::tf1).value("torch", AdamForm::torch);

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
