// SPDX-License-Identifier: BSD-3-Clause
// The table of kernels, one per instruction set and type. A kernel reads whole vectors, and writes
// them or half of the last one: every matrix but the left operand of a product has padded rows
// (view.hpp), their padding zero before and after.
// Sums run over the inner index in order, one multiply-add at a time, whatever tile an element
// falls into, so that its bits depend on neither the tiling nor the rows that a call covers.
#pragma once

#include <array>
#include <cstdint>

#include "sae/base/isa.hpp"
#include "sae/base/view.hpp"
#include "sae/kernels/names.hpp"

namespace sae {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bytes are read as parts of numbers");

// The most that any update rule keeps of a parameter, and numbers that it takes.
inline constexpr Index kMostSlots = 2, kMostCoefficients = 4;

// One step of an update rule, by numbers in the order of its struct in rules.inl.
template <class T>
struct UpdateStep {
    Rule rule;
    T coefficients[kMostCoefficients];
    T weight_decay;            // L2, part of the gradient: dw + weight_decay * w
    T shrinkage;               // what w loses of itself first, by a rule that shrinks
    T l1 = 0;                  // part of the gradient: dw + l1 * sign(w)
    const T* decay = nullptr;  // (n): L2 of each column, beside the other; null for none

    // The same of biases, which no penalty holds down.
    UpdateStep of_biases() const {
        UpdateStep step = *this;
        step.weight_decay = step.shrinkage = step.l1 = 0;
        step.decay = nullptr;
        return step;
    }
};

// Rows of parameters and the state of their update rule, all with the same leading dimension.
template <class T>
struct ParameterRows {
    T* w;                  // (rows, n)
    T* slots[kMostSlots];  // (rows, n) each, those that the rule has
    Index ld;
};

// What is added to the loss for each element of a code a = f(z): l1 |a| + linear a + squared
// f'(z)^2.
template <class T>
struct CodePenalty {
    T l1;
    const T *linear, *squared;  // (n) each
};

template <class Column>
inline constexpr Column kNoColumn = static_cast<Column>(-1);

// f(place) for each bit that is set, from the lowest on.
template <class F>
inline void for_each_bit(std::uint64_t bits, const F& f) {
    for (; bits; bits &= bits - 1) f(static_cast<Index>(__builtin_ctzll(bits)));
}

// Rows as lists of their non-zeros: a row's columns, ascending, and closed by kNoColumn, and what
// stands in them.
template <class T, class Column>
struct ListedRows {
    const Column* columns;
    const T* values;

    // f(column, value) for each non-zero of the row that starts at `at`, in order of columns.
    template <class F>
    void for_each(Index at, const F& f) const {
        for (; columns[at] != kNoColumn<Column>; ++at)
            f(static_cast<Index>(columns[at]), values[at]);
    }
    // Asks for so many non-zeros from there on.
    void prefetch(Index at, Index n) const {
        constexpr Index line = 64 / static_cast<Index>(sizeof(T));
        for (Index i = at; i < at + n; i += line) __builtin_prefetch(values + i);
        for (Index i = at; i < at + n; i += 64 / static_cast<Index>(sizeof(Column))) {
            __builtin_prefetch(columns + i);
        }
    }
};

// Rows of bytes, most of them zero, each on cache lines of its own; zeros up to the end of the
// last.
template <class T>
struct ByteRows {
    const std::uint8_t* bytes;
    const std::uint64_t* bits;  // whether each byte is not zero
    const T* table;             // (256): what each stands for; the first is zero
    Index n_columns;

    template <class F>
    void for_each(Index at, const F& f) const {
        for (Index j = 0; j < n_columns; j += 64) {
            const std::uint8_t* const part = bytes + at + j;
            for_each_bit(bits[(at + j) / 64], [&](Index k) { f(j + k, table[part[k]]); });
        }
    }
    void prefetch(Index, Index) const {}  // a batch's own, written a moment ago
};

// Rows of which most is zero: as lists, columns in 16 bits or in 32, or as bytes. Of `columns16`,
// `columns32` and `bytes` one is there, the others null.
template <class T>
struct PackedRows {
    const std::uint16_t* columns16;
    const std::uint32_t* columns32;
    const T* values;
    ByteRows<T> bytes;

    bool is_bytes() const { return bytes.bytes != nullptr; }
};

// Calls f(the rows as they are).
template <class T, class F>
auto with_packed(const PackedRows<T>& x, F&& f) {
    if (x.is_bytes()) return f(x.bytes);
    if (x.columns32) return f(ListedRows<T, std::uint32_t>{x.columns32, x.values});
    return f(ListedRows<T, std::uint16_t>{x.columns16, x.values});
}

// f(column, value) for each non-zero of the row that starts at `at`, in order of columns.
template <class T, class F>
void for_each_nonzero(const PackedRows<T>& x, Index at, const F& f) {
    with_packed(x, [&](const auto& rows) { rows.for_each(at, f); });
}

// Some columns of packed rows, of bytes in whole multiples of 64. Row r starts at start[r] or, as a
// list, goes on there, and is left at the first column behind them.
template <class T>
struct SparseRows {
    PackedRows<T> packed;
    Index* start;
    Range columns;
};

// A non-zero of a sparse column: its row and its value.
template <class T>
struct Entry {
    std::uint32_t row;
    T value;
};

// Sparse columns: column j has the entries from ends[2 * j] up to ends[2 * j + 1] or, if there are
// none, the bytes of all rows from bytes[j * ld] on, ld being a multiple of 64, and a bit for each
// that is not zero.
template <class T>
struct SparseColumnEntries {
    const Entry<T>* entries;
    const std::uint32_t* ends;
    const std::uint8_t* bytes;
    const std::uint64_t* bits;
    Index ld;
    const T* table;  // (256)
};

using PhiloxCounter = std::array<std::uint32_t, 4>;

template <class T>
struct Kernels {
    // out (m, n) = f(x (m, k) w (k, n) + b (n)), f being the activation
    void (*dense_forward)(View<const T> x, View<const T> w, const T* b, Activation f, View<T> out);
    // delta_in (m, k) = (delta (m, n) w_t (n, k)) * f'(z), a being f(z)
    void (*dense_backward)(View<const T> delta, View<const T> w_t, Activation f, View<const T> a,
                           View<T> delta_in);
    // A step on some rows of w with dw (rows, n) = x (batch, rows)^T delta (batch, n)
    void (*dense_update)(View<const T> x, View<const T> delta, const UpdateStep<T>& step,
                         const ParameterRows<T>& parameters);
    // The gradient alone, on top of what is there: dw (rows, n) += x (batch, rows)^T delta (batch,
    // n)
    void (*dense_gradient)(View<const T> x, View<const T> delta, View<T> dw);
    // out (m, n) = f(sum over the non-zeros of value * w[column] + b (n)); resume: on top of the
    // sums in out; b null: the sums alone, for a later call to resume
    void (*sparse_forward)(const SparseRows<T>& x, View<const T> w, bool resume, const T* b,
                           Activation f, View<T> out);
    // A step on `rows` rows of w with dw (rows, n) = sum over the entries of value * delta[row]
    void (*sparse_update)(Index rows, const SparseColumnEntries<T>& x, View<const T> delta,
                          const UpdateStep<T>& step, const ParameterRows<T>& parameters);
    // dw (rows, n) += sum over the entries of value * delta[row]
    void (*sparse_gradient)(const SparseColumnEntries<T>& x, View<const T> delta, View<T> dw);
    // The epilogues of the above on what lies in memory: out = f(out + b), delta = delta * f'(z),
    // a step with dw.
    void (*activate)(const T* b, Activation f, View<T> out);
    void (*derive)(Activation f, View<const T> a, View<T> delta);
    void (*update)(View<const T> dw, const UpdateStep<T>& step, const ParameterRows<T>& parameters);
    // sums (n) = the sum of the squares of each column of w (m, n)
    void (*column_squares)(View<const T> w, T* sums);
    // sums (n) = the sum over rows of weight f'(z)^2, a (m, n) being f(z); weights null: ones
    void (*slope_squares)(Activation f, View<const T> a, const T* weights, T* sums);
    // delta (m, n) += weight * d penalty / d z, a being f(z); weights null: ones
    void (*penalize)(Activation f, View<const T> a, const T* weights, const CodePenalty<T>& penalty,
                     View<T> delta);
    // Shortens the columns of w whose norm is above `most` to that.
    void (*limit_norms)(View<T> w, T most);
    // Makes all but the k largest of each row zero, the first of equals being larger; NaN stays.
    void (*keep_largest)(Index k, View<T> a);
    // out (n, n) = h (m, n)^T h, its upper triangle; of the lower one what comes along
    void (*gram)(View<const T> h, View<T> out);
    // out (n, m) = in (m, n)^T
    void (*transpose)(View<const T> in, View<T> out);
    // Bytes of n columns, in whole multiples of 64, of those that are not zero, `values`, and where
    // they are, n bits; up to 64 more may be read.
    void (*expand_bytes)(Index n, const std::uint64_t* bits, const std::uint8_t* values,
                         std::uint8_t* bytes);
    // out (64, ld) = the 64 columns from `column` on of `rows` rows of bytes; ld: `rows`
    // rounded up to a multiple of 64; a bit for each, whether it is not zero
    void (*transpose_bytes)(const ByteRows<T>& x, const Index* start, Index rows, Index column,
                            std::uint8_t* out, std::uint64_t* bits, Index ld);
    // delta (n): the derivative of a loss with respect to a (n); t (n) null: targets of zero
    void (*loss_delta)(ValueLoss loss, Index n, const T* a, const T* t, T* delta);
    // The sum over a (n), which is lost, of a loss
    double (*loss_value)(ValueLoss loss, Index n, T* a, const T* t);
    // p (n) = exp(z (n) - largest), zero from where T has no normal number on; p may be z
    void (*exp_shifted)(Index n, const T* z, T largest, T* p);
    // the sum over n elements of a x, in float64
    double (*dot)(Index n, const T* a, const T* x);
    // out (n, 32 words, or 128 bytes): Philox's blocks of this key, eight of them in each group,
    // from `counter` on, the first number of which counts them
    void (*random_groups)(Index n, const PhiloxCounter& counter, std::uint64_t key, void* out);
    // out (n, 32): as many normal numbers of mean 0 and variance 1, of these random words
    void (*normals)(Index n, const std::uint32_t* words, T* out);
    // `rounds` times a = a s + x on twelve independent vectors, whose sum it leaves in out (one
    // vector): what a benchmark takes for the processor's peak. Returns the operations done.
    Index (*multiply_adds)(Index rounds, T s, T x, T* out);
};

template <class T>
const Kernels<T>& kernels(Isa isa);

// The table of one instruction set, if it was compiled in.
template <class T, Isa isa>
const Kernels<T>& kernels_of();

}  // namespace sae
