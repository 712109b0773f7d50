// SPDX-License-Identifier: BSD-3-Clause
// What the register_* files share: array types that never convert in silence, and the names of the
// two precisions. Bindings turn arrays into pointers, release the GIL and call; they compute
// nothing.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "sae/base/float_mode.hpp"
#include "sae/data/batch.hpp"
#include "sae/layers/network.hpp"

namespace sae::bindings {

namespace py = pybind11;

// A C-contiguous array of just this type; another is an error, not a conversion.
template <class T>
using Array = py::array_t<T, py::array::c_style>;
using Indices = Array<std::int64_t>;

// A class of one precision, named after it.
template <class T, class Class>
py::class_<Class> class_of(py::module_& m, const std::string& name) {
    return {m, (name + (sizeof(T) == 4 ? "_float32" : "_float64")).c_str()};
}

// A thread's time without the GIL. Once Python has begun to end, it gives the GIL to no thread but
// the one that ends it; any other that asks is made to exit (up to Python 3.13), by what glibc
// throws through its frames, and ends the process where a frame must not throw. So it stays here.
class GilReleased {
   public:
    GilReleased() : thread_(PyEval_SaveThread()) { ++under_way; }
    GilReleased(const GilReleased&) = delete;
    GilReleased& operator=(const GilReleased&) = delete;
    ~GilReleased() {
        --under_way;
        try {
            PyEval_RestoreThread(thread_);
        } catch (...) {
            for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
        }
    }

    // Called once, at import: lets Python end only when no thread computes any more, since what it
    // computes with, BLAS's memory for one, ends with the process.
    static void await_at_exit();

   private:
    static inline std::atomic<int> under_way{0};
    PyThreadState* thread_;
};

// Runs f without the GIL and in FloatMode. Python objects, copies of references to them too, stay
// outside.
template <class F>
auto without_gil(F&& f) {
    const GilReleased released;
    const FloatMode mode;
    return f();
}

// An Input, and what it reads from: an array, or memory of our own.
template <class T>
struct BoundInput {
    Input<T> input;
    py::object source;
    Buffer<T> memory{};
};

// The data of an array with one entry per sample; null without one.
template <class T>
const T* per_sample(const std::optional<Array<T>>& values, Index n_samples) {
    if (!values) return nullptr;
    if (values->size() != n_samples) throw py::value_error("one entry per sample expected");
    return values->data();
}

template <class T>
void register_input(py::module_& m);
template <class T>
void register_network(py::module_& m);
template <class T>
void register_trainer(py::module_& m);
void register_optimizer(py::module_& m);
void register_kernels(py::module_& m);

}  // namespace sae::bindings
