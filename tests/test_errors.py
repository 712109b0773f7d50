# SPDX-License-Identifier: BSD-3-Clause
"""What users get wrong: an error that names the argument, what came and what was expected.

And after it nothing has changed.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import sae_fast
from helpers import (
    assert_identical,
    draw_batches,
    draw_x,
    draw_y,
    output_of,
    peak_memory,
    with_value,
)
from sae_fast import (
    Autoencoder,
    DataError,
    DivergenceError,
    SaeFastError,
    StackedAutoencoder,
    run_experiment,
    run_reconstruction,
)
from scipy import sparse

N, N_FEATURES, N_CLASSES = 40, 12, 3
X, Y = draw_x(N, N_FEATURES, zeros=0.5), draw_y(N, N_CLASSES)


def with_label(value, at=23, dtype=np.int64):
    y = Y.astype(dtype)
    y[at] = value
    return y


def csr_with_value(value):
    """NaN or infinity among the non-zeros of row 17."""
    return sparse.csr_array(with_value(X, value))


class Fit:
    """Train an autoencoder."""

    def __init__(self, dtype="float32", init="data"):
        self.model = Autoencoder(N_FEATURES, 4, init=init, dtype=dtype, n_threads=1)

    def __call__(self, x=X, **options):
        return self.model.fit(x, **{"steps": 3, "batch_size": 10, **options})


class Pretrain(Fit):
    """Train the autoencoders of a stack."""

    def __init__(self, dtype="float32"):
        self.model = StackedAutoencoder(
            [N_FEATURES, 5, 4], N_CLASSES, init="he", dtype=dtype, n_threads=1
        )

    def __call__(self, x=X, **options):
        return self.model.pretrain(x, **{"steps": 3, "batch_size": 10, **options})


class Finetune(Pretrain):
    """Train a whole network."""

    def __call__(self, x=X, y=Y, **options):
        return self.model.finetune(x, y, **{"steps": 3, "batch_size": 10, **options})


METHODS = {"fit": Fit, "pretrain": Pretrain, "finetune": Finetune}


def parameters_of(model):
    values = dict(model.parameters)
    for ae in getattr(model, "autoencoders", ()):
        values |= {f"{name} {ae.layer}": value for name, value in ae.parameters.items()}
    return values


def assert_refused(call, *words, **arguments):
    """Check the error, and that the model is what it was; `words` must occur in this order."""
    before = parameters_of(call.model)
    with pytest.raises(DataError) as caught:
        call(**arguments)
    assert_mentions(caught.value, *words)
    assert_identical(parameters_of(call.model), before)
    assert getattr(call.model, "pretrained", False) is False


def assert_mentions(error, *words):
    message = str(error)
    assert "\n" not in message
    at = 0
    for word in words:
        assert word in message[at:], f"{word!r} is not in {message[at:]!r}"
        at = message.index(word, at) + len(word)


@pytest.fixture(params=METHODS.values(), ids=METHODS)
def method(request):
    return request.param()


# Samples

BAD_X = {
    "one dimension": (X[0], ("x: expected two dimensions", "(12,)")),
    "three dimensions": (
        X[None],
        ("x: expected two dimensions", "(1, 40, 12); of images x.reshape(len(x), -1)"),
    ),
    "a number": (np.float32(1), ("x: expected two dimensions", "()")),
    "nothing": (None, ("x: expected",)),
    "too few features": (X[:, 1:], ("x: expected 12 features", "(40, 11)")),
    "transposed": (X.T, ("x: expected 12 features", "(12, 40)")),
    "no samples": (X[:0], ("x: expected at least one sample", "(0, 12)")),
    "NaN": (with_value(X, np.nan), ("x: expected finite", "nan", "row 17", "column 5")),
    "infinity": (with_value(X, np.inf), ("x: expected finite", "inf", "row 17", "column 5")),
    "first of many": (
        np.where(np.arange(N)[:, None] >= 30, np.float32(-np.inf), X),
        ("x: expected finite", "-inf", "row 30", "column 0"),
    ),
    "NaN in a column of an F-ordered array": (
        np.asfortranarray(with_value(X, np.nan)),
        ("x: expected finite", "nan", "row 17", "column 5"),
    ),
    "too large for float32": (
        with_value(X.astype(np.float64), 1e300),
        ("x: expected finite", "float32", "row 17", "column 5"),
    ),
    "complex": (X.astype(np.complex64), ("x: expected numbers", "complex64")),
    "strings": (X.astype(str), ("x: expected numbers", "<U")),
    "dates": (X.astype("M8[s]"), ("x: expected numbers", "datetime64")),
    "objects": (with_value(X.astype(object), "red"), ("x: expected numbers", "'red'", "(17, 5)")),
    "numbers as strings": (X.astype(str).astype(object), ("x: expected numbers", "(0, 0)")),
    "float128": (np.full(X.shape, np.longdouble("1e200")), ("x: expected finite", "inf")),
    "masked": (
        np.ma.masked_less(X, np.sort(X, axis=None)[-7]),
        ("x: expected an array without masked values", "473 of 480"),
    ),
    "a frame with words": (
        pd.DataFrame(X).assign(**{"7": "red"}).drop(columns=7),
        ("x: expected columns of numbers", "str", "column '7'"),
    ),
    "a frame with categories": (
        pd.DataFrame(X).astype({3: "category"}),
        ("x: expected columns of numbers", "category", "column 3"),
    ),
    "a frame with missing integers": (
        pd.DataFrame(X).assign(**{"7": pd.array([None, *range(N - 1)], "Int64")}).drop(columns=7),
        ("x: expected", "column"),  # NaN, or what pandas says
    ),
    "uint8 without scale": ((X > 0).astype(np.uint8), ("x: uint8 needs scale=", "none")),
    "sparse, NaN": (csr_with_value(np.nan), ("x: expected finite", "nan", "row 17", "column 5")),
    "sparse, infinity": (
        csr_with_value(-np.inf),
        ("x: expected finite", "-inf", "row 17", "column 5"),
    ),
    "sparse, too wide": (
        sparse.csr_array((N, N_FEATURES + 1), dtype=np.float32),
        ("x: expected 12 features", "(40, 13)"),
    ),
    "sparse, no samples": (
        sparse.csr_array((0, N_FEATURES), dtype=np.float32),
        ("x: expected at least one sample", "(0, 12)"),
    ),
    "sparse, complex": (
        sparse.csr_array(np.eye(N, N_FEATURES, dtype=np.complex64)),
        ("x: expected numbers", "complex64"),
    ),
    "sparse, uint8 without scale": (
        sparse.csr_array(np.eye(N, N_FEATURES, dtype=np.uint8)),
        ("x: uint8 needs scale=", "none"),
    ),
}


@pytest.mark.parametrize(("x", "words"), BAD_X.values(), ids=BAD_X)
def test_samples(method, x, words):
    assert_refused(method, *words, x=x)


@pytest.mark.parametrize("use", ["encode", "reconstruct", "reconstruction_error"])
@pytest.mark.parametrize("kind", ["transposed", "NaN", "complex", "masked", "no samples"])
def test_samples_to_use_a_model_on(use, kind):
    x, words = BAD_X[kind]
    net = Pretrain()
    net()
    for model in (Fit().model, net.model):
        with pytest.raises(DataError) as caught:
            getattr(model, use)(x)
        assert_mentions(caught.value, *words)


@pytest.mark.parametrize("use", ["predict", "predict_proba", "count_dead_units"])
@pytest.mark.parametrize("kind", ["transposed", "NaN", "complex", "no samples"])
def test_samples_to_classify(use, kind):
    x, words = BAD_X[kind]
    with pytest.raises(DataError) as caught:
        getattr(Finetune().model, use)(x)
    assert_mentions(caught.value, *words)


BYTES = np.random.default_rng(3).integers(0, 100, (N, N_FEATURES)).astype(np.uint8)
BITS = pd.get_dummies(pd.Series(Y), dtype=bool)
GOOD_X = {
    "bool": BYTES > 50,
    "bool, strided": np.asfortranarray(BYTES > 50)[:, ::-1],
    "int8": BYTES.astype(np.int8) - np.int8(50),
    "int64": BYTES.astype(np.int64) - 50,
    "uint32, swapped": BYTES.astype(np.dtype(np.uint32).newbyteorder()),
    "float16": BYTES.astype(np.float16) / 64,
    "longdouble": BYTES.astype(np.longdouble),
    "objects": np.where(BYTES > 50, True, BYTES.astype(object)),
    "lists": (BYTES > 50).tolist(),
    "unmasked": np.ma.array(BYTES.astype(np.float32)),
    "frame of bool": pd.DataFrame(BYTES > 50),
    "frame of int": pd.DataFrame(BYTES.astype(int)),
    "frame of everything": pd.DataFrame(BYTES[:, 3:].astype(np.float32))
    .assign(a=BYTES[:, 0] > 50, b=BYTES[:, 1], c=pd.array(BYTES[:, 2].astype(int), "Int64"))
    .set_axis([*"aabcdefghijk"], axis=1),
    "dummies": pd.concat([BITS, pd.DataFrame(BYTES[:, 3:].astype(float))], axis=1),
    "sparse bool": sparse.csr_array(BYTES > 50),
    "sparse int64": sparse.csr_array(BYTES.astype(np.int64)),
    "sparse int64, duplicates": sparse.coo_array(
        ([1, 2, 3], ([0, 0, 5], [4, 4, 11])), shape=(N, N_FEATURES)
    ),
}


class AnothersFrame:
    """Has names like those of pandas, and types that are not NumPy's."""

    columns, dtypes, ndim = list("abcdefghijkl"), ["Float64"] * N_FEATURES, 2

    def __array__(self, dtype=None, copy=None):
        return X.astype(dtype or X.dtype)


GOOD_X["another's frame"] = AnothersFrame()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x", GOOD_X.values(), ids=GOOD_X)
def test_samples_of_other_types(x, dtype):
    """Are what their values are in floating point, for training and for use."""
    dense = x.toarray() if sparse.issparse(x) else np.array(x, dtype=np.float64)
    found, expected = Fit(dtype), Fit(dtype)
    found(x)
    expected(dense.astype(dtype))
    assert_identical(parameters_of(found.model), parameters_of(expected.model))
    np.testing.assert_array_equal(found.model.encode(x), expected.model.encode(dense))
    assert found.model.scale is None


def test_frames_of_uint8():
    """With a scale, for training and for measuring, as arrays of it."""
    frame, x = pd.DataFrame(BYTES), BYTES.astype(np.float32) * np.float32(0.01)
    nets = [Finetune().model for _ in range(4)]
    histories = [
        net.finetune(samples, Y, steps=3, batch_size=10, eval_set=(measured, Y), scale=scale)
        for net, samples, measured, scale in zip(
            nets, (frame, BYTES, frame, x), (frame, BYTES, x, frame), [0.01] * 4, strict=True
        )
    ]
    for net, history in zip(nets[1:], histories[1:], strict=True):
        assert_identical(net.parameters, nets[0].parameters)
        assert history.loss == histories[0].loss
    assert_refused(Finetune(), "x: uint8 needs scale=", x=frame)


NO_ARRAYS = {
    "text": ("data.csv", "expected an array, got str"),
    "None": (None, "expected an array, got NoneType"),
    "generator": ((row for row in X), "expected an array, got generator"),
    "dict": ({"a": [1.0]}, "expected an array, got dict"),
    "number": (3.0, "got shape ()"),
    "series": (
        pd.Series([1.0, 2, 3]),
        "expected two dimensions (n_samples, n_features), got shape (3,)",
    ),
    "series of uint8": (pd.Series([1, 2], dtype="uint8"), "expected two dimensions"),
    "endless": ([[10**400], [2]], "expected numbers that float32 can hold"),
    "NaN in a frame": (pd.DataFrame({"height": [1.0, np.nan]}), "row 1, column 0 ('height')"),
    "NaN in a frame without names": (pd.DataFrame([1.0, np.nan]), "row 1, column 0"),
}


@pytest.mark.parametrize(("x", "words"), NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_what_is_no_array_of_samples(x, words):
    with pytest.raises(DataError) as caught:
        Autoencoder(1, 1).fit(x)
    assert str(caught.value).startswith("x: ")
    assert str(caught.value).endswith(words) or words in str(caught.value)


def test_what_is_no_array_of_labels():
    for name, given in ("y", {"y": None}), ("sample_weight", {"y": Y, "sample_weight": "1"}):
        with pytest.raises(DataError, match=f"{name}: expected an array, got (NoneType|str)$"):
            Finetune().model.finetune(X, **given)


def test_bool_takes_no_copy():
    x = np.random.default_rng(0).random((2000, 500)) < 0.9
    ae = Autoencoder(500, 2)
    ae.encode(x[:1])
    assert peak_memory(lambda: ae.encode(x)) < x.nbytes / 2


def test_codes_to_decode():
    with pytest.raises(DataError) as caught:
        Fit().model.decode(X)
    assert_mentions(caught.value, "code: expected 4 features", "(40, 12)")


def test_wrong_csr_structure(method):
    """SciPy lets such a matrix be made; a column beyond the last must not be read or written."""
    x = sparse.csr_array(X)
    x.indices[x.indptr[18] - 1] = 500
    assert_refused(method, "x", "row 17", "column 500", "12", x=x)


WRONG_ENDS = {
    "beyond the values": lambda x: x.indptr.__setitem__(18, 2**30),
    "negative": lambda x: x.indptr.__setitem__(3, -5),
    "not from 0": lambda x: x.indptr.__setitem__(0, 1),
    "falling": lambda x: x.indptr.__setitem__(3, x.indptr[5]),
    "the last": lambda x: x.indptr.__setitem__(-1, x.nnz + 1),
    "too few": lambda x: setattr(x, "indptr", x.indptr[:10]),
    "too few indices": lambda x: setattr(x, "indices", x.indices[:-1]),
    "too few values": lambda x: setattr(x, "data", x.data[:-1]),
}


@pytest.mark.parametrize("change", WRONG_ENDS.values(), ids=WRONG_ENDS)
@pytest.mark.parametrize("sort", [False, True], ids=["canonical", "to be sorted"])
def test_wrong_ends_of_csr_rows(method, change, sort):
    """SciPy's native code would read what is not there."""
    x = sparse.csr_array(X)
    if sort:
        x.indices[:2] = x.indices[1::-1]
    change(x)
    assert_refused(method, "x: expected the indptr of 40 rows", x=x)


@pytest.mark.parametrize("value", [10**9, -(10**9)])
@pytest.mark.parametrize("what", ["row", "col"])
def test_wrong_coo_structure(method, what, value):
    x = sparse.coo_array(X)
    found = getattr(x, what)
    found.flags.writeable = True
    found[3] = value
    assert_refused(method, f"x: expected entries of {what}", f"{value:,}", x=x)


def test_wrong_csc_structure(method):
    x = sparse.csc_array(X)
    x.indices[3] = 10**8
    assert_refused(method, "x: ", "< 40", x=x)


@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf, "small", 1e-300, 1e300, 10**400])
def test_scale(method, scale):
    assert_refused(
        method, "scale: expected", repr(scale)[:50], x=(X > 0).astype(np.uint8), scale=scale
    )


@pytest.mark.parametrize("x", [X, X.astype(np.float64), sparse.csr_array(X)])
def test_scale_with_floats(method, x):
    assert_refused(method, "scale: expected None", "x", str(x.dtype), "0.5", x=x, scale=0.5)


# Labels

BAD_Y = {
    "too large": (with_label(3), ("y: expected classes from 0 to 2", "got 3 at position 23")),
    "negative": (with_label(-1), ("y: expected classes from 0 to 2", "got -1 at position 23")),
    "uint8": (with_label(255, dtype=np.uint8), ("y:", "got 255 at position 23")),
    "huge": (with_label(2**64 - 1, dtype=np.uint64), ("y:", "got 18446744073709551615")),
    "too few": (Y[:-1], ("y: expected 40 labels", "got 39")),
    "too many": (np.append(Y, 0), ("y: expected 40 labels", "got 41")),
    "empty": (Y[:0], ("y: expected 40 labels", "got 0")),
    "floats": (Y.astype(np.float32), ("y: expected integer classes", "float32")),
    "masked": (np.ma.masked_equal(Y, 1), ("y: expected an array without masked values", "of 40")),
    "strings": (
        Y.astype(str),
        ("y: expected integer classes", "<U", "return_inverse=True) numbers"),
    ),
    "one-hot": (
        np.eye(3, dtype=np.int64)[Y],
        ("y: expected one dimension", "(40, 3); of one-hot rows y.argmax"),
    ),
    "a number": (1, ("y: expected one dimension", "()")),
    "nothing": (None, ("y: expected",)),
}


@pytest.mark.parametrize(("y", "words"), BAD_Y.values(), ids=BAD_Y)
def test_labels(y, words):
    assert_refused(Finetune(), *words, y=y)
    with pytest.raises(DataError) as caught:
        Finetune().model.evaluate(X, y)
    assert_mentions(caught.value, *words)


BAD_EVAL_SETS = {
    "an array": (X, ("eval_set: expected a pair (x, y)", "ndarray")),
    "three": ((X, Y, Y), ("eval_set: expected a pair (x, y)",)),
    "one": ((X,), ("eval_set: expected a pair (x, y)",)),
    "a dict": ({"x": X, "y": Y}, ("eval_set: expected a pair (x, y)", "dict")),
    "swapped": ((Y, X), ("eval_set[0]: expected two dimensions", "(40,)")),
    "NaN": ((with_value(X, np.nan), Y), ("eval_set[0]: expected finite", "row 17")),
    "features": ((X[:, :-1], Y), ("eval_set[0]: expected 12 features",)),
    "label": ((X, with_label(3)), ("eval_set[1]: expected classes", "got 3 at position 23")),
    "lengths": ((X, Y[1:]), ("eval_set[1]: expected 40 labels", "39")),
    "uint8": (((X > 0).astype(np.uint8), Y), ("eval_set[0]: uint8 needs scale=",)),
}


@pytest.mark.parametrize(("eval_set", "words"), BAD_EVAL_SETS.values(), ids=BAD_EVAL_SETS)
def test_eval_set(eval_set, words):
    assert_refused(Finetune(), *words, eval_set=eval_set)


# Numbers and choices

BAD_COUNTS = [0, -1, 1.0, 2.5, True, "3", [3], np.nan, np.array([1, 2])]


@pytest.mark.parametrize("value", BAD_COUNTS, ids=repr)
@pytest.mark.parametrize("name", ["steps", "batch_size"])
def test_counts(method, name, value):
    if isinstance(method, Pretrain) and name == "steps":  # one for each layer, which may be 0
        value = [value, value] if np.ndim(value) else value or -3
    assert_refused(method, f"{name}: expected an integer", "got", **{name: value})


@pytest.mark.parametrize("value", [-1, 1.0, True, None, "often"])
def test_eval_every(method, value):
    assert_refused(method, "eval_every: expected an integer", repr(value), eval_every=value)


def test_batch_larger_than_the_data(method):
    assert_refused(method, "batch_size: expected at most", "40 samples", "41", batch_size=41)


def test_the_default_batch_is_no_larger_than_the_data(method):
    same = type(method)()
    same(batch_size=40)
    method(batch_size=None)
    assert_identical(parameters_of(method.model), parameters_of(same.model))


@pytest.mark.parametrize("name", ["progress", "continued"])
@pytest.mark.parametrize("value", ["no", None, 2, [True]])
def test_flags(method, name, value):
    assert_refused(method, f"{name}: expected True or False", repr(value), **{name: value})


def test_labels_of_bool():
    by_bool, by_int = (StackedAutoencoder([N_FEATURES, 4], 2) for _ in range(2))
    for net, y in ((by_bool, Y > 0), (by_int, (Y > 0).astype(int))):
        net.finetune(X, y, steps=3)
    assert_identical(by_bool.parameters, by_int.parameters)


def test_an_error_is_a_line(method):
    """Not the whole of what came."""
    for value in ("a" * 10**6, bytes(10**6), list(range(10**6)), [["a" * 10**5] * 9], -(10**5000)):
        for name in ("steps", "learning_rate", "adam", "optimizer", "callbacks", "progress"):
            with pytest.raises(DataError) as caught:
                method(**{name: value})
            assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "value",
    [
        *(0, -0.1, np.nan, np.inf, "fast", "0.01", b"1", [0.1], True, np.True_),
        *(1e-3 + 2j, np.complex128(1e-3), np.array([1e-3]), np.array("0.01"), np.ma.masked),
    ],
    ids=repr,
)
def test_learning_rate(method, value):
    each = type(method) is Pretrain and np.ndim(value)
    name, given = ("learning_rate[0]", [value, value]) if each else ("learning_rate", value)
    assert_refused(method, f"{name}: expected a", repr(value), learning_rate=given)


@pytest.mark.parametrize("value", [np.float32(0.01), 1, np.array(0.01)], ids=repr)
def test_learning_rates_that_are_numbers_in_disguise(method, value):
    as_float = type(method)()
    as_float(learning_rate=float(value))
    method(learning_rate=value)
    assert_identical(method.model.parameters, as_float.model.parameters)


@pytest.mark.parametrize("value", ["no", 2, None, np.ones(2)], ids=repr)
@pytest.mark.parametrize("name", ["continued", "progress"])
def test_switches(method, name, value):
    assert_refused(method, f"{name}: expected True or False", repr(value), **{name: value})


@pytest.mark.parametrize("value", [None, 3, b"fine-tuning"])
def test_title(value):
    assert_refused(Finetune(), "title: expected a str", repr(value), title=value)


def test_a_switch_of_numpys(method):
    method(continued=np.True_, progress=np.False_)


@pytest.mark.parametrize("value", ["Adam", "pytorch", "", None, 1])
def test_adam(method, value):
    assert_refused(method, "adam: expected one of tf1, torch", repr(value), adam=value)


@pytest.mark.parametrize("value", ["mse", "squared_error", 1])
def test_loss(value):
    expected = "loss: expected one of article, cross_entropy"
    assert_refused(Finetune(), expected, repr(value), loss=value)
    with pytest.raises(DataError) as caught:
        Finetune().model.evaluate(X, Y, loss=value)
    assert_mentions(caught.value, expected, repr(value))


BAD_BATCHES = {
    "one dimension": (np.arange(10), ("batches: expected shape (n_steps, batch_size)", "(10,)")),
    "three dimensions": (np.zeros((2, 3, 4), int), ("batches: expected", "(2, 3, 4)")),
    "no steps": (np.zeros((0, 10), int), ("batches: expected", "(0, 10)")),
    "no samples": (np.zeros((10, 0), int), ("batches: expected", "(10, 0)")),
    "floats": (np.zeros((3, 10)), ("batches: expected integer", "float64")),
    "bools": (np.zeros((3, 10), bool), ("batches: expected integer", "bool")),
    "too large": (np.full((3, 10), 40), ("batches: expected", "0 to 39", "40")),
    "negative": (np.full((3, 10), -1), ("batches: expected", "0 to 39", "-1")),
    "an empty list": ([], ("batches: expected",)),
    "ragged": ([[0, 1], [2]], ("batches: expected",)),
}


@pytest.mark.parametrize(("batches", "words"), BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_batches(method, batches, words):
    assert_refused(method, *words, batches=batches, steps=None, batch_size=None)


def test_batches_and_other_sizes(method):
    batches = draw_batches(5, 10, N)
    assert_refused(method, "steps: expected 5", "got 6", batches=batches, steps=6)
    assert_refused(
        method, "batch_size: expected 10", "got 9", batches=batches, steps=5, batch_size=9
    )


def test_batches_of_each_layer():
    good, bad = draw_batches(5, 10, N), np.full((5, 10), 40)
    sizes = {"steps": None, "batch_size": None}
    one_too_many = "batches: expected one value, or one for each of 2 layers", "got 3"
    assert_refused(Pretrain(), *one_too_many, batches=[good] * 3, **sizes)
    assert_refused(Pretrain(), "batches", "0 to 39", "40", batches=[bad, good], **sizes)
    assert_refused(Pretrain(), "batches", "0 to 39", "40", batches=[good, bad], **sizes)


@pytest.mark.parametrize("build", [Autoencoder, StackedAutoencoder])
class TestConstructors:
    def refuses(self, build, *words, **arguments):
        good = {
            Autoencoder: {"n_features": 4, "n_hidden": 3},
            StackedAutoencoder: {"sizes": [4, 3], "n_classes": 2},
        }
        with pytest.raises(DataError) as caught:
            build(**{**good[build], **arguments})
        assert_mentions(caught.value, *words)

    @pytest.mark.parametrize("value", [*BAD_COUNTS, None], ids=repr)
    def test_widths(self, build, value):
        if build is Autoencoder:
            self.refuses(build, "n_features: expected an integer", n_features=value)
            self.refuses(build, "n_hidden: expected an integer", n_hidden=value)
        else:
            self.refuses(build, "sizes[1]: expected an integer", sizes=[4, value])
            if value is not None:
                self.refuses(build, "n_classes: expected an integer", n_classes=value)

    @pytest.mark.parametrize("value", [2**24 + 1, 2**62, 10**30])
    def test_widths_beyond_reason(self, build, value):
        if build is Autoencoder:
            self.refuses(build, "n_features: expected at most", repr(value), n_features=value)
            self.refuses(build, "n_hidden: expected at most", repr(value), n_hidden=value)
        else:
            self.refuses(build, "sizes[1]: expected at most", repr(value), sizes=[4, value])
            self.refuses(build, "n_classes: expected at most", repr(value), n_classes=value)

    @pytest.mark.parametrize("value", [-1, 0.0, True, "0", None, np.nan])
    def test_seed(self, build, value):
        self.refuses(build, "seed: expected an integer", repr(value), seed=value)

    @pytest.mark.parametrize("value", ["float16", "double", np.float32, None])
    def test_dtype(self, build, value):
        self.refuses(build, "dtype: expected one of float32, float64", repr(value), dtype=value)

    @pytest.mark.parametrize("value", [0, -1, 1.0, True, "2"])
    def test_n_threads(self, build, value):
        self.refuses(build, "n_threads: expected an integer", repr(value), n_threads=value)
        model = build(4, 3) if build is Autoencoder else build([4, 3], 2)
        before = model.n_threads
        with pytest.raises(DataError) as caught:
            model.n_threads = value
        assert_mentions(caught.value, "n_threads: expected an integer", repr(value))
        assert model.n_threads == before

    def test_n_threads_of_all(self, build):
        model = build(4, 3) if build is Autoencoder else build([4, 3], 2)
        default = model.n_threads
        for value, expected in ((3, 3), (None, default)):
            model.n_threads = value
            assert model.n_threads == expected
            for autoencoder in getattr(model, "autoencoders", ()):
                assert autoencoder.n_threads == expected

    def test_more_memory_than_there_is(self, build):
        """Two matrices of 2**48 numbers."""
        with pytest.raises(MemoryError, match=r"16777216-16777216.*GB"):
            build(2**24, 2**24) if build is Autoencoder else build([2**24, 2**24], 2)


@pytest.mark.parametrize("value", [5, "784", None, [], [784], {4, 3}])
def test_sizes(value):
    with pytest.raises(DataError) as caught:
        StackedAutoencoder(value, 10)
    assert_mentions(caught.value, "sizes: expected")


def test_one_class():
    with pytest.raises(DataError) as caught:
        StackedAutoencoder([4, 3], 1)
    assert_mentions(caught.value, "n_classes: expected an integer of at least 2", "1")


@pytest.mark.parametrize("value", ["xavier", "", None])
def test_init(value):
    with pytest.raises(DataError) as caught:
        StackedAutoencoder([4, 3], 2, init=value)
    assert_mentions(
        caught.value, "init: expected one of normal, he, glorot, lecun, data", repr(value)
    )


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "much", None])
def test_weight_decay(value):
    with pytest.raises(DataError) as caught:
        Autoencoder(4, 3, weight_decay=value)
    assert_mentions(caught.value, "weight_decay: expected a number", repr(value))


def test_a_refused_second_pretraining_leaves_the_reconstructions():
    net = Pretrain().model
    net.pretrain(X, steps=20, batch_size=10)
    net.finetune(X, Y, steps=20, batch_size=10)  # moves the network's encoders away
    before = net.reconstruct(X)
    with pytest.raises(DataError):
        net.pretrain(X, steps=-1)
    assert_identical({"x": net.reconstruct(X)}, {"x": before})


def test_reconstruct_without_pretraining():
    with pytest.raises(DataError) as caught:
        Finetune().model.reconstruct(X)
    assert_mentions(caught.value, "reconstruct", "pretrain")


def test_parameters_that_are_no_mapping():
    for model in (Fit().model, Finetune().model):
        with pytest.raises(DataError) as caught:
            model.parameters = [np.zeros((N_FEATURES, 4))]
        assert_mentions(caught.value, "parameters: expected")


def test_parameters_too_large_for_float32():
    model = Fit().model
    with pytest.raises(DataError) as caught:
        model.parameters = {"b_enc": np.full(4, 1e300)}
    assert_mentions(caught.value, "parameters['b_enc']", "finite")


def test_more_threads_than_any_machine_has():
    """As many as are allowed, in a process of their own, for it may not survive."""
    code = (
        "import numpy as np, sae_fast\n"
        "x = np.random.default_rng(0).random((300, 20), dtype=np.float32)\n"
        "ae = sae_fast.Autoencoder(20, 5, n_threads=1024)\n"
        "ae.fit(x, steps=2)\n"
        "print(ae.encode(x).shape)"
    )
    assert output_of(code) == "(300, 5)\n"


@pytest.mark.parametrize("value", [1025, 100_000, 3_000_000_000, 10**30])
def test_more_threads_than_are_allowed(value):
    with pytest.raises(DataError) as caught:
        Autoencoder(20, 5, n_threads=value)
    assert_mentions(caught.value, "n_threads: expected at most 1,024", str(value))


# Divergence


@pytest.mark.parametrize("zeros", [0.0, 0.8], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    ("build", "phase"),
    [
        (Fit, "autoencoder 1 (12 → 4)"),
        (Pretrain, "autoencoder 1 (12 → 5)"),
        (Finetune, "fine-tuning"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence(build, phase, zeros, dtype):
    call = build(dtype)
    rate = {"float32": 1e25, "float64": 1e200}[dtype]
    x = draw_x(N, N_FEATURES, zeros=zeros)
    with pytest.raises(DivergenceError) as caught:
        call(x, learning_rate=rate, steps=40, eval_every=20)
    assert_mentions(caught.value, phase, "diverged", "not finite", "after step 20 of 40")
    assert "learning_rate" in str(caught.value)


def test_divergence_is_seen_without_evaluations():
    with pytest.raises(DivergenceError, match="a parameter is not finite after step 30 of 30"):
        Finetune()(learning_rate=1e25, steps=30, eval_every=0)


def test_divergence_is_seen_with_an_eval_set():
    with pytest.raises(DivergenceError, match=r"fine-tuning, he.*after step 10 of 30"):
        Finetune()(
            learning_rate=1e25, steps=30, eval_every=10, eval_set=(X, Y), title="fine-tuning, he"
        )


@pytest.mark.parametrize("method", [Fit, Finetune])
def test_divergence_leaves_the_last_finite_state(method):
    evaluated = {} if method is Fit else {"eval_set": (X, Y)}

    def spoil(training):
        if training.step == 20:  # finite still, and no step can bear it
            values = training.model.parameters
            training.model.parameters = {k: np.full_like(v, 3e38) for k, v in values.items()}

    call, whole, half = method(), method(), method()
    whole(steps=30, eval_every=10, **evaluated)
    half(steps=20, eval_every=10, **evaluated)
    with pytest.raises(DivergenceError) as caught:
        call(steps=50, eval_every=10, callbacks=[spoil], **evaluated)
    assert caught.value.phase == ("pretraining" if method is Fit else "fine-tuning")
    assert caught.value.layer == (1 if method is Fit else None)
    assert caught.value.step == 30
    assert_identical(call.model.parameters, half.model.parameters)
    call(steps=10, eval_every=10, continued=True, **evaluated)
    assert_identical(call.model.parameters, whole.model.parameters)


def test_divergence_that_a_checkpoint_would_save(tmp_path):
    call, start = Fit(init="he"), Fit(init="he")
    saving = sae_fast.callbacks.Checkpoint(tmp_path / "{step}", every=5)
    with pytest.raises(DivergenceError, match="after step 5 of 30") as caught:
        call(learning_rate=1e25, steps=30, eval_every=30, callbacks=[saving])
    assert (caught.value.phase, caught.value.layer, caught.value.step) == ("pretraining", 1, 5)
    assert_identical(call.model.parameters, start.model.parameters)
    assert not list(tmp_path.iterdir())


def test_divergence_from_the_start_leaves_the_start():
    call, start = Finetune(), Finetune()
    with pytest.raises(DivergenceError):
        call(learning_rate=1e25, steps=30)
    assert_identical(call.model.parameters, start.model.parameters)


def test_layers_below_a_divergence_are_kept():
    """The second layer is made to diverge by a weight that its codes cannot bear."""
    net, expected = Pretrain().model, Pretrain().model
    expected.pretrain(X, steps=3, batch_size=10)
    w2 = np.full((5, 4), 3e38, np.float32)
    for model in (net, expected):
        model.parameters = {"W2": w2}
    with pytest.raises(DivergenceError, match=r"autoencoder 2"):
        net.pretrain(X, steps=3, batch_size=10)
    np.testing.assert_array_equal(net.parameters["W1"], expected.parameters["W1"])
    np.testing.assert_array_equal(net.parameters["W2"], w2)


# Experiments

DATA = sae_fast.datasets.Dataset(X, Y, X, Y, "small")
BAD_SETTINGS = [
    (run_experiment, "hidden", [], "hidden: expected"),
    (run_experiment, "hidden", [5, 0], "hidden[1]: expected an integer"),
    (run_experiment, "hidden", "5", "hidden: expected a sequence"),
    (run_experiment, "data_dir", "somewhere", "data_dir: expected none with a Dataset object"),
    (run_experiment, "arms", [], "arms: expected"),
    (run_experiment, "arms", 1, "arms: expected a sequence"),
    (run_experiment, "arms", "best", "arms: expected one of pretrained, normal, he"),
    (run_experiment, "arms", ["best"], "arms: expected one of pretrained, normal, he"),
    (run_experiment, "pretrain_steps", -1, "pretrain_steps: expected an integer of at least 0"),
    (run_experiment, "pretrain_steps", [1, -1], "pretrain_steps[1]: expected an integer of at"),
    (
        run_experiment,
        "pretrain_steps",
        [1] * 5,
        "pretrain_steps: expected one value, or one for each of 6 layers, got 5",
    ),
    (run_experiment, "finetune_steps", 1.5, "finetune_steps: expected an integer"),
    (run_reconstruction, "units", 0, "units: expected an integer"),
    (run_reconstruction, "steps", -1, "steps: expected an integer"),
    (run_reconstruction, "weight_decay", -1, "weight_decay: expected a number"),
    *(
        (run, name, value, f"{name}: expected {what}")
        for run in (run_experiment, run_reconstruction)
        for name, value, what in [
            ("dataset", "cifar", "one of auto, mnist, strokes, idx"),
            ("dataset", None, "one of auto, mnist, strokes, idx"),
            ("batch_size", 41, "at most the 40 training samples"),
            ("batch_size", True, "an integer"),
            ("learning_rate", 0, "a positive number"),
            ("eval_every", -1, "an integer"),
            ("seed", -1, "an integer"),
            ("threads", 0, "an integer"),
        ]
    ),
]


@pytest.mark.parametrize(
    ("run", "name", "value", "words"),
    BAD_SETTINGS,
    ids=[f"{run.__name__}-{name}-{value!r}" for run, name, value, _ in BAD_SETTINGS],
)
def test_settings_of_an_experiment(run, name, value, words):
    settings = {"dataset": DATA, "batch_size": 10, "quiet": True, name: value}
    with pytest.raises(DataError) as caught:
        run(**settings)
    assert str(caught.value).startswith(words)


def test_one_value_is_a_sequence_of_one():
    """As ``(1000)`` is meant."""
    options = {"dataset": DATA, "finetune_steps": 2, "pretrain_steps": 2, "quiet": True}
    single = run_experiment(hidden=5, arms="pretrained", **options)
    listed = run_experiment(hidden=[5], arms=["pretrained"], **options)
    assert single.config == listed.config
    assert single.config["hidden"] == [5]
    assert single.config["batch_size"] == N  # the default, where there are fewer than 100 samples


@pytest.mark.parametrize("run", [run_experiment, run_reconstruction])
def test_a_dataset_with_nan(run):
    data = dataclasses.replace(DATA, x_train=with_value(X, np.nan))
    with pytest.raises(DataError) as caught:
        run(dataset=data, batch_size=10, quiet=True)
    assert_mentions(caught.value, "x_train: expected finite", "row 17", "column 5")


# The types


def test_every_error_has_one_base():
    names = [name for name in sae_fast.__all__ if re.search("Error$", name)]
    assert len(names) >= 7
    for name in names:
        assert issubclass(getattr(sae_fast, name), SaeFastError)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("DataError", ValueError),
        ("DatasetUnavailableError", OSError),
        ("DivergenceError", ArithmeticError),
        ("CheckpointError", OSError),
        ("ModelFileError", ValueError),
        ("OutputError", OSError),
    ],
)
def test_errors_are_pythons_own_too(name, base):
    assert issubclass(getattr(sae_fast, name), base)
