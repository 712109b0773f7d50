# SPDX-License-Identifier: BSD-3-Clause
"""Corruptions of the core, seen in the gradient of one step, against NumPy's Philox."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from helpers import core, core_input, core_trainer, draw_x, take_steps
from sae_fast import _core

KEY = np.random.SeedSequence(7).generate_state(2, np.uint64)
OPTIONS = {"masking": {"share": 0.3}}
N, N_FEATURES, N_HIDDEN = 40, 29, 5


def draws(row: int, step: int) -> np.ndarray:
    """32 random bits for each feature of a row."""
    stream = np.random.Philox(key=KEY, counter=[0, row, step, 0])
    return stream.random_raw(16).astype("<u8").view("<u4")[:N_FEATURES]


def mask(x: np.ndarray, step: int, share: float) -> np.ndarray:
    bits = np.array([draws(row, step) for row in range(len(x))])
    return np.where(bits < int(share * 2**32), 0, x)


#: What each does to a batch at a step.
ORACLES = {"masking": mask}


def test_every_corruption_has_its_oracle():
    assert [kind.name for kind in _core.CorruptionName] == list(ORACLES) == list(OPTIONS)


def train(name, layout, n_threads):
    """Two steps of an autoencoder; its parameters before and after."""
    x = draw_x(N, N_FEATURES, zeros=0.6).astype(np.float64)
    network = core("Network", "float64")(
        [N_FEATURES, N_HIDDEN, N_FEATURES], [_core.Activation.relu, _core.Activation.linear]
    )
    rng = np.random.default_rng(0)
    for layer, shape in enumerate([(N_FEATURES, N_HIDDEN), (N_HIDDEN, N_FEATURES)]):
        network.set_parameters(layer, rng.normal(0, 0.3, shape), rng.normal(0, 0.3, shape[1]))
    before = parameters(network)
    kind = getattr(_core.CorruptionName, name)
    trainer = core_trainer(
        network,
        core_input(x, "float64", layout),
        None,
        dtype="float64",
        loss=_core.Loss.squared_error,
        batch_size=N,
        corruption=_core.Corruption_float64(kind, OPTIONS[name], KEY.tolist()),
    )
    take_steps(trainer, np.arange(2 * N).reshape(2, N) % N, n_threads=n_threads)
    return x, before, parameters(network)


def parameters(network):
    (w_enc, b_enc), (w_dec, b_dec) = map(network.get_parameters, range(2))
    return {"W_enc": w_enc, "b_enc": b_enc, "W_dec": w_dec, "b_dec": b_dec}


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("name", ORACLES)
def test_a_step_reads_what_is_corrupted_and_restores_what_is_clean(name, layout):
    x, before, after = train(name, layout, n_threads=1)
    step = iter((1, 2))

    def gradients_of(p, batch):
        noisy = ORACLES[name](x[batch], next(step), **OPTIONS[name])
        return ref.autoencoder_gradients(p, noisy, target=x[batch])

    batches = np.arange(2 * N).reshape(2, N) % N
    expected, _ = ref.run(ref.adam_steps(before, gradients_of, batches))
    for key, value in expected.items():
        np.testing.assert_allclose(after[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ORACLES)
def test_the_number_of_threads_has_no_influence(name):
    alone, many = (train(name, "sparse", n_threads=n)[2] for n in (1, 3))
    for key, value in alone.items():
        np.testing.assert_array_equal(many[key], value)
