// SPDX-License-Identifier: BSD-3-Clause
#include "sae/parallel.hpp"

#include <omp.h>

#include <algorithm>
#include <optional>
#include <thread>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "sae/float_mode.hpp"

namespace sae {

namespace {

// Tells the processor that this is a waiting loop.
void pause_processor() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Whether this process was forked from one that had this library. Its OpenMP threads, and those
// that another library may have started of the same run-time, are not here.
std::atomic<bool> forked{false};

}  // namespace

void Barrier::wait() {
    const unsigned generation = generation_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
        arrived_.store(0, std::memory_order_relaxed);
        generation_.store(generation + 1, std::memory_order_release);
        return;
    }
    constexpr int spins = 2000;  // some 20 to 80 microseconds
    for (int i = 0; generation_.load(std::memory_order_acquire) == generation; ++i) {
        if (i < spins) {
            pause_processor();
        } else {
            std::this_thread::yield();
        }
    }
}

Range Member::share(Index n, Index grain) const {
    const Index grains = (n + grain - 1) / grain;
    const Index begin = grains * rank / size * grain;
    const Index end = grains * (rank + 1) / size * grain;
    return {std::min(begin, n), std::min(end, n)};
}

void run_team(int n_threads, const std::function<void(Member)>& f) {
    if (n_threads <= 1 || forked) {
        const FloatMode mode;
        f({0, 1, nullptr});
        return;
    }
    std::optional<Barrier> gate;
#pragma omp parallel num_threads(n_threads)
    {
#pragma omp single
        gate.emplace(omp_get_num_threads());  // which may be fewer than asked for
        const FloatMode mode;
        f({omp_get_thread_num(), omp_get_num_threads(), &*gate});
    }
}

void parallel_init() {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif
}

int useful_threads(int n_threads, double work) {
    constexpr double work_per_thread = 100000;  // some 20 microseconds
    return std::max(1, static_cast<int>(std::min<double>(n_threads, work / work_per_thread)));
}

std::string openmp_description() {
    return "OpenMP " + std::to_string(_OPENMP) +
#if defined(__clang__)
           " (clang)";
#elif defined(__GNUC__)
           " (GCC libgomp)";
#else
           "";
#endif
}

}  // namespace sae
