// SPDX-License-Identifier: BSD-3-Clause
#include "sae/base/parallel.hpp"

#ifdef SAE_FAST_OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "sae/base/float_mode.hpp"

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

// Thrown to whoever waits for a member that never comes.
struct Abandoned {};

#ifdef SAE_FAST_OPENMP

// Whether this process was forked from one that had this library. Its OpenMP threads, and those
// that another library may have started of the same run-time, are not here.
std::atomic<bool> forked{false};

#if defined(__unix__) || defined(__APPLE__)

// The stack that OpenMP's threads are asked to have by the environment; 0 for the system's own.
std::size_t stack_size() {
    for (const char* name : {"OMP_STACKSIZE", "GOMP_STACKSIZE"}) {
        const char* text = std::getenv(name);
        if (!text) continue;
        char* unit;
        const auto number = static_cast<std::size_t>(std::strtoull(text, &unit, 10));
        if (unit == text) continue;
        while (std::isspace(static_cast<unsigned char>(*unit))) ++unit;
        const int kind = std::tolower(static_cast<unsigned char>(*unit));
        return number << (kind == 'b' ? 0 : kind == 'm' ? 20 : kind == 'g' ? 30 : 10);
    }
    return 0;
}

// How large a team there is room for, n_threads at most. Where the system refuses it a thread,
// OpenMP's run-time ends the process: so as many are made here first, with such stacks, and ended.
// If that fails, one is left over for whatever else needs room.
int room_for(int n_threads) {
    static const std::size_t stack = stack_size();
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return 1;
    if (stack > 0) pthread_attr_setstacksize(&attributes, stack);
    std::vector<pthread_t> made;
    made.reserve(static_cast<std::size_t>(n_threads));
    std::mutex all_made;
    const auto wait = [](void* mutex) -> void* {
        const std::lock_guard hold(*static_cast<std::mutex*>(mutex));
        return nullptr;
    };
    bool refused = false;
    {
        const std::lock_guard hold(all_made);
        for (int n = 1; n < n_threads && !refused; ++n) {
            pthread_t thread;
            refused = pthread_create(&thread, &attributes, wait, &all_made) != 0;
            if (!refused) made.push_back(thread);
        }
    }
    for (const pthread_t thread : made) pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
    return refused ? std::max(1, static_cast<int>(made.size())) : n_threads;
}

#else

int room_for(int n_threads) { return n_threads; }

#endif

// Calls f(member) on a team of at most n_threads. The run-time keeps the threads of a caller's
// latest team; where it will make more, one caller at a time sees whether there is room for them.
template <class F>
void start_team(int n_threads, const F& f) {
    static std::mutex making;
    static thread_local int kept = 1;
    std::optional<Barrier> gate;
    std::unique_lock<std::mutex> hold(making, std::defer_lock);
    if (n_threads > kept && !forked) {
        hold.lock();
        n_threads = room_for(n_threads);
    }
    if (n_threads <= 1 || forked) {
        if (hold) hold.unlock();
        f({0, 1, &gate.emplace(1)});
        return;
    }
#pragma omp parallel num_threads(n_threads)
    {
#pragma omp single
        gate.emplace(omp_get_num_threads());  // which may be fewer than asked for
        const Member member{omp_get_thread_num(), omp_get_num_threads(), &*gate};
        if (member.rank == 0) {  // the caller
            kept = member.size;
            if (hold) hold.unlock();
        }
        f(member);
    }
}

#else

// The same on threads that live for one call: nothing is left that a fork could lose.
template <class F>
void start_team(int n_threads, const F& f) {
    std::optional<Barrier> gate;
    std::vector<std::thread> others;
    std::mutex starting;  // until the team's size is known
    int size = 1;
    {
        const std::lock_guard hold(starting);
        try {
            for (; size < n_threads; ++size) {
                others.emplace_back([&, rank = size] {
                    {
                        const std::lock_guard wait(starting);
                    }
                    f({rank, size, &*gate});
                });
            }
        } catch (const std::exception&) {  // as many as the system has room for
        }
        gate.emplace(size);
    }
    f({0, size, &*gate});
    for (std::thread& thread : others) thread.join();
}

#endif

}  // namespace

void Barrier::wait() {
    if (abandoned_) throw Abandoned{};
    const unsigned generation = generation_;
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
        arrived_.store(0, std::memory_order_relaxed);
        generation_ = generation + 1;
        wake();
        return;
    }
    constexpr int spins = 2000;  // some 20 to 80 microseconds
    for (int i = 0; i < spins && !is_over(generation); ++i) pause_processor();
    if (!is_over(generation)) sleep(generation);
    if (abandoned_) throw Abandoned{};
}

bool Barrier::abandon() {
    const bool first = !abandoned_.exchange(true);
    wake();
    return first;
}

// Either who wakes sees that somebody sleeps, or who falls asleep sees that it is over.
void Barrier::sleep(unsigned generation) {
    ++sleeping_;
    {
        std::unique_lock hold(falling_asleep_);
        over_.wait(hold, [&] { return is_over(generation); });
    }
    --sleeping_;
}

void Barrier::wake() {
    if (sleeping_ == 0) return;
    {
        const std::lock_guard hold(falling_asleep_);
    }
    over_.notify_all();
}

Range Member::share(Index n, Index grain) const {
    const Index grains = (n + grain - 1) / grain;
    const Index begin = grains * rank / size * grain;
    const Index end = grains * (rank + 1) / size * grain;
    return {std::min(begin, n), std::min(end, n)};
}

void run_team(int n_threads, const std::function<void(Member)>& f) {
    std::exception_ptr failure;
    start_team(n_threads, [&](Member member) {
        const FloatMode mode;
        try {
            f(member);
        } catch (...) {
            if (member.gate->abandon()) failure = std::current_exception();
        }
    });
    if (failure) std::rethrow_exception(failure);
}

void parallel_init() {
#if defined(SAE_FAST_OPENMP) && (defined(__unix__) || defined(__APPLE__))
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif
}

double measure_handover() {
    using Clock = std::chrono::steady_clock;
    constexpr unsigned kBlocks = 1600, kTurns = 16;
    constexpr std::chrono::milliseconds kLongest(200);  // where a thread is not running
    alignas(64) std::atomic<unsigned> turn{0};
    std::atomic<bool> over{false};
    double best = std::numeric_limits<double>::quiet_NaN();
    run_team(2, [&](Member member) {
        const Clock::time_point began = Clock::now();
        for (unsigned block = 0; member.size == 2 && block < kBlocks && !over; ++block) {
            const Clock::time_point start = Clock::now();
            for (unsigned i = 0; i < kTurns; ++i) {
                const unsigned mine = 2 * (block * kTurns + i) + static_cast<unsigned>(member.rank);
                while (turn.load(std::memory_order_acquire) != mine) {
                }
                turn.store(mine + 1, std::memory_order_release);
            }
            const Clock::time_point now = Clock::now();
            const double taken = std::chrono::duration<double>(now - start).count() / (2 * kTurns);
            member.barrier();
            if (member.rank == 0) {
                if (!(best <= taken)) best = taken;
                over = now - began > kLongest;
            }
            member.barrier();
        }
    });
    return best;
}

int useful_threads(int n_threads, double work) {
    constexpr double work_per_thread = 100000;  // some 20 microseconds
    return std::max(1, static_cast<int>(std::min<double>(n_threads, work / work_per_thread)));
}

int openmp_threads() {
#ifdef SAE_FAST_OPENMP
    return std::min(omp_get_max_threads(), omp_get_thread_limit());
#else
    return std::numeric_limits<int>::max();
#endif
}

std::string openmp_description() {
#if !defined(SAE_FAST_OPENMP)
    return "none: standard threads";
#elif defined(__clang__)
    return "OpenMP " + std::to_string(_OPENMP) + " (clang)";
#else
    return "OpenMP " + std::to_string(_OPENMP) + " (GCC libgomp)";
#endif
}

}  // namespace sae
