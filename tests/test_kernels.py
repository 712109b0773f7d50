# SPDX-License-Identifier: BSD-3-Clause
"""Every kernel of every instruction set and precision against NumPy in float64.

Sizes lie below, at, above and between the kernels' tiles: up to 8 rows and 13 vectors of 4, 8 or
16 elements. An error bound is a few roundings of the sum of the absolute terms, element by element.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import core
from sae_fast import _core

ISAS = ("baseline", "avx2", "avx512")
DTYPES = ("float32", "float64")
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 24)
COLUMNS = (1, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33, 50)
WIDE_COLUMNS = (100, 104, 105, 112, 209)
INNER = (1, 2, 7, 33)
# all columns with some rows, all rows with some columns, each with an inner size in turn
SHAPES = [
    (m, n, k)
    for (m, n), k in zip(
        [
            *itertools.product((1, 5, 8), COLUMNS + WIDE_COLUMNS),
            *itertools.product(ROWS, (1, 8, 17, 25, 48, 105)),
        ],
        itertools.cycle(INNER),
        strict=False,
    )
]
ADAM = {  # beta1, beta2, step_size, sqrt_v_scale, epsilon, weight_decay
    "tf1": (0.9, 0.999, 3e-4, 1.0, 1e-8, 0.0),
    "torch": (0.9, 0.999, 1e-2, 31.6, 1e-8, 0.1),
}


@pytest.fixture(params=[f"{isa}-{dtype}" for isa in ISAS for dtype in DTYPES])
def case(request):
    """Give the name of an instruction set, the module of kernels, and the precision."""
    isa, dtype = request.param.split("-")
    if isa not in _core.build_config()["available_isas"]:
        pytest.skip(f"this processor or build has no {isa}")
    return isa, core("kernels", dtype), np.dtype(dtype)


def draw(dtype, *shapes, seed=0):
    """Normal arrays in `dtype`."""
    rng = np.random.default_rng([seed, *itertools.chain(*shapes)])
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def exact(*arrays):
    return [array.astype(np.float64) for array in arrays]


def assert_near(got, expected, terms, dtype, n_roundings):
    """`terms`: the sum of the absolute values that were added up for each element."""
    assert got.dtype == dtype
    got = np.asarray(got, np.float64).reshape(np.shape(expected))
    limit = n_roundings * np.finfo(dtype).eps * terms
    wrong = ~(np.abs(got - expected) <= limit)
    assert not wrong.any(), (
        f"{wrong.sum()} of {wrong.size} differ, first at {np.argwhere(wrong)[0]}"
    )


def adam_in_numpy(dw, w, m, v, coefficients):
    beta1, beta2, step_size, sqrt_v_scale, epsilon, weight_decay = coefficients
    dw = dw + weight_decay * w
    m = beta1 * m + (1 - beta1) * dw
    v = beta2 * v + (1 - beta2) * dw**2
    return w - step_size * m / (np.sqrt(v) * sqrt_v_scale + epsilon), m, v


def draw_adam(dtype, shape):
    """Parameters, and moments as after some steps."""
    w, m, v = draw(dtype, shape, shape, shape, seed=1)
    return w, m, np.abs(v) + dtype.type(0.01)


def assert_adam(got, dw, dw_terms, w, m, v, coefficients, dtype, n_roundings):
    """Compare w, m and v after a step; what the sum dw may be off goes into each in its share."""
    beta1, beta2, step_size, sqrt_v_scale, epsilon, weight_decay = coefficients
    dw, dw_terms, w, m, v = exact(dw, np.asarray(dw_terms), w, m, v)
    new_w, new_m, new_v = adam_in_numpy(dw, w, m, v, coefficients)
    dw_terms = np.abs(dw) + dw_terms + np.abs(weight_decay * w)
    m_terms = np.abs(m) + (1 - beta1) * dw_terms
    v_terms = v + (1 - beta2) * dw_terms**2
    root = np.sqrt(new_v) * sqrt_v_scale + epsilon
    w_terms = np.abs(w) + step_size * (m_terms / root + np.abs(new_m) / root * v_terms / new_v)
    for array, expected, terms in zip(
        got, (new_w, new_m, new_v), (w_terms, m_terms, v_terms), strict=True
    ):
        assert_near(array, expected, terms, dtype, n_roundings)


@pytest.mark.parametrize("relu", [True, False])
def test_dense_forward(case, relu):
    isa, kernels, dtype = case
    for m, n, k in SHAPES:
        x, w, b = draw(dtype, (m, k), (k, n), (n,))
        got = kernels.dense_forward(isa, x, w, b, relu)
        x, w, b = exact(x, w, b)
        z = x @ w + b
        terms = np.abs(x) @ np.abs(w) + np.abs(b)
        assert_near(got, np.maximum(z, 0) if relu else z, terms, dtype, k + 2)


def test_dense_backward(case):
    isa, kernels, dtype = case
    for m, n, k in SHAPES:
        delta, w_t, z = draw(dtype, (m, k), (k, n), (m, n))
        a = np.maximum(z, 0)
        got = kernels.dense_backward(isa, delta, w_t, a)
        delta, w_t = exact(delta, w_t)
        terms = np.abs(delta) @ np.abs(w_t)
        assert_near(got, (delta @ w_t) * (a > 0), terms, dtype, k + 2)
        assert not got[a == 0].any()


@pytest.mark.parametrize("adam", ADAM.values(), ids=ADAM)
def test_dense_update(case, adam):
    isa, kernels, dtype = case
    for rows, n, batch in SHAPES:
        x, delta = draw(dtype, (batch, rows), (batch, n))
        w, m, v = draw_adam(dtype, (rows, n))
        got = kernels.dense_update(isa, x, delta, w, m, v, adam)
        x, delta = exact(x, delta)
        terms = np.abs(x).T @ np.abs(delta)
        assert_adam(got, x.T @ delta, terms, w, m, v, adam, dtype, batch + 8)


@pytest.mark.parametrize("adam", ADAM.values(), ids=ADAM)
def test_adam_update(case, adam):
    isa, kernels, dtype = case
    for rows, n, _ in SHAPES:
        (dw,) = draw(dtype, (rows, n))
        w, m, v = draw_adam(dtype, (rows, n))
        got = kernels.adam_update(isa, dw, w, m, v, adam)
        assert_adam(got, dw, np.abs(dw), w, m, v, adam, dtype, 8)


@pytest.mark.parametrize("adam", ADAM.values(), ids=ADAM)
def test_the_first_step_of_adam(case, adam):
    """Without moments, 1 - beta is all there is: it must not have been rounded from beta."""
    isa, kernels, dtype = case
    dw, w = draw(dtype, (5, 17), (5, 17))
    none = np.zeros((5, 17), dtype)
    got = kernels.adam_update(isa, dw, w, none, none, adam)
    assert_adam(got, dw, np.abs(dw), w, none, none, adam, dtype, 8)


def draw_sparse(dtype, count, n_rows, seed=0):
    """`count` different rows of `n_rows`, in order, with values."""
    rng = np.random.default_rng([seed, count, n_rows])
    index = np.sort(rng.choice(n_rows, count, replace=False)).astype(np.uint32)
    return index, rng.normal(size=count).astype(dtype)


@pytest.mark.parametrize("packing", ["16 bits", "32 bits", "bytes"])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 33])
def test_sparse_forward(case, count, relu, packing):
    isa, kernels, dtype = case
    for n in COLUMNS + WIDE_COLUMNS:
        columns, values = draw_sparse(dtype, count, 40)
        w, b = draw(dtype, (40, n), (n,))
        stored, table = values, None
        if packing == "bytes":
            (table,) = draw(dtype, (256,))
            stored = np.arange(count, dtype=np.uint8) + np.uint8(200)
            values = table[stored]
        got = kernels.sparse_forward(isa, columns, stored, table, packing == "32 bits", w, b, relu)
        values, w, b = exact(values, w, b)
        z = values @ w[columns] + b
        terms = np.abs(values) @ np.abs(w[columns]) + np.abs(b)
        assert_near(got, np.maximum(z, 0) if relu else z, terms, dtype, count + 2)


@pytest.mark.parametrize("adam", ADAM.values(), ids=ADAM)
@pytest.mark.parametrize("count", [0, 1, 2, 7, 33])
def test_sparse_update(case, count, adam):
    isa, kernels, dtype = case
    for n in COLUMNS + WIDE_COLUMNS:
        rows, values = draw_sparse(dtype, count, 40)
        (delta,) = draw(dtype, (40, n))
        w, m, v = draw_adam(dtype, (1, n))
        got = kernels.sparse_update(isa, rows, values, delta, w, m, v, adam)
        values, delta = exact(values, delta)
        dw, terms = values @ delta[rows], np.abs(values) @ np.abs(delta[rows])
        assert_adam(got, dw[None], terms[None], w, m, v, adam, dtype, count + 8)


@pytest.mark.parametrize("relu", [True, False])
def test_bias_activation(case, relu):
    isa, kernels, dtype = case
    for m, n, _ in SHAPES:
        z, b = draw(dtype, (m, n), (n,))
        expected = z + b  # one rounding, the same one
        got = kernels.bias_activation(isa, z, b, relu)
        np.testing.assert_array_equal(got, np.maximum(expected, 0) if relu else expected)
        assert got.dtype == dtype


def test_relu_mask(case):
    isa, kernels, dtype = case
    for m, n, _ in SHAPES:
        z, delta = draw(dtype, (m, n), (m, n))
        z[0, 0] = 0  # the ReLU's gradient at 0 is 0
        a = np.maximum(z, 0)
        np.testing.assert_array_equal(kernels.relu_mask(isa, a, delta), np.where(a > 0, delta, 0))


def test_transpose(case):
    isa, kernels, dtype = case
    for m, n, _ in SHAPES:
        (w,) = draw(dtype, (m, n))
        np.testing.assert_array_equal(kernels.transpose(isa, w), w.T)


def test_squared_error(case):
    isa, kernels, dtype = case
    for n in COLUMNS + WIDE_COLUMNS:
        a, x = draw(dtype, (n,), (n,))
        expected = np.sum((a.astype(np.float64) - x) ** 2)
        assert kernels.squared_error(isa, a, x) == pytest.approx(expected, rel=1e-13)
        delta = kernels.squared_error_delta(isa, a, x)
        np.testing.assert_array_equal(delta.ravel(), 2 * (a - x))


def test_dot(case):
    isa, kernels, dtype = case
    for n in COLUMNS + WIDE_COLUMNS:
        a, x = exact(*(stored := draw(dtype, (n,), (n,))))
        assert kernels.dot(isa, *stored) == pytest.approx(
            np.sum(a * x), abs=1e-15 * n * np.sum(np.abs(a * x))
        )


def test_sums_in_float64_are_the_same_on_every_instruction_set(case):
    isa, kernels, dtype = case
    a, x = draw(dtype, (209,), (209,))
    assert kernels.squared_error(isa, a, x) == kernels.squared_error("baseline", a, x)
    if dtype == np.float32:  # whose products are exact in float64
        assert kernels.dot(isa, a, x) == kernels.dot("baseline", a, x)


def test_multiply_adds_counts_its_operations(case):
    isa, kernels, dtype = case
    lanes = {"baseline": 16, "avx2": 32, "avx512": 64}[isa] // dtype.itemsize
    assert kernels.multiply_adds(isa, 7) == 7 * 12 * 2 * lanes


def test_gram(case):
    isa, kernels, dtype = case
    for m, n, _ in SHAPES:
        (h,) = draw(dtype, (m, n))
        got = kernels.gram(isa, h)
        (h,) = exact(h)
        upper = np.triu_indices(n)
        terms = np.abs(h).T @ np.abs(h)
        assert_near(got[upper], (h.T @ h)[upper], terms[upper], dtype, m + 2)


def test_exp_shifted(case):
    isa, kernels, dtype = case
    lowest = -87.3 if dtype == np.float32 else -708.3
    x = np.concatenate([np.linspace(lowest, 0, 20_001), -np.logspace(-12, 1, 999)]).astype(dtype)
    got = kernels.exp_shifted(isa, x, dtype.type(0)).ravel()[: x.size]
    expected = np.exp(x.astype(np.longdouble))  # on some systems no wider than float64
    error = np.abs(got.astype(np.longdouble) - expected) / expected
    assert error.max() < 1.5 * np.finfo(dtype).eps


@pytest.mark.parametrize("n", [1, 5, 8, 10, 16, 17, 33])
def test_exp_shifted_leaves_the_padding_zero(case, n):
    isa, kernels, dtype = case
    (z,) = draw(dtype, (n,))
    got = kernels.exp_shifted(isa, z, z.max()).ravel()
    np.testing.assert_allclose(got[:n], np.exp(z - z.max()), rtol=4 * np.finfo(dtype).eps)
    assert not got[n:].any()


def test_exp_shifted_at_the_ends(case):
    isa, kernels, dtype = case
    z = np.array([0, -1e4, -np.inf, np.nan, 3, -88, -104, -709, -750], dtype)
    with np.errstate(under="ignore"):
        expected = np.exp(z.astype(np.longdouble)).astype(dtype)
    expected[np.abs(expected) < np.finfo(dtype).tiny] = 0
    expected[3] = np.nan
    got = kernels.exp_shifted(isa, z, dtype.type(0)).ravel()[: z.size]
    np.testing.assert_allclose(got, expected, rtol=2 * np.finfo(dtype).eps)
    assert got[0] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_relu_shows_what_is_not_finite(case, value):
    """NaN must come through, or divergence would look like a dead unit."""
    isa, kernels, dtype = case
    for n in (1, 8, 17, 105):
        x, w, b = draw(dtype, (5, 3), (3, n), (n,))
        b = np.abs(b)
        x[3] = np.abs(x[3])
        w = np.abs(w)
        x[3, 1] = value
        z = np.abs(draw(dtype, (5, n))[0])
        z[3] = value
        columns = np.arange(3, dtype=np.uint32)
        for got in (
            kernels.dense_forward(isa, x, w, b, True)[3],
            kernels.sparse_forward(isa, columns, x[3], None, False, w, b, True)[0],
            kernels.bias_activation(isa, z, b, True)[3],
        ):
            np.testing.assert_array_equal(got, np.full(n, value, dtype))
        assert np.isfinite(kernels.dense_forward(isa, x, w, b, True)[[0, 1, 2, 4]]).all()


@pytest.mark.parametrize("kernel", ["adam_update", "dense_update", "sparse_update"])
def test_an_update_shows_nan(case, kernel):
    isa, kernels, dtype = case
    w, m, v = draw_adam(dtype, (1, 9))
    delta = np.ones((1, 9), dtype)
    delta[0, 4] = np.nan
    one = np.ones((1, 1), dtype)
    sources = {
        "adam_update": (delta,),
        "dense_update": (one, delta),
        "sparse_update": (np.zeros(1, np.uint32), one[0], delta),
    }
    for array in getattr(kernels, kernel)(isa, *sources[kernel], w, m, v, ADAM["tf1"]):
        np.testing.assert_array_equal(np.isnan(array), np.isnan(delta))


def test_the_way_through_a_tile_has_no_influence(case):
    """Any rows, any columns next to it: an element keeps its bits (cpp/sae/kernels/kernels.hpp)."""
    isa, kernels, dtype = case
    x, w, b = draw(dtype, (24, 33), (33, 209), (209,))
    whole = kernels.dense_forward(isa, x, w, b, False)
    columns = np.arange(33, dtype=np.uint32)
    for m, n in ((1, 209), (3, 17), (5, 100), (8, 8), (24, 1)):
        part = kernels.dense_forward(isa, x[:m], w[:, :n].copy(), b[:n], False)
        np.testing.assert_array_equal(part, whole[:m, :n])
        by_sparse = kernels.sparse_forward(
            isa, columns, x[m - 1], None, False, w[:, :n].copy(), b[:n], False
        )
        np.testing.assert_array_equal(by_sparse[0], whole[m - 1, :n])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_gemm(transpose_a, transpose_b, dtype):
    dtype = np.dtype(dtype)
    for m, n, k in [*SHAPES[::5], (33, 300, 257), (257, 33, 300)]:
        a, b = draw(dtype, (m, k), (k, n))
        stored_a = a.T.copy() if transpose_a else a
        stored_b = b.T.copy() if transpose_b else b
        got = core("kernels", dtype.name).gemm(transpose_a, transpose_b, stored_a, stored_b)
        a, b = exact(a, b)
        assert_near(got, a @ b, np.abs(a) @ np.abs(b), dtype, k + 2)


def test_unknown_instruction_set():
    a = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"'mmx' is unknown.*baseline"):
        core("kernels", "float32").squared_error("mmx", a, a)
