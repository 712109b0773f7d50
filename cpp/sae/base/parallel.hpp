// SPDX-License-Identifier: BSD-3-Clause
// The only threads of this library: a team runs one function on every member at once. Work is cut
// by item numbers that do not depend on the team's size, and never summed in order of arrival.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "sae/base/view.hpp"

namespace sae {

// Where a team waits for its last member: spinning for about as long as members of a step differ,
// then asleep. On a machine with other work a barrier that only spins can burn the very time slice
// that the missing member needs.
class Barrier {
   public:
    explicit Barrier(int size) : size_(size) {}
    void wait();
    // Says that a member will not come: all who wait, now or later, are thrown out of f. Returns
    // whether this is the first time.
    bool abandon();

   private:
    bool is_over(unsigned generation) const { return abandoned_ || generation_ != generation; }
    void sleep(unsigned generation);
    void wake();

    const int size_;
    std::atomic<bool> abandoned_{false};
    std::atomic<int> arrived_{0}, sleeping_{0};
    std::atomic<unsigned> generation_{0};
    std::mutex falling_asleep_;
    std::condition_variable over_;
};

// One thread's place in its team.
struct Member {
    int rank;
    int size;
    Barrier* gate;

    // Waits until all members are here; they all see what any wrote before.
    void barrier() const {
        if (size > 1) gate->wait();
    }

    // This member's contiguous share of n items, cut at multiples of `grain`.
    Range share(Index n, Index grain = 1) const;
};

// Runs f on up to n_threads threads, as many as the system has room for, the caller's own among
// them, and returns when all have returned; f runs in FloatMode. What the first member that throws
// throws is thrown again here; the others get no further than their next barrier. In a process
// forked after parallel_init(), f runs on the caller alone: the OpenMP run-time would wait for
// threads that the fork did not copy.
void run_team(int n_threads, const std::function<void(Member)>& f);

// Called once, at import.
void parallel_init();

// How many of n_threads are worth starting for work that can be shared out, counted in vector
// multiply-adds: each must have enough to outweigh its start.
int useful_threads(int n_threads, double work);

// Seconds that a cache line takes from one core to another, which is what a step pays at each
// barrier and for what another member has written: the least of many, NaN where there is one
// thread.
double measure_handover();

// Threads that the OpenMP run-time gives a team of this thread if it is not asked for a number:
// OMP_NUM_THREADS, or what the program has set since. Without OpenMP: as many as one likes.
int openmp_threads();

// Name and version of the OpenMP run-time that this library was compiled for, if any.
std::string openmp_description();

}  // namespace sae
