# SPDX-License-Identifier: BSD-3-Clause
"""The loss over a large sparse set without its reconstruction: terms that cancel, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import core_input, draw_x
from sae_fast import Autoencoder, _core

N_SAMPLES, N_FEATURES, N_HIDDEN = 5000, 90, 12


def make(dtype, *, decoder_bias=0.0, n_hidden=N_HIDDEN):
    model = Autoencoder(N_FEATURES, n_hidden, dtype=dtype, n_threads=2)
    rng = np.random.default_rng(0)
    model.parameters = {
        "W_enc": rng.normal(0, 0.4, (N_FEATURES, n_hidden)),
        "b_enc": rng.normal(0, 0.2, n_hidden),
        "W_dec": rng.normal(0, 0.4, (n_hidden, N_FEATURES)),
        "b_dec": decoder_bias * rng.normal(0, 1, N_FEATURES),
    }
    return model


def exact_loss(model, x):
    p = {name: value.astype(np.float64) for name, value in model.parameters.items()}
    code = np.maximum(x.astype(np.float64) @ p["W_enc"] + p["b_enc"], 0)
    return ((code @ p["W_dec"] + p["b_dec"] - x) ** 2).sum()


def losses(model, x, n_threads=2):
    """By the non-zeros alone, and through the reconstruction."""
    return [
        _core.evaluate(
            model._network,
            core_input(x, model.dtype, layout, n_threads=2),
            None,
            loss=_core.Loss.squared_error,
            weight_decay=0.0,
            n_threads=n_threads,
        )[0]
        for layout in ("sparse", "dense")
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("decoder_bias", [0.0, 0.3, 10.0])
@pytest.mark.parametrize("n_samples", [4095, 4096, N_SAMPLES])
def test_loss(n_samples, decoder_bias, dtype, tolerance):
    x = draw_x(n_samples, N_FEATURES, zeros=0.9)
    model = make(dtype, decoder_bias=decoder_bias)
    by_expansion, by_reconstruction = losses(model, x)
    expected = exact_loss(model, x)
    assert by_expansion == pytest.approx(expected, rel=tolerance)
    assert by_reconstruction == pytest.approx(expected, rel=tolerance)
    # both ways were gone, and small sets only one; in float64 both may round to the same number
    if n_samples < 4096 or dtype == "float32":
        assert (by_expansion == by_reconstruction) == (n_samples < 4096)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rest", [5.0, 2.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 0.0])
def test_terms_that_cancel(rest, dtype):
    """A decoder that gives back its input but for a rest: the terms are 1/rest² as large.

    With a rest of 1, 0.9 % of them is left, three times what the expansion is trusted with.
    """
    x = np.zeros((N_SAMPLES, N_FEATURES), np.float32)
    x[:, ::8] = draw_x(N_SAMPLES, N_HIDDEN, zeros=0.3)
    model = make(dtype)
    rng = np.random.default_rng(0)
    identity = np.zeros((N_FEATURES, N_HIDDEN))
    identity[::8] = np.eye(N_HIDDEN)
    model.parameters = {
        "W_enc": identity,
        "b_enc": np.zeros(N_HIDDEN),
        "W_dec": identity.T + rest * rng.normal(0, 0.1, identity.T.shape) * (identity.T != 0),
    }
    tolerance = {"float32": 5e-6 if rest >= 1 else 2e-4, "float64": 1e-9}[dtype]
    by_expansion, by_reconstruction = losses(model, x)
    assert by_expansion == pytest.approx(exact_loss(model, x), rel=tolerance, abs=1e-30)
    if rest < 1:
        assert by_expansion == by_reconstruction  # what is left was not trusted
    elif dtype == "float32":
        assert by_expansion != by_reconstruction


@pytest.mark.parametrize("scale", [1e18, 3e18, 1e19, 1e-18, 1e-22])
def test_scales_whose_squares_have_no_digits(scale):
    """Encoder times, decoder over a scale: the same reconstruction, but not the same products."""
    x, model = draw_x(N_SAMPLES, N_FEATURES, zeros=0.9), make("float32")
    p = model.parameters
    model.parameters = {
        "W_enc": p["W_enc"] * scale,
        "b_enc": p["b_enc"] * scale,
        "W_dec": p["W_dec"] / scale,
    }
    assert losses(model, x)[0] == pytest.approx(exact_loss(model, x), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads(dtype):
    x, model = draw_x(N_SAMPLES, N_FEATURES, zeros=0.9), make(dtype, decoder_bias=0.1)
    expected = losses(model, x, 1)
    for n_threads in (2, 3, 7):
        assert losses(model, x, n_threads) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_seen(bad):
    x, model = draw_x(N_SAMPLES, N_FEATURES, zeros=0.9), make("float32")
    w = model.parameters["W_dec"]
    w[3, 5] = bad
    model._network.set_parameters(1, w, model.parameters["b_dec"])
    assert not np.isfinite(losses(model, x)).any()
