# SPDX-License-Identifier: BSD-3-Clause
"""What holds for every shape, type, layout and setting, on cases that Hypothesis makes up."""

from __future__ import annotations

import contextlib
import pickle

import hypothesis.extra.numpy as np_st
import hypothesis.strategies as st
import numpy as np
import sae_fast
from helpers import assert_identical
from hypothesis import HealthCheck, given, settings
from sae_fast import Autoencoder, DataError, StackedAutoencoder
from sae_fast.activations import TopK
from sae_fast.callbacks import Callback
from scipy import sparse


def examples(n):
    """So many, the same ones every time."""
    return settings(
        max_examples=n,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


N_CLASSES = 3


@st.composite
def cases(draw):
    """Samples, labels, a stack's arguments, and those of its trainings."""
    wide = draw(st.booleans())  # of which some go through BLAS, and several threads have work
    n_samples = draw(st.integers(1, 150))
    sizes = draw(st.lists(st.integers(1, 300 if wide else 40), min_size=2, max_size=4))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(size=(n_samples, sizes[0]))
    x[rng.random(x.shape) < draw(st.sampled_from([0, 0.5, 0.9, 1]))] = 0
    x = x.astype(draw(st.sampled_from(["float32", "float64"])))
    y = rng.integers(0, N_CLASSES, n_samples)
    shared = {
        "batch_size": draw(st.integers(1, n_samples)),
        "learning_rate": draw(st.sampled_from([1e-4, 1e-3, 1e-2])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1])),
        "adam": draw(st.sampled_from(["tf1", "torch"])),
    }
    stack = {
        "sizes": sizes,
        "n_classes": N_CLASSES,
        "seed": draw(st.integers(0, 2**70)),
        "init": draw(st.sampled_from(["normal", "he"])),
        "activation": draw(st.sampled_from(["relu", "tanh", TopK(1)])),
        "tied": draw(st.booleans()),
        "dtype": dtype,
    }
    finetuning = {
        "loss": draw(st.sampled_from(["article", "cross_entropy"])),
        "sample_weight": draw(st.sampled_from([None, rng.random(n_samples)])),
    }
    return x, y, stack, shared, finetuning


def train(case, x=None, *, n_threads=1):
    """Pretrain and fine-tune on the case's samples, or on `x`; give the network."""
    samples, y, stack, shared, finetuning = case
    x = samples if x is None else x
    net = StackedAutoencoder(**stack, n_threads=n_threads)
    net.pretrain(x, steps=3, **shared)
    net.finetune(x, y, steps=3, **shared, **finetuning)
    return net


def everything(net, x):
    """Give parameters and outputs by name."""
    return {
        **net.parameters,
        **{
            f"{name}, {autoencoder.layer}": value
            for autoencoder in net.autoencoders
            for name, value in autoencoder.parameters.items()
        },
        "proba": net.predict_proba(x),
        "classes": net.predict(x),
        "reconstruction": net.reconstruct(x),
        "scores": net.score_samples(x),
    }


LAYOUTS = {
    "F": np.asfortranarray,
    "rows reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "CSR": sparse.csr_matrix,
    "CSC": sparse.csc_array,
}


@examples(60)
@given(cases(), st.sampled_from(list(LAYOUTS)), st.integers(2, 9))
def test_layouts_and_threads(case, layout, n_threads):
    x = case[0]
    other = LAYOUTS[layout](x)
    expected, found = train(case), train(case, other, n_threads=n_threads)
    assert_identical(everything(found, other), everything(expected, x))


@examples(30)
@given(cases(), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_a_training_in_two_parts(case, first, second, pickled):
    whole = StackedAutoencoder(**case[2])
    parts = StackedAutoencoder(**case[2])
    x, y, _, shared, finetuning = case
    whole.finetune(x, y, steps=first + second, **shared, **finetuning)
    parts.finetune(x, y, steps=first, **shared, **finetuning)
    if pickled:
        parts = pickle.loads(pickle.dumps(parts))
    parts.finetune(x, y, steps=second, continued=True, **shared, **finetuning)
    assert_identical(parts.parameters, whole.parameters)


@examples(30)
@given(cases(), st.integers(1, 5), st.integers(1, 5))
def test_an_autoencoder_in_two_parts(case, first, second):
    x, _, stack, shared, _ = case
    options = {key: value for key, value in shared.items() if key != "weight_decay"}
    whole, parts = (
        Autoencoder(
            *stack["sizes"][:2],
            weight_decay=shared["weight_decay"],
            seed=stack["seed"],
            dtype=stack["dtype"],
            activation=stack["activation"],
            tied=stack["tied"],
        )
        for _ in range(2)
    )
    whole.fit(x, steps=first + second, **options)
    parts.fit(x, steps=first, **options)
    parts.fit(x, steps=second, continued=True, **options)
    assert_identical(parts.parameters, whole.parameters)


@examples(30)
@given(cases())
def test_saved_and_loaded(tmp_path_factory, case):
    net = train(case)
    path = tmp_path_factory.mktemp("models") / "net.safetensors"
    expected = everything(net, case[0])
    assert_identical(everything(sae_fast.load(net.save(path)), case[0]), expected)
    assert_identical(everything(pickle.loads(pickle.dumps(net)), case[0]), expected)


# Wild arguments: an error of ours, or none, and the process lives on

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from([object(), int, len, np.float16(1), np.array(3), range(5), {}, set()]),
    st.lists(st.one_of(st.integers(-2, 5), st.floats(), st.text(max_size=2)), max_size=4),
    st.lists(st.lists(st.floats(), max_size=3), max_size=3),
    np_st.arrays(
        np_st.scalar_dtypes() | np_st.array_dtypes(max_size=2),
        np_st.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    ),
    st.builds(
        sparse.coo_array,
        np_st.arrays(
            st.sampled_from(["f4", "f8", "u1", "i4", "?"]),
            np_st.array_shapes(min_dims=2, max_dims=2, max_side=5),
        ),
    ),
)


class AtOnce(Callback):
    """Ends every training before its first step, however long it was to be."""

    def on_start(self, training):
        training.stop()


X = np.random.default_rng(0).random((5, 4))
Y = np.arange(5) % 3
STOP = [AtOnce()]
CALLS = {
    "Autoencoder": (
        lambda **k: Autoencoder(**{"n_features": 4, "n_hidden": 3, **k}),
        (
            "n_features",
            "n_hidden",
            "weight_decay",
            "activation",
            "output",
            "tied",
            "seed",
            "dtype",
            "n_threads",
            "layer",
        ),
    ),
    "StackedAutoencoder": (
        lambda **k: StackedAutoencoder(**{"sizes": [4, 3], "n_classes": 3, **k}),
        (
            "sizes",
            "n_classes",
            "activation",
            "output",
            "tied",
            "seed",
            "init",
            "dtype",
            "n_threads",
        ),
    ),
    "fit": (
        lambda **k: Autoencoder(4, 3).fit(**{"x": X, "batch_size": 2, "callbacks": STOP, **k}),
        ("x", "steps", "batch_size", "learning_rate", "eval_every", "batches", "scale", "adam"),
    ),
    "pretrain": (
        lambda **k: StackedAutoencoder([4, 3, 2]).pretrain(
            **{"x": X, "batch_size": 2, "callbacks": STOP, **k}
        ),
        ("x", "steps", "batch_size", "learning_rate", "weight_decay", "batches", "scale"),
    ),
    "finetune": (
        lambda **k: StackedAutoencoder([4, 3], 3).finetune(
            **{"x": X, "y": Y, "batch_size": 2, "callbacks": STOP, **k}
        ),
        (
            *("x", "y", "sample_weight", "steps", "batch_size", "learning_rate", "weight_decay"),
            *("eval_every", "eval_set", "batches", "scale", "loss", "adam"),
        ),
    ),
    "finetune, two steps": (
        lambda **k: StackedAutoencoder([4, 3], 3).finetune(
            **{"x": X, "y": Y, "batch_size": 2, "steps": 2, **k}
        ),
        ("x", "y", "sample_weight", "eval_set", "callbacks", "learning_rate", "weight_decay"),
    ),
    "predict_proba": (StackedAutoencoder([4, 3], 3).predict_proba, ("x", "scale")),
    "evaluate": (
        lambda **k: StackedAutoencoder([4, 3], 3).evaluate(**{"x": X, "y": Y, **k}),
        ("x", "y", "scale", "loss"),
    ),
    "decode": (Autoencoder(4, 3).decode, ("code",)),
    "parameters": (lambda b1: set_parameters({"b1": b1}), ("b1",)),
    "parameters, all": (lambda values: set_parameters(values), ("values",)),
    "classes": (lambda value: setattr(StackedAutoencoder([4, 3], 3), "classes", value), ("value",)),
    "scale": (lambda value: setattr(Autoencoder(4, 3), "scale", value), ("value",)),
}


def set_parameters(values):
    StackedAutoencoder([4, 3], 3).parameters = values


@examples(1000)
@given(
    st.sampled_from([(call, name) for call, (_, names) in CALLS.items() for name in names]),
    ANYTHING,
)
def test_wild_arguments(place, value):
    call, name = place
    arguments = {"x": X} if call == "predict_proba" else {}
    with contextlib.suppress(DataError, sae_fast.DivergenceError):
        CALLS[call][0](**{**arguments, name: value})
