// SPDX-License-Identifier: BSD-3-Clause
// What penalties need beside the update: sums of columns, down the rows in their order, and what
// codes add to their delta.

// The sum of f(row) over the rows, a vector of columns.
template <class T, class F>
SAE_INLINE Vector<T> sum_of_rows(Index rows, const F& f) {
    Vector<T> sum = {};
    for (Index r = 0; r < rows; ++r) sum += f(r);
    return sum;
}

template <class T>
SAE_INLINE Vector<T> squares_of_columns(View<const T> w, Index c) {
    return sum_of_rows<T>(w.rows, [&](Index r) SAE_INLINE_LAMBDA {
        const auto x = load<Vector<T>>(&w(r, c));
        return x * x;
    });
}

template <class T>
void column_squares(View<const T> w, T* sums) {
    for (Index c = 0; c < w.cols; c += kLanes<T>) store(sums + c, squares_of_columns(w, c));
}

template <class T>
void slope_squares(Activation activation, View<const T> a, const T* weights, T* sums) {
    with_activation(activation, [&](auto f) SAE_INLINE_LAMBDA {
        for (Index c = 0; c < a.cols; c += kLanes<T>) {
            const auto weighted = [&](Index r) SAE_INLINE_LAMBDA {
                const Vector<T> slope = decltype(f)::derivative(load<Vector<T>>(&a(r, c)));
                return (weights ? weights[r] : T(1)) * (slope * slope);
            };
            store(sums + c, sum_of_rows<T>(a.rows, weighted));
        }
    });
}

template <class T>
void penalize(Activation activation, View<const T> a, const T* weights,
              const CodePenalty<T>& penalty, View<T> delta) {
    with_activation(activation, [&](auto f) SAE_INLINE_LAMBDA {
        using F = decltype(f);
        for (Index r = 0; r < a.rows; ++r) {
            const T weight = weights ? weights[r] : T(1);
            for (Index c = 0; c < a.cols; c += kLanes<T>) {
                const auto code = load<Vector<T>>(&a(r, c));
                const Vector<T> by_code =
                    penalty.l1 * sign(code) + load<Vector<T>>(penalty.linear + c);
                const Vector<T> by_slope =
                    2 * load<Vector<T>>(penalty.squared + c) * F::second_derivative(code);
                const Vector<T> added = F::derivative(code) * (by_code + by_slope);
                store(&delta(r, c), load<Vector<T>>(&delta(r, c)) + weight * added);
            }
        }
    });
}

template <class T>
void limit_norms(View<T> w, T most) {
    for (Index c = 0; c < w.cols; c += kLanes<T>) {
        const Vector<T> norm = square_root(squares_of_columns<T>(w, c));
        bool within = true;
        for (Index i = 0; i < kLanes<T>; ++i) within = within && !(norm[i] > most);
        if (within) continue;
        const Vector<T> factor = norm > Vector<T>{} + most ? most / norm : constant<Vector<T>>(1);
        for (Index r = 0; r < w.rows; ++r) {
            store(&w(r, c), load<Vector<T>>(&w(r, c)) * factor);
        }
    }
}
