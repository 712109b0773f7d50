# SPDX-License-Identifier: BSD-3-Clause
"""Corruptions of the core, seen in the gradient of one step, against NumPy's Philox."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from helpers import core, core_input, core_trainer, draw_x, take_steps
from sae_fast import Autoencoder, DataError, StackedAutoencoder, _core
from sae_fast.base.streams import Purpose, stream_key
from sae_fast.corruptions import Masking
from sae_fast.training.corruptions import CORRUPTIONS

KEY = np.random.SeedSequence(7).generate_state(2, np.uint64)
OPTIONS = {name: vars(kind()) for name, kind in CORRUPTIONS.items()}
N, N_FEATURES, N_HIDDEN = 40, 29, 5


def draws(key: np.ndarray, row: int, step: int) -> np.ndarray:
    """32 random bits for each feature of a row."""
    stream = np.random.Philox(key=key, counter=[0, row, step, 0])
    return stream.random_raw(16).astype("<u8").view("<u4")[:N_FEATURES]


def mask(x: np.ndarray, step: int, share: float, key: np.ndarray = KEY) -> np.ndarray:
    bits = np.array([draws(key, row, step) for row in range(len(x))])
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


def test_through_the_public_interface():
    """Each layer has a stream of its own, and goes on in it where it was."""
    x = draw_x(N, N_FEATURES, zeros=0.6).astype(np.float64)
    ae = Autoencoder(N_FEATURES, N_HIDDEN, seed=3, layer=2, dtype="float64")
    before = ae.parameters
    batches = np.arange(2 * N).reshape(2, N) % N
    for batch in batches:
        ae.fit(x, batches=batch[None], corruption=Masking(0.4), continued=True)
    key, step = stream_key(3, Purpose.CORRUPTION, 2), iter((1, 2))

    def gradients_of(p, batch):
        return ref.autoencoder_gradients(p, mask(x[batch], next(step), 0.4, key), target=x[batch])

    expected, _ = ref.run(ref.adam_steps(before, gradients_of, batches))
    for name, value in expected.items():
        np.testing.assert_allclose(ae.parameters[name], value, rtol=1e-9, atol=1e-12)


def test_none_and_a_share_of_zero_change_nothing():
    x = draw_x(N, N_FEATURES, zeros=0.6)
    found = []
    for corruption in (None, Masking(0)):
        net = StackedAutoencoder([N_FEATURES, 8, 4])
        histories = net.pretrain(x, steps=20, batch_size=10, corruption=corruption)
        found.append((net.parameters["W2"], [history.loss for history in histories]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("value", ["masking", 0.25, Masking, [Masking()]])
def test_what_is_no_corruption(value):
    with pytest.raises(
        DataError, match=r"^corruption: expected None or an object of sae_fast\.corruptions, got "
    ):
        Autoencoder(4, 2).fit(np.ones((3, 4)), batch_size=2, corruption=value)


@pytest.mark.parametrize("share", [-0.1, 1, 2, "a", None, float("nan")])
def test_what_is_no_share(share):
    with pytest.raises(DataError, match="share: expected "):
        Masking(share)
