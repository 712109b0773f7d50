# SPDX-License-Identifier: BSD-3-Clause
"""Steps among denormal numbers, beside the same steps among others: the ratio has to be 1.

Where a unit is dead, Adam's moments of its weights shrink by a factor at every step, and come in
some 900 of them (float32) to where some processors take many times as long for each product; an AMD
EPYC multiplies and adds them as fast as others, and takes twice as long for a root or a quotient.
Run: pytest benchmarks/test_denormals.py --benchmark-columns=min,median
"""

from __future__ import annotations

import numpy as np
import pytest
from pieces import ADAM, make_network, make_trainer, take_steps
from sae_fast import _core

SIZES = {"784-100-784": (784, 100), "512-512-512": (512, 512)}  # the second goes through BLAS
N_STEPS = 100
DENORMAL = np.float32(1e-40)


def normal(values):
    """Leave all as they are."""


def dead_units(values):
    values["b1"][:] = -1e6
    values["m"][:] = DENORMAL
    values["v"][:] = DENORMAL


def denormal_weights(values):
    values["w1"][:] = DENORMAL
    values["w2"][:] = DENORMAL


def denormal_samples(values):
    values["x"][:] = DENORMAL


@pytest.mark.parametrize("change", [normal, dead_units, denormal_weights, denormal_samples])
@pytest.mark.parametrize("sizes", SIZES)
def test_hundred_steps(benchmark, sizes, change):
    benchmark.group = sizes
    n_features, n_hidden = SIZES[sizes]
    rng = np.random.default_rng(0)
    network = make_network([n_features, n_hidden, n_features])
    state = _core.OptimizerState_float32(network, _core.Optimizer(_core.Rule.adam, ADAM))
    (m, v), _ = state.get_state()
    values = {
        "x": rng.random((2000, n_features), dtype=np.float32),
        "w1": rng.normal(0, 0.05, (n_features, n_hidden)).astype(np.float32),
        "b1": np.zeros(n_hidden, np.float32),
        "w2": rng.normal(0, 0.05, (n_hidden, n_features)).astype(np.float32),
        "m": np.full_like(m, 1e-3),
        "v": np.full_like(v, 1e-3),
    }
    change(values)
    x = _core.Input_float32(values["x"], scale=1.0, layout=_core.Layout.dense, n_threads=1)
    batches = rng.integers(0, 2000, (N_STEPS, 100))

    def set_up():
        network.set_parameters(0, values["w1"], values["b1"])
        network.set_parameters(1, values["w2"], np.zeros(n_features, np.float32))
        state.set_state([values["m"], values["v"]], 900)
        trainer = make_trainer(network, x, None, _core.Loss.squared_error, state=state)
        return (trainer,), {}

    def run(trainer):
        # a rate that keeps the parameters where they are
        take_steps(trainer, batches, 1, learning_rate=1e-42)

    benchmark.pedantic(run, setup=set_up, rounds=10, warmup_rounds=1)
