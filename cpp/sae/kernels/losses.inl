// SPDX-License-Identifier: BSD-3-Clause
// The losses that compare values one by one, a struct each: their derivative with respect to the
// output a, or where the output's activation is part of them to z, and their sum over a row, whose
// outputs are lost. NaN stays NaN. t are the targets.

// (a - t)^2
struct SquaredError {
    template <class V>
    static SAE_INLINE V delta(V a, V t) {
        return 2 * (a - t);
    }
    template <class T>
    static SAE_INLINE double value(Index n, T* a, const T* t) {
        return sum_float64(n, a, t, [](auto p, auto q) SAE_INLINE_LAMBDA {
            const auto d = p - q;
            return d * d;
        });
    }
};

// -t log s - (1 - t) log(1 - s) of s = sigmoid(z), here z being the output: sigmoid(z) - t, and
// z (1 - t) above zero or -z t below, to which log(1 + exp(-|z|)) is added.
struct BinaryCrossEntropy {
    template <class V>
    static SAE_INLINE V delta(V z, V t) {
        return Sigmoid::forward(z) - t;
    }
    template <class T>
    static SAE_INLINE double value(Index n, T* z, const T* t) {
        return sum_terms(n, z, t, [](Vector<T> zv, Vector<T> tv) SAE_INLINE_LAMBDA {
            const auto above = zv > Vector<T>{};
            const Vector<T> size = above ? zv : -zv;
            return size * (above ? 1 - tv : tv) + logarithm_of_1_plus<T>(exponential<T>(-size));
        });
    }
};

// (a - t)^2 / 2 up to a distance of 1, from there on the distance minus 1/2.
struct Huber {
    template <class V>
    static SAE_INLINE V delta(V a, V t) {
        const V d = a - t, one = constant<V>(1);
        return d > one ? one : d < -one ? -one : d;
    }
    template <class T>
    static SAE_INLINE double value(Index n, T* a, const T* t) {
        return sum_float64(n, a, t, [](auto p, auto q) SAE_INLINE_LAMBDA {
            const auto d = p > q ? p - q : q - p;
            return d > 1 ? d - 0.5 : d * d * 0.5;
        });
    }
};

// |a - t|, at zero without a slope
struct AbsoluteError {
    template <class V>
    static SAE_INLINE V delta(V a, V t) {
        const V d = a - t, one = constant<V>(1);
        return d > V{} ? one : d < V{} ? -one : d;
    }
    template <class T>
    static SAE_INLINE double value(Index n, T* a, const T* t) {
        return sum_float64(n, a, t,
                           [](auto p, auto q) SAE_INLINE_LAMBDA { return p > q ? p - q : q - p; });
    }
};

// a - t log a, where an output that has come down to zero counts as kSmallestMean.
struct Poisson {
    template <class V>
    static SAE_INLINE V delta(V a, V t) {
        return 1 - t / mean(a);
    }
    template <class T>
    static SAE_INLINE double value(Index n, T* a, const T* t) {
        return sum_terms(n, a, t, [](Vector<T> av, Vector<T> tv) SAE_INLINE_LAMBDA {
            return av - tv * logarithm<T>(mean(av));
        });
    }
    template <class V>
    static SAE_INLINE V mean(V a) {
        return a < constant<V>(kSmallestMean) ? constant<V>(kSmallestMean) : a;
    }
};

// Calls f with the struct of a loss.
template <class F>
SAE_INLINE auto with_loss(ValueLoss loss, F&& f) {
    switch (loss) {
#define SAE_CASE(name, Struct) \
    case ValueLoss::name:      \
        return f(Struct{});
        SAE_VALUE_LOSSES(SAE_CASE)
#undef SAE_CASE
    }
    __builtin_unreachable();
}

template <class T>
void loss_delta(ValueLoss loss, Index n, const T* a, const T* t, T* delta) {
    with_loss(loss, [&](auto f) SAE_INLINE_LAMBDA {
        const auto at = [&](Index c) SAE_INLINE_LAMBDA {
            const Vector<T> tv = t ? load<Vector<T>>(t + c) : Vector<T>{};
            return decltype(f)::delta(load<Vector<T>>(a + c), tv);
        };
        Index c = 0;
        for (; c + kLanes<T> <= n; c += kLanes<T>) store(delta + c, at(c));
        if (c < n) store(delta + c, first_lanes<T>(at(c), n - c));
    });
}

template <class T>
double loss_value(ValueLoss loss, Index n, T* a, const T* t) {
    return with_loss(loss, [&](auto f) SAE_INLINE_LAMBDA { return decltype(f)::value(n, a, t); });
}
