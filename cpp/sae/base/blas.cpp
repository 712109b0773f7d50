// SPDX-License-Identifier: BSD-3-Clause
#include "sae/base/blas.hpp"

#include <atomic>
#include <thread>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

// Declared here and not taken from a cblas.h: the vendored library puts a prefix before each name,
// and a system's header may be another library's.
#ifdef SAE_FAST_BLAS_VENDORED
#define BLAS(name) scipy_##name
#else
#define BLAS(name) name
#endif

extern "C" {
void BLAS(cblas_sgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                       float alpha, const float* a, int lda, const float* b, int ldb, float beta,
                       float* c, int ldc);
void BLAS(cblas_dgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                       double alpha, const double* a, int lda, const double* b, int ldb,
                       double beta, double* c, int ldc);
#ifdef SAE_FAST_BLAS_VENDORED
void BLAS(openblas_set_num_threads)(int n);
int BLAS(openblas_get_num_threads)();
char* BLAS(openblas_get_config)();
char* BLAS(openblas_get_corename)();
#elif defined(__ELF__)
void openblas_set_num_threads(int n) __attribute__((weak));
#endif
}

namespace sae {

namespace {

constexpr int kRowMajor = 101;  // CblasRowMajor

int flag(Transpose transpose) { return transpose == Transpose::yes ? 112 : 111; }

// OpenBLAS takes a lock in every call. A fork while another thread holds it would leave it locked
// in the child for ever: forks wait until no call is under way, and calls until forks are over.
class ForkGate {
   public:
    void enter() {
        for (++calls_; forks_ > 0; ++calls_) {
            --calls_;
            while (forks_ > 0) std::this_thread::yield();
        }
    }
    void leave() { --calls_; }

    void close() {
        ++forks_;
        while (calls_ > 0) std::this_thread::yield();
    }
    void open() { --forks_; }
    // What other threads began is not the child's.
    void open_in_child() { calls_ = forks_ = 0; }

   private:
    std::atomic<int> calls_{0}, forks_{0};
};

ForkGate gate;

// One call of BLAS, on this thread alone: also if somebody gave it threads meanwhile, as
// threadpoolctl does for all that it finds in the process.
class Call {
   public:
    Call() {
        gate.enter();
#ifdef SAE_FAST_BLAS_VENDORED
        if (BLAS(openblas_get_num_threads)() != 1) BLAS(openblas_set_num_threads)(1);
#endif
    }
    ~Call() { gate.leave(); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
};

void watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork([] { gate.close(); }, [] { gate.open(); }, [] { gate.open_in_child(); });
#endif
}

}  // namespace

template <class T>
auto* const kGemm = BLAS(cblas_dgemm);
template <>
auto* const kGemm<float> = BLAS(cblas_sgemm);

template <class T>
void gemm(Transpose transpose_a, Transpose transpose_b, View<const T> a, View<const T> b, View<T> c,
          T beta) {
    const Call call;
    const auto k = static_cast<int>(transpose_a == Transpose::yes ? a.rows : a.cols);
    kGemm<T>(kRowMajor, flag(transpose_a), flag(transpose_b), static_cast<int>(c.rows),
             static_cast<int>(c.cols), k, T(1), a.data, static_cast<int>(a.ld), b.data,
             static_cast<int>(b.ld), beta, c.data, static_cast<int>(c.ld));
}

template void gemm(Transpose, Transpose, View<const float>, View<const float>, View<float>, float);
template void gemm(Transpose, Transpose, View<const double>, View<const double>, View<double>,
                   double);

#ifdef SAE_FAST_BLAS_VENDORED
std::string blas_description() {
    return std::string(BLAS(openblas_get_config)()) +
           " (kernels: " + BLAS(openblas_get_corename)() + ")";
}

void blas_init() {
    BLAS(openblas_set_num_threads)(1);
    watch_forks();
}
#else
std::string blas_description() { return "system: " SAE_FAST_BLAS_LIBRARIES; }

void blas_init() {
#ifdef __ELF__
    if (openblas_set_num_threads) openblas_set_num_threads(1);
#endif
    watch_forks();
}
#endif

}  // namespace sae
