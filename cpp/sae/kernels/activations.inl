// SPDX-License-Identifier: BSD-3-Clause
// The activations, a struct each: a = forward(z), d a / d z as derivative(a) and the derivative of
// that by z as second_derivative(a), from the output alone. Those that are `fused` end a product
// while its sums are in registers; the others take a second pass over what it wrote. NaN stays NaN,
// so that divergence is seen.

struct Linear {
    static constexpr bool fused = true;
    template <class V>
    static SAE_INLINE V forward(V z) {
        return z;
    }
    template <class V>
    static SAE_INLINE V derivative(V) {
        return constant<V>(1);
    }
    template <class V>
    static SAE_INLINE V second_derivative(V) {
        return V{};
    }
};

struct Relu {
    static constexpr bool fused = true;
    template <class V>
    static SAE_INLINE V forward(V z) {
        return z < V{} ? V{} : z;
    }
    template <class V>
    static SAE_INLINE V derivative(V a) {
        return a > V{} ? constant<V>(1) : V{};
    }
    template <class V>
    static SAE_INLINE V second_derivative(V) {
        return V{};
    }
};

// PyTorch's slope.
struct LeakyRelu {
    static constexpr bool fused = true;
    static constexpr double slope = 0.01;
    template <class V>
    static SAE_INLINE V forward(V z) {
        return z < V{} ? z * constant<V>(slope) : z;
    }
    template <class V>
    static SAE_INLINE V derivative(V a) {
        return a > V{} ? constant<V>(1) : constant<V>(slope);
    }
    template <class V>
    static SAE_INLINE V second_derivative(V) {
        return V{};
    }
};

// scale z above 0, else scale alpha (e^z - 1).
template <class F>
struct ExponentialLinear {
    static constexpr bool fused = false;
    template <class V>
    static SAE_INLINE V forward(V z) {
        using T = std::decay_t<decltype(z[0])>;
        return z > V{} ? constant<V>(F::scale) * z
                       : constant<V>(F::scale * F::alpha) * exponential_minus_1<T>(z);
    }
    template <class V>
    static SAE_INLINE V derivative(V a) {
        return a > V{} ? constant<V>(F::scale) : a + constant<V>(F::scale * F::alpha);
    }
    template <class V>
    static SAE_INLINE V second_derivative(V a) {
        return a > V{} ? V{} : derivative(a);
    }
};

struct Elu : ExponentialLinear<Elu> {
    static constexpr double scale = 1, alpha = 1;
};

// The paper's numbers, by which means of 0 and variances of 1 stay so from layer to layer.
struct Selu : ExponentialLinear<Selu> {
    static constexpr double scale = 1.0507009873554805, alpha = 1.6732632423543772;
};

// Below the smallest normal number zero.
struct Sigmoid {
    static constexpr bool fused = false;
    template <class V>
    static SAE_INLINE V forward(V z) {
        using T = std::decay_t<decltype(z[0])>;
        const V t = exponential<T>(z < V{} ? z : -z);  // exp(-|z|)
        return (z < V{} ? t : constant<V>(1)) / (t + 1);
    }
    template <class V>
    static SAE_INLINE V derivative(V a) {
        return a * (constant<V>(1) - a);
    }
    template <class V>
    static SAE_INLINE V second_derivative(V a) {
        return derivative(a) * (constant<V>(1) - 2 * a);
    }
};

struct Tanh {
    static constexpr bool fused = false;
    template <class V>
    static SAE_INLINE V forward(V z) {
        using T = std::decay_t<decltype(z[0])>;
        const V t = exponential_minus_1<T>(z < V{} ? z + z : -(z + z));
        const V a = t / (t + 2);  // -tanh |z|
        return z < V{} ? a : -a;
    }
    template <class V>
    static SAE_INLINE V derivative(V a) {
        return constant<V>(1) - a * a;
    }
    template <class V>
    static SAE_INLINE V second_derivative(V a) {
        return -2 * a * derivative(a);
    }
};

// log(1 + e^z); below the smallest normal number zero.
struct Softplus {
    static constexpr bool fused = false;
    template <class V>
    static SAE_INLINE V forward(V z) {
        using T = std::decay_t<decltype(z[0])>;
        const V t = exponential<T>(z < V{} ? z : -z);  // exp(-|z|)
        return (z > V{} ? z : V{}) + logarithm_of_1_plus<T>(t);
    }
    template <class V>
    static SAE_INLINE V derivative(V a) {
        using T = std::decay_t<decltype(a[0])>;
        return -exponential_minus_1<T>(-a);
    }
    template <class V>
    static SAE_INLINE V second_derivative(V a) {
        return derivative(a) * (constant<V>(1) - derivative(a));
    }
};

// What is left of a row by keep_largest(): units that it made zero, and the rare kept ones that are
// exactly zero, pass nothing back.
struct TopK {
    static constexpr bool fused = true;
    template <class V>
    static SAE_INLINE V forward(V z) {
        return z;
    }
    template <class V>
    static SAE_INLINE V derivative(V a) {
        return a == V{} ? V{} : constant<V>(1);
    }
    template <class V>
    static SAE_INLINE V second_derivative(V) {
        return V{};
    }
};

// Calls f with the struct of an activation.
template <class F>
SAE_INLINE void with_activation(Activation activation, F&& f) {
    switch (activation) {
#define SAE_CASE(name, Struct) \
    case Activation::name:     \
        return f(Struct{});
        SAE_ACTIVATIONS(SAE_CASE)
#undef SAE_CASE
    }
}
