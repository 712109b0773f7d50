# SPDX-License-Identifier: BSD-3-Clause
"""Every kernel of every instruction set and precision against NumPy in float64.

Sizes lie below, at, above and between the kernels' tiles: up to 8 rows and 13 vectors of 4, 8 or
16 elements. An error bound is a few roundings of the sum of the absolute terms, element by element.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference as ref
from helpers import core, core_optimizer
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
ACTIVATIONS = list(_core.Activation)
RULES = list(_core.Rule)
VALUE_LOSSES = [_core.Loss[name] for name in ref.VALUE_LOSSES]
STEP, RATE, DECAY = 40, 0.01, 0.1
FORMS = {"tf1": 0.0, "torch": 1.0}  # of Adam: whether epsilon is added to the corrected root


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


def test_every_activation_and_rule_has_its_oracle():
    assert [f.name for f in ACTIVATIONS] == list(ref.ACTIVATIONS)
    assert [rule.name for rule in RULES] == list(ref.RULES)


def draw_parameters(dtype, shape, rule):
    """Parameters, and the slots of a rule as after some steps: none negative."""
    n_slots = ref.RULES[rule.name][1]
    w, *slots = draw(dtype, *[shape] * (1 + n_slots), seed=1)
    return w, [np.abs(slot) + dtype.type(0.01) for slot in slots]


def assert_step(got, dw, dw_terms, w, slots, rule, dtype, n_roundings, **options):
    """Compare w and the slots after a step with the oracle's in float64.

    What roundings may change, in dw as well, goes into each by its derivative: the oracle is asked
    again with dw and each slot moved by so much, up and down.
    """
    step = ref.RULES[rule.name][0]
    dw, dw_terms, w, *slots = exact(dw, np.asarray(dw_terms), w, *slots)
    eps = n_roundings * np.finfo(dtype).eps
    terms = np.abs(dw) + dw_terms + np.abs(DECAY * w)

    def run(dw, slots):
        new_w, new_slots = step(dw + DECAY * w, w, slots, STEP, RATE, **options)
        return [new_w, *new_slots]

    expected = run(dw, slots)
    limits = [eps * np.abs(value) for value in (w, *slots)]
    for sign in (1, -1):
        moved = [run(dw + sign * eps * terms, slots)]
        for i, slot in enumerate(slots):
            changed = [s + sign * eps * slot * (i == at) for at, s in enumerate(slots)]
            moved.append(run(dw, changed))
        for other in moved:
            limits = [
                limit + np.abs(a - b) for limit, a, b in zip(limits, other, expected, strict=True)
            ]
    new_w, new_slots = got
    for array, value, limit in zip((new_w, *new_slots), expected, limits, strict=True):
        limit = limit + eps * np.abs(value)
        assert array.dtype == dtype
        wrong = ~(np.abs(array.reshape(value.shape) - value) <= limit)
        assert not wrong.any(), f"{wrong.sum()} of {wrong.size} differ"


@pytest.mark.parametrize("f", ACTIVATIONS, ids=lambda f: f.name)
def test_dense_forward(case, f):
    isa, kernels, dtype = case
    for m, n, k in SHAPES:
        x, w, b = draw(dtype, (m, k), (k, n), (n,))
        got = kernels.dense_forward(isa, x, w, b, f)
        x, w, b = exact(x, w, b)
        terms = np.abs(x) @ np.abs(w) + np.abs(b)
        assert_near(got, ref.ACTIVATIONS[f.name][0](x @ w + b), 1 + terms, dtype, k + 4)


@pytest.mark.parametrize("f", ACTIVATIONS, ids=lambda f: f.name)
def test_dense_backward(case, f):
    isa, kernels, dtype = case
    forward, derivative = ref.ACTIVATIONS[f.name]
    for m, n, k in SHAPES:
        delta, w_t, z = draw(dtype, (m, k), (k, n), (m, n))
        a = forward(*exact(z)).astype(dtype)
        got = kernels.dense_backward(isa, delta, w_t, f, a)
        delta, w_t, z = exact(delta, w_t, z)
        terms = np.abs(delta) @ np.abs(w_t)
        assert_near(got, (delta @ w_t) * derivative(z), terms, dtype, k + 4)


def test_a_derivative_of_zero_stops_all(case):
    isa, kernels, dtype = case
    delta, w_t, z = draw(dtype, (5, 7), (7, 33), (5, 33))
    a = np.maximum(z, 0)
    assert not kernels.dense_backward(isa, delta, w_t, _core.Activation.relu, a)[a == 0].any()


@pytest.mark.parametrize("f", ACTIVATIONS, ids=lambda f: f.name)
def test_activate_and_derive(case, f):
    isa, kernels, dtype = case
    forward, derivative = ref.ACTIVATIONS[f.name]
    for m, n, _ in SHAPES:
        z, b, delta = draw(dtype, (m, n), (n,), (m, n))
        z[0, 0] = b[0] = 0
        a = kernels.activate(isa, z, b, f)
        z, b = exact(z, b)
        assert_near(a, forward(z + b), 1 + np.abs(z) + np.abs(b), dtype, 4)
        got = kernels.derive(isa, f, a, delta)
        assert_near(got, delta * derivative(z + b), 4 * np.abs(delta), dtype, 4)


@pytest.mark.parametrize("f", ACTIVATIONS, ids=lambda f: f.name)
def test_an_activation_of_small_and_large_numbers(case, f):
    isa, kernels, dtype = case
    size = np.logspace(-30, 30, 4001).astype(dtype)[None]
    for z in (size, -size):
        a = kernels.activate(isa, z, np.zeros(size.shape[1], dtype), f)
        expected = ref.ACTIVATIONS[f.name][0](*exact(z))
        limits = {"rtol": 8 * np.finfo(dtype).eps, "atol": np.finfo(dtype).tiny}
        np.testing.assert_allclose(a, expected, **limits)


@pytest.mark.parametrize("f", ACTIVATIONS, ids=lambda f: f.name)
def test_an_activation_to_the_last_bits(case, f):
    isa, kernels, dtype = case
    most = -np.log(np.finfo(dtype).tiny)
    z = np.concatenate([np.linspace(-most, most, 50_001), np.linspace(-4, 4, 50_001)])
    z = z.astype(dtype)[None]
    a = kernels.activate(isa, z, np.zeros(z.size, dtype), f)
    expected = ref.ACTIVATIONS[f.name][0](z.astype(np.longdouble))
    limits = {"rtol": 2 * np.finfo(dtype).eps, "atol": np.finfo(dtype).tiny}
    np.testing.assert_allclose(a.astype(np.longdouble), expected, **limits)


@pytest.mark.parametrize("f", ACTIVATIONS, ids=lambda f: f.name)
def test_a_derivative_over_the_whole_range(case, f):
    """From the output, so that it is as good as 1 minus what is nearly 1; never negative."""
    isa, kernels, dtype = case
    size = np.concatenate([np.logspace(-30, 30, 4001), np.linspace(0.01, 100, 4001)]).astype(dtype)
    for z in (size[None], -size[None]):
        a = kernels.activate(isa, z, np.zeros(size.size, dtype), f)
        got = kernels.derive(isa, f, a, np.ones_like(a))
        assert (got >= 0).all()
        np.testing.assert_allclose(
            got, ref.ACTIVATIONS[f.name][1](*exact(z)), atol=4 * np.finfo(dtype).eps
        )


@pytest.mark.parametrize("f", ACTIVATIONS, ids=lambda f: f.name)
def test_an_activation_shows_what_is_not_a_number(case, f):
    """NaN must come through, or divergence would look like a dead unit."""
    isa, kernels, dtype = case
    for n in (1, 8, 17, 105):
        z, b = draw(dtype, (5, n), (n,))
        z[3] = np.nan
        got = kernels.activate(isa, z, b, f)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(z))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_dense_update(case, rule):
    isa, kernels, dtype = case
    optimizer = core_optimizer(rule.name)
    for rows, n, batch in SHAPES:
        x, delta = draw(dtype, (batch, rows), (batch, n))
        w, slots = draw_parameters(dtype, (rows, n), rule)
        got = kernels.dense_update(isa, x, delta, w, slots, optimizer, (STEP, RATE, DECAY))
        x, delta = exact(x, delta)
        terms = np.abs(x).T @ np.abs(delta)
        assert_step(got, x.T @ delta, terms, w, slots, rule, dtype, batch + 8)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_update(case, rule):
    isa, kernels, dtype = case
    optimizer = core_optimizer(rule.name)
    for rows, n, _ in SHAPES:
        (dw,) = draw(dtype, (rows, n))
        w, slots = draw_parameters(dtype, (rows, n), rule)
        got = kernels.update(isa, dw, w, slots, optimizer, (STEP, RATE, DECAY))
        assert_step(got, dw, np.abs(dw), w, slots, rule, dtype, 8)


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_of_adam(case, form):
    isa, kernels, dtype = case
    rule = _core.Rule.adam
    optimizer = core_optimizer("adam", corrected_epsilon=FORMS[form])
    (dw,) = draw(dtype, (5, 17))
    w, slots = draw_parameters(dtype, (5, 17), rule)
    got = kernels.update(isa, dw, w, slots, optimizer, (STEP, RATE, DECAY))
    assert_step(got, dw, np.abs(dw), w, slots, rule, dtype, 8, form=form)


@pytest.mark.parametrize("form", FORMS)
def test_the_first_step_of_adam(case, form):
    """Without moments, 1 - beta is all there is: it must not have been rounded from beta."""
    isa, kernels, dtype = case
    dw, w = draw(dtype, (5, 17), (5, 17))
    none = np.zeros((5, 17), dtype)
    optimizer = core_optimizer("adam", corrected_epsilon=FORMS[form])
    _, (m, v) = kernels.update(isa, dw, w, [none, none], optimizer, (1, RATE, 0.0))
    for array, expected in ((m, (1 - 0.9) * exact(dw)[0]), (v, (1 - 0.999) * exact(dw)[0] ** 2)):
        np.testing.assert_allclose(array, expected, rtol=4 * np.finfo(dtype).eps)


def draw_sparse(dtype, count, n_rows, seed=0):
    """`count` different rows of `n_rows`, in order, with values."""
    rng = np.random.default_rng([seed, count, n_rows])
    index = np.sort(rng.choice(n_rows, count, replace=False)).astype(np.uint32)
    return index, rng.normal(size=count).astype(dtype)


def draw_bytes(count, n_rows, seed=0):
    """A column of bytes, `count` of them not zero; what they stand for is drawn too."""
    rows, _ = draw_sparse("float32", count, n_rows, seed)
    column = np.zeros(n_rows, np.uint8)
    column[rows] = 1 + (np.arange(count) * 37 + seed) % 255
    return column


@pytest.mark.parametrize("packing", ["16 bits", "32 bits", "bytes"])
@pytest.mark.parametrize("f", ACTIVATIONS, ids=lambda f: f.name)
@pytest.mark.parametrize(("count", "n_in"), [(0, 40), (1, 40), (2, 64), (7, 130), (33, 150)])
def test_sparse_forward(case, count, n_in, f, packing):
    isa, kernels, dtype = case
    for n in COLUMNS + WIDE_COLUMNS:
        columns, values = draw_sparse(dtype, count, n_in)
        w, b = draw(dtype, (n_in, n), (n,))
        stored, table = values, None
        if packing == "bytes":
            (table,) = draw(dtype, (256,))
            table[0] = 0
            stored = draw_bytes(count, n_in)
            values = table[stored[columns]]
        got = kernels.sparse_forward(isa, columns, stored, table, packing == "32 bits", w, b, f)
        values, w, b = exact(values, w, b)
        z = values @ w[columns] + b
        terms = np.abs(values) @ np.abs(w[columns]) + np.abs(b)
        assert_near(got[0], ref.ACTIVATIONS[f.name][0](z), 1 + terms, dtype, count + 4)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("count", [0, 1, 2, 7, 33])
def test_sparse_update(case, count, rule):
    isa, kernels, dtype = case
    optimizer = core_optimizer(rule.name)
    for n in COLUMNS + WIDE_COLUMNS:
        rows, values = draw_sparse(dtype, count, 40)
        (delta,) = draw(dtype, (40, n))
        w, slots = draw_parameters(dtype, (1, n), rule)
        step = (STEP, RATE, DECAY)
        got = kernels.sparse_update(isa, rows, values, delta, w, slots, optimizer, step)
        values, delta = exact(values, delta)
        dw, terms = values @ delta[rows], np.abs(values) @ np.abs(delta[rows])
        assert_step(got, dw[None], terms[None], w, slots, rule, dtype, count + 8)


@pytest.mark.parametrize("n_rows", [1, 7, 8, 64, 100, 130])
@pytest.mark.parametrize("n_columns", [1, 3, 63, 64])
def test_update_of_columns_of_bytes(case, n_rows, n_columns):
    """Transposed, then as each column's entries alone, to the bit."""
    isa, kernels, dtype = case
    optimizer, rule, step = core_optimizer("adam"), _core.Rule.adam, (STEP, RATE, DECAY)
    (table,) = draw(dtype, (256,))
    table[0] = 0
    counts = [(37 * column) % (n_rows + 1) for column in range(n_columns)]
    x = np.stack([draw_bytes(count, n_rows, seed) for seed, count in enumerate(counts)], axis=1)
    for n in (1, 17, 100, 209):
        (delta,) = draw(dtype, (n_rows, n))
        w, slots = draw_parameters(dtype, (n_columns, n), rule)
        got_w, got_slots = kernels.byte_update(isa, x, table, delta, w, slots, optimizer, step)
        for column in range(n_columns):
            rows = np.flatnonzero(x[:, column]).astype(np.uint32)
            own = [slot[column : column + 1] for slot in slots]
            entries = rows, table[x[rows, column]]
            expected_w, expected_slots = kernels.sparse_update(
                isa, *entries, delta, w[column : column + 1], own, optimizer, step
            )
            np.testing.assert_array_equal(got_w[column], expected_w[0])
            for got, expected in zip(got_slots, expected_slots, strict=True):
                np.testing.assert_array_equal(got[column], expected[0])


def test_transpose(case):
    isa, kernels, dtype = case
    for m, n, _ in SHAPES:
        (w,) = draw(dtype, (m, n))
        np.testing.assert_array_equal(kernels.transpose(isa, w), w.T)


def draw_outputs(loss, dtype, n):
    """Outputs of a layer, targets that go with the loss, some of them 0, and what it is of them."""
    z, t = draw(dtype, (n,), (n,), seed=2)
    z *= dtype.type(4)
    if loss == _core.Loss.binary_cross_entropy:  # of z
        t = np.clip(np.abs(t) - dtype.type(0.3), 0, 1)
        (big, small), (zs, ts) = exact(np.maximum(z, 0), -np.abs(z)), exact(z, t)
        return z, t, big - zs * ts + np.log1p(np.exp(small)), 1 / (1 + np.exp(-zs)) - ts
    if loss == _core.Loss.poisson:
        z, t = np.exp(z), np.clip(t, 0, None) * 3
    of_values, derivative = ref.VALUE_LOSSES[loss.name]
    return z, t, of_values(*exact(z, t)), derivative(*exact(z, t))


@pytest.mark.parametrize("loss", VALUE_LOSSES, ids=lambda loss: loss.name)
def test_losses(case, loss):
    isa, kernels, dtype = case
    for n in COLUMNS + WIDE_COLUMNS:
        a, t, values, expected = draw_outputs(loss, dtype, n)
        in_t = loss.name in ("binary_cross_entropy", "poisson")  # the others in float64
        terms = np.sum(np.abs(values)) + in_t * np.sum(a * (loss == _core.Loss.poisson))
        eps = np.finfo(dtype if in_t else np.float64).eps
        assert abs(kernels.loss_value(isa, loss, a, t) - np.sum(values)) <= 8 * eps * terms
        delta = kernels.loss_delta(isa, loss, a, t).ravel()
        assert not delta[n:].any()
        scale = 1 + np.abs(expected) + np.abs(a) + np.abs(t)
        assert_near(delta[:n], expected, scale, dtype, 2)
        np.testing.assert_array_equal(
            kernels.loss_delta(isa, loss, a, None), kernels.loss_delta(isa, loss, a, 0 * a)
        )


@pytest.mark.parametrize("loss", VALUE_LOSSES, ids=lambda loss: loss.name)
def test_losses_keep_what_is_not_a_number(case, loss):
    isa, kernels, dtype = case
    a, t, _, _ = draw_outputs(loss, dtype, 19)
    for at, value in ((3, np.nan), (17, np.nan), (3, np.inf), (17, np.inf)):
        bad = a.copy()
        bad[at] = value
        assert not np.isfinite(kernels.loss_value(isa, loss, bad, t + dtype.type(0.01)))
        delta = kernels.loss_delta(isa, loss, bad, t).ravel()
        assert np.isnan(delta[at]) == np.isnan(value)
        assert np.isfinite(np.delete(delta, at)).all()


def test_cross_entropy_where_a_sigmoid_has_no_digits(case):
    isa, kernels, dtype = case
    loss = _core.Loss.binary_cross_entropy
    for z, t, expected in ((90, 1, 0), (90, 0, 90), (-90, 0, 0), (-90, 1, 90), (1e4, 0.25, 7500)):
        z, t = np.array([z], dtype), np.array([t], dtype)
        assert kernels.loss_value(isa, loss, z, t) == pytest.approx(expected, abs=1e-30)


def test_poisson_of_a_mean_that_has_come_down_to_zero(case):
    isa, kernels, dtype = case
    a, t = np.zeros(2, dtype), np.array([0, 3], dtype)
    assert kernels.loss_value(isa, _core.Loss.poisson, a, t) == pytest.approx(90 * np.log(10))
    np.testing.assert_allclose(
        kernels.loss_delta(isa, _core.Loss.poisson, a, t).ravel()[:2], [1, -3e30], rtol=1e-6
    )


def test_logarithms(case):
    """Poisson's, of means that are few beside the counts, so that the logarithm says it all."""
    isa, kernels, dtype = case
    rng, eps = np.random.default_rng(0), np.finfo(dtype).eps
    spread = np.exp(rng.uniform(np.log(1.1e-30), np.log(1e28), 3000))
    near_one = 1 + rng.uniform(-0.4, 0.6, 3000) * 10 ** rng.uniform(-5, 0, 3000)
    edges = [1, 2, 0.5, np.sqrt(0.5), np.sqrt(2), np.nextafter(np.sqrt(2), 1), 1e-30, 1e28]
    for a in np.concatenate([spread, near_one, edges]).astype(dtype)[:, None]:
        t = a * dtype.type(2**24)
        mean, count = np.longdouble(a[0]), np.longdouble(t[0])
        term = count * np.log(mean)
        got = kernels.loss_value(isa, _core.Loss.poisson, a, t)
        # of the logarithm and of the product and difference with it
        assert abs(got - (mean - term)) <= eps * (2 * abs(term) + mean), mean


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
    for loss in (_core.Loss.squared_error, _core.Loss.huber, _core.Loss.absolute_error):
        assert kernels.loss_value(isa, loss, a, x) == kernels.loss_value("baseline", loss, a, x)
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


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [  # those that come with Random123
        ([0] * 4, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([2**32 - 1] * 4, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            0x299F31D0_A4093822,
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_random_bits_known_to_others(case, counter, key, block):
    isa, kernels, _ = case
    group = kernels.random_groups(isa, 1, counter, key).view("<u4")
    assert " ".join(f"{word:08x}" for word in group[[0, 1, 16, 17]]) == block
    assert (ref.philox(np.array([counter]), key)[0] == group[[0, 1, 16, 17]]).all()


def test_random_bits(case):
    isa, kernels, _ = case
    counter, key = [40, 3, 2**32 - 1, 7 << 21], 0x0123456789ABCDEF
    got = kernels.random_groups(isa, 9, counter, key).view("<u4")
    np.testing.assert_array_equal(got, ref.random_groups(9, counter, key).ravel())


def test_normals(case):
    isa, kernels, dtype = case
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, (20_000, 32), dtype=np.uint32)
    ends = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**29, 3 * 2**29 - 1]
    words[0, :16].flat[: len(ends)] = words[1, 16:].flat[: len(ends)] = ends
    words[2, 16:].flat[: len(ends)] = ends
    got = kernels.normals(isa, words.ravel())
    expected = ref.normals(words).ravel()
    # near 1 a uniform number of 24 bits says little of the root of its logarithm
    limit = {"float32": 4e-4, "float64": 4e-15}[dtype.name]
    assert np.abs(got - expected).max() < limit
    assert np.median(np.abs(got - expected)) < np.finfo(dtype).eps


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
    relu = _core.Activation.relu
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
            kernels.dense_forward(isa, x, w, b, relu)[3],
            kernels.sparse_forward(isa, columns, x[3], None, False, w, b, relu)[0],
            kernels.activate(isa, z, b, relu)[3],
        ):
            np.testing.assert_array_equal(got, np.full(n, value, dtype))
        assert np.isfinite(kernels.dense_forward(isa, x, w, b, relu)[[0, 1, 2, 4]]).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("kernel", ["update", "dense_update", "sparse_update"])
def test_an_update_shows_nan(case, kernel, rule):
    isa, kernels, dtype = case
    w, slots = draw_parameters(dtype, (1, 9), rule)
    delta = np.ones((1, 9), dtype)
    delta[0, 4] = np.nan
    one = np.ones((1, 1), dtype)
    sources = {
        "update": (delta,),
        "dense_update": (one, delta),
        "sparse_update": (np.zeros(1, np.uint32), one[0], delta),
    }
    optimizer = core_optimizer(rule.name)
    update = getattr(kernels, kernel)
    new_w, new_slots = update(isa, *sources[kernel], w, slots, optimizer, (STEP, RATE, 0.0))
    for array in (new_w, *new_slots):
        np.testing.assert_array_equal(np.isnan(array), np.isnan(delta))


def test_the_way_through_a_tile_has_no_influence(case):
    """Any rows, any columns next to it: an element keeps its bits (cpp/sae/kernels/kernels.hpp)."""
    isa, kernels, dtype = case
    linear = _core.Activation.linear
    x, w, b = draw(dtype, (24, 33), (33, 209), (209,))
    whole = kernels.dense_forward(isa, x, w, b, linear)
    columns = np.arange(33, dtype=np.uint32)
    for m, n in ((1, 209), (3, 17), (5, 100), (8, 8), (24, 1)):
        part = kernels.dense_forward(isa, x[:m], w[:, :n].copy(), b[:n], linear)
        np.testing.assert_array_equal(part, whole[:m, :n])
        by_sparse = kernels.sparse_forward(
            isa, columns, x[m - 1], None, False, w[:, :n].copy(), b[:n], linear
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
        core("kernels", "float32").dot("mmx", a, a)


def test_what_penalties_need(case):
    isa, kernels, dtype = case
    n_roundings = 40
    for m, n in itertools.product((1, 2, 9), (1, 5, 16, 17, 33)):
        w, delta, linear, squared = draw(dtype, (m, n), (m, n), (1, n), (1, n))
        weights = np.abs(draw(dtype, (m, 1), seed=2)[0]).ravel()
        squares = exact(w)[0] ** 2
        assert_near(kernels.column_squares(isa, w), squares.sum(0), squares.sum(0), dtype, m + 2)
        norms = np.sqrt(squares.sum(axis=0))
        most = float(dtype.type(np.median(norms)))
        expected = exact(w)[0] * np.minimum(1, most / norms)
        assert_near(kernels.limit_norms(isa, w, most), expected, np.abs(w), dtype, m + 6)
        for f in ACTIVATIONS:
            z, curvature = exact(w)[0], ref.CURVATURES[f.name]
            a = ref.ACTIVATIONS[f.name][0](z).astype(dtype)
            slope = ref.ACTIVATIONS[f.name][1](z)
            for given, factor in ((None, np.ones(m)), (weights, exact(weights)[0])):
                terms = factor[:, None] * slope**2
                found = kernels.slope_squares(isa, f, a, given)
                assert_near(found, terms.sum(0), terms.sum(0) + 1e-3, dtype, n_roundings)
                parts = [
                    factor[:, None] * np.abs(slope) * part
                    for part in (0.3, np.abs(linear), 2 * np.abs(squared * curvature(z)) + 0.1)
                ]
                added = slope * (0.3 * np.sign(a) + linear) + 2 * squared * slope * curvature(z)
                found = kernels.penalize(isa, f, a, given, 0.3, linear, squared, delta)
                expected = exact(delta)[0] + factor[:, None] * added
                assert_near(found, expected, np.abs(delta) + sum(parts) + 0.1, dtype, n_roundings)
