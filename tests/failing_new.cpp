// SPDX-License-Identifier: BSD-3-Clause
// Preloaded into a process, makes one allocation of the core fail, and counts those of all C++ that
// are not yet freed. The core's are those of aligned memory and all without the GIL: pybind11,
// which holds it, ends the process if it finds no room to note where an object is.
#include <dlfcn.h>

#include <atomic>
#include <cstddef>
#include <new>

namespace {

std::atomic<long> n_left{-1};
std::atomic<long> n_live{0};

// What the name stands for in the libraries behind this one.
template <class F>
F* next(const char* name) {
    return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

void count(bool of_the_core) {
    if (n_left >= 0 && of_the_core && n_left-- == 0) throw std::bad_alloc();
    ++n_live;
}

bool has_gil() {
    static const auto check = next<int()>("PyGILState_Check");
    return n_left >= 0 && check();
}

}  // namespace

// The allocation after `n` others from now on fails; none if n is -1. Returns what is left of the
// last n, below 0 if that one has failed.
extern "C" long fail_new(long n) { return n_left.exchange(n); }
extern "C" long live_allocations() { return n_live; }

void* operator new(std::size_t n) {
    static const auto allocate = next<void*(std::size_t)>("_Znwm");
    count(!has_gil());
    return allocate(n);
}
void* operator new(std::size_t n, std::align_val_t alignment) {
    static const auto allocate = next<void*(std::size_t, std::align_val_t)>("_ZnwmSt11align_val_t");
    count(true);
    return allocate(n, alignment);
}
void operator delete(void* p) noexcept {
    static const auto free = next<void(void*)>("_ZdlPv");
    n_live -= p != nullptr;
    free(p);
}
void operator delete(void* p, std::align_val_t alignment) noexcept {
    static const auto free = next<void(void*, std::align_val_t)>("_ZdlPvSt11align_val_t");
    n_live -= p != nullptr;
    free(p, alignment);
}
void operator delete(void* p, std::size_t) noexcept { ::operator delete(p); }
void operator delete(void* p, std::size_t, std::align_val_t alignment) noexcept {
    ::operator delete(p, alignment);
}
