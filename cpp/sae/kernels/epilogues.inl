// SPDX-License-Identifier: BSD-3-Clause
// Epilogues: what becomes of the sums of row r, columns from c on. A tile asks for what its
// epilogue will touch of a cache line, ask(r, c), while it sums.

template <class T>
struct Store {
    T* out;
    Index ldo;

    SAE_INLINE void ask(Index, Index) const {}
    template <class V>
    SAE_INLINE void operator()(Index r, Index c, V sum) const {
        store(out + r * ldo + c, sum);
    }
};

// On top of what is there.
template <class T>
struct Add {
    T* out;
    Index ldo;

    SAE_INLINE void ask(Index r, Index c) const { __builtin_prefetch(out + r * ldo + c, 1); }
    template <class V>
    SAE_INLINE void operator()(Index r, Index c, V sum) const {
        T* const to = out + r * ldo + c;
        store(to, load<V>(to) + sum);
    }
};

// a = f(z), z being the sums and the bias.
template <class F, class T>
struct Activate {
    const T* b;
    T* out;
    Index ldo;

    SAE_INLINE void ask(Index, Index) const {}
    template <class V>
    SAE_INLINE void operator()(Index r, Index c, V z) const {
        z += load<V>(b + c);
        store(out + r * ldo + c, F::forward(z));
    }
};

// delta = sum * f'(z), a being f(z).
template <class F, class T>
struct Derive {
    const T* a;
    Index lda;
    T* out;
    Index ldo;

    SAE_INLINE void ask(Index r, Index c) const { __builtin_prefetch(a + r * lda + c); }
    template <class V>
    SAE_INLINE void operator()(Index r, Index c, V sum) const {
        store(out + r * ldo + c, sum * F::derivative(load<V>(a + r * lda + c)));
    }
};

// A step of an update rule, the sums being the gradient.
template <class R, class T>
struct Update {
    // by value, like the epilogues themselves: behind a reference, every store to a parameter would
    // make the compiler read all of this again
    R rule;
    T weight_decay, shrinkage;
    ParameterRows<T> rows;

    SAE_INLINE void ask(Index r, Index c) const {
        const Index at = r * rows.ld + c;
        __builtin_prefetch(rows.w + at, 1);
#pragma GCC unroll 4
        for (int i = 0; i < R::n_slots; ++i) __builtin_prefetch(rows.slots[i] + at, 1);
    }
    template <class V>
    SAE_INLINE void operator()(Index r, Index c, V dw) const {
        const Index at = r * rows.ld + c;
        V w = load<V>(rows.w + at);
        V slots[R::n_slots];
#pragma GCC unroll 4
        for (int i = 0; i < R::n_slots; ++i) slots[i] = load<V>(rows.slots[i] + at);
        dw += weight_decay * w;
        if constexpr (R::shrinks) w -= shrinkage * w;
        rule(dw, w, slots);
        store(rows.w + at, w);
#pragma GCC unroll 4
        for (int i = 0; i < R::n_slots; ++i) store(rows.slots[i] + at, slots[i]);
    }
};

// The same after the gradient of penalties, of which most trainings have none: out of line and of
// all rules in one, so that the others have no part in it.
template <class T>
struct PenalizedUpdate {
    UpdateStep<T> step;
    ParameterRows<T> rows;

    SAE_INLINE void ask(Index r, Index c) const { __builtin_prefetch(rows.w + r * rows.ld + c, 1); }
    template <class V>
    __attribute__((noinline)) void operator()(Index r, Index c, const V& sum) const {
        const V w = load<V>(rows.w + r * rows.ld + c);
        V dw = sum + step.l1 * sign(w);
        if (step.decay) dw += load<V>(step.decay + c) * w;
        with_rule(step, [&](auto rule) SAE_INLINE_LAMBDA {
            Update<decltype(rule), T>{rule, step.weight_decay, step.shrinkage, rows}(r, c, dw);
        });
    }
};
