// SPDX-License-Identifier: BSD-3-Clause
// The update rules, a struct each: what a step makes of the gradient dw, the parameters w and the
// state that the rule keeps of each, one value a slot. Its numbers of this step come by their
// place. One that `shrinks` weights takes a share of each first (epilogues.inl).

// Both forms of Adam, with what the numerator would be multiplied by taken into the denominator:
//   w -= m / (sqrt(v) * sqrt_v_scale + epsilon)
template <class T>
struct Adam {
    static constexpr bool shrinks = false;
    static constexpr int n_slots = 2;    // m, v
    T one_minus_beta1, one_minus_beta2;  // rounded once: 1 - float(0.999) is off by 1e-5
    T sqrt_v_scale, epsilon;             // over the step's size
    explicit Adam(const T* c)
        : one_minus_beta1(c[0]), one_minus_beta2(c[1]), sqrt_v_scale(c[2]), epsilon(c[3]) {}

    template <class V>
    SAE_INLINE void operator()(V dw, V& w, V* slots) const {
        V m = slots[0], v = slots[1];
        m += one_minus_beta1 * (dw - m);
        v += one_minus_beta2 * (dw * dw - v);
        w -= m / (square_root(v) * sqrt_v_scale + epsilon);
        slots[0] = m, slots[1] = v;
    }
};

// Adam, after w has lost its share.
template <class T>
struct AdamW : Adam<T> {
    static constexpr bool shrinks = true;
    using Adam<T>::Adam;
};

// v = momentum v + dw;  w -= rate_dw dw + rate_v v
template <class T>
struct Sgd {
    static constexpr bool shrinks = false;
    static constexpr int n_slots = 1;  // v
    T momentum, rate_dw, rate_v;
    explicit Sgd(const T* c) : momentum(c[0]), rate_dw(c[1]), rate_v(c[2]) {}

    template <class V>
    SAE_INLINE void operator()(V dw, V& w, V* slots) const {
        const V v = momentum * slots[0] + dw;
        w -= rate_dw * dw + rate_v * v;
        slots[0] = v;
    }
};

// v += (1 - alpha) (dw^2 - v);  w -= rate dw / (sqrt(v) + epsilon)
template <class T>
struct RmsProp {
    static constexpr bool shrinks = false;
    static constexpr int n_slots = 1;  // v
    T one_minus_alpha, rate, epsilon;
    explicit RmsProp(const T* c) : one_minus_alpha(c[0]), rate(c[1]), epsilon(c[2]) {}

    template <class V>
    SAE_INLINE void operator()(V dw, V& w, V* slots) const {
        V v = slots[0];
        v += one_minus_alpha * (dw * dw - v);
        w -= rate * dw / (square_root(v) + epsilon);
        slots[0] = v;
    }
};

// Calls f with the struct of a step's rule.
template <class T, class F>
SAE_INLINE void with_rule(const UpdateStep<T>& step, F&& f) {
    switch (step.rule) {
#define SAE_CASE(name, Struct) \
    case Rule::name:           \
        return f(Struct<T>(step.coefficients));
        SAE_RULES(SAE_CASE)
#undef SAE_CASE
    }
}
