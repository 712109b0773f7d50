// SPDX-License-Identifier: BSD-3-Clause
// How a thread rounds, in a control register of its own. Whatever the caller set, ours is the same:
// otherwise its thread would round one way, and those that OpenMP started before another.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace sae {

// Rounds to nearest, flushes denormals to zero and traps nothing, on this thread for as long as it
// lives; then the register is as it was, the flags of past exceptions included.
class FloatMode {
   public:
#if defined(__x86_64__)
    FloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(0x9fc0); }  // all masks, FTZ and DAZ
    ~FloatMode() { _mm_setcsr(saved_); }
#elif defined(__aarch64__)
    FloatMode() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
        __asm__ volatile("msr fpcr, %0" ::"r"(1ull << 24));  // FZ
    }
    ~FloatMode() { __asm__ volatile("msr fpcr, %0" ::"r"(saved_)); }
#else
    FloatMode() {}
    ~FloatMode() {}
#endif
    FloatMode(const FloatMode&) = delete;
    FloatMode& operator=(const FloatMode&) = delete;

   private:
#if defined(__x86_64__)
    unsigned saved_;
#elif defined(__aarch64__)
    unsigned long long saved_;
#endif
};

}  // namespace sae
