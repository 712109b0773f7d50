// SPDX-License-Identifier: BSD-3-Clause
// exp and log(1 + t) of our own: the same bits whatever C library there is, errors about the last
// bit: exp's below 0.9 of it.

// The constants of exp: x = k ln 2 + r with |r| <= ln 2 / 2, exp(x) = 2^k exp(r), and exp(r) by its
// Taylor series, whose first term left out is below a tenth of the last bit. ln 2 comes in two
// parts, so that k times the first is exact.
template <class T>
struct Exponential;
template <>
struct Exponential<float> {
    static constexpr float smallest = -87.33654f;  // exp of it is the smallest normal number
    static constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr int terms = 7, log_terms = 7, mantissa = 23, bias = 127;
};
template <>
struct Exponential<double> {
    static constexpr double smallest = -708.39641853226408;
    static constexpr double rounder = 6755399441055744.0;
    static constexpr double ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
    static constexpr int terms = 13, log_terms = 15, mantissa = 52, bias = 1023;
};

// exp(x) - 1 = 2^k (r q) + (2^k - 1), by the parts that exp(x) = 2^k (r q + 1) is made of too.
template <class T>
struct ExponentialParts {
    Vector<T> power, r, q;  // 2^k, r, (exp(r) - 1) / r

    explicit SAE_INLINE ExponentialParts(Vector<T> x) {
        using E = Exponential<T>;
        const Vector<T> shifted = x * T(1.4426950408889634) + E::rounder;  // k in its last bits
        const Vector<T> k = shifted - E::rounder;
        r = (x - k * E::ln2_high) - k * E::ln2_low;
        T factorial = 1;
        for (int i = 2; i <= E::terms; ++i) factorial *= T(i);
        q = Vector<T>{} + 1 / factorial;
#pragma GCC unroll 16
        for (int i = E::terms - 1; i > 0; --i) {
            factorial /= T(i + 1);
            q = q * r + 1 / factorial;
        }
        const Bits<T> exponent = Bits<T>(shifted) - Bits<T>(Vector<T>{} + E::rounder) + E::bias;
        power = Vector<T>(exponent << E::mantissa);
    }
};

template <class T>
SAE_INLINE Vector<T> exponential(Vector<T> x) {
    const ExponentialParts<T> e(x);
    const Vector<T> result = (e.q * e.r + 1) * e.power;
    return x < Exponential<T>::smallest ? Vector<T>{} : result;  // NaN stays NaN
}

// exp(x) - 1 for x <= 0, near zero too to the last bits.
template <class T>
SAE_INLINE Vector<T> exponential_minus_1(Vector<T> x) {
    const ExponentialParts<T> e(x);
    const Vector<T> result = e.power * (e.q * e.r) + (e.power - 1);
    return x < Exponential<T>::smallest ? Vector<T>{} - 1 : result;
}

// log(1 + t) for 0 <= t <= 1: with s = t / (2 + t) it is 2 s + 2 s^3/3 + 2 s^5/5 + ..., whose first
// term is t - s t.
template <class T>
SAE_INLINE Vector<T> logarithm_of_1_plus(Vector<T> t) {
    const Vector<T> s = t / (t + 2), square = s * s;
    Vector<T> rest = {};
#pragma GCC unroll 16
    for (int i = Exponential<T>::log_terms; i > 0; --i) rest = rest * square + T(2) / T(2 * i + 1);
    return t - s * (t - square * rest);
}

// log(x) of a normal x above 0: x = 2^k m with m from sqrt(1/2) to sqrt(2).
template <class T>
SAE_INLINE Vector<T> logarithm(Vector<T> x) {
    using E = Exponential<T>;
    const Bits<T> root = Bits<T>(constant<Vector<T>>(0.70710678118654752));
    const Bits<T> moved = Bits<T>(x) + (Bits<T>(constant<Vector<T>>(1)) - root);
    const Bits<T> shifted = Bits<T>(constant<Vector<T>>(E::rounder)) + (moved >> E::mantissa);
    const Vector<T> k = Vector<T>(shifted) - (E::rounder + T(E::bias));
    const Vector<T> m = Vector<T>((moved & (((Bits<T>{} + 1) << E::mantissa) - 1)) + root);
    return k * E::ln2_high + (logarithm_of_1_plus<T>(m - 1) + k * E::ln2_low);
}

template <class T>
void exp_shifted(Index n, const T* z, T largest, T* p) {
    for (Index c = 0; c < n; c += kLanes<T>) {
        const Vector<T> value = exponential<T>(load<Vector<T>>(z + c) - largest);
        store(p + c, first_lanes<T>(value, n - c));
    }
}
