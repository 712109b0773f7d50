# SPDX-License-Identifier: BSD-3-Clause
"""The core's networks and trainers, as the benchmarks of single pieces need them."""

from __future__ import annotations

import numpy as np
from sae_fast import _core

ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "corrected_epsilon": 0.0}
RELU, LINEAR = _core.Activation.relu, _core.Activation.linear


def make_network(sizes, activation=RELU):
    """Give a network of such layers and a linear one with He's initialisation: ReLUs live."""
    n_layers = len(sizes) - 1
    network = _core.Network_float32(sizes, [activation] * (n_layers - 1) + [LINEAR])
    rng = np.random.default_rng(0)
    for layer in range(n_layers):
        n_in, n_out = sizes[layer : layer + 2]
        w = rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out)).astype(np.float32)
        network.set_parameters(layer, w, np.zeros(n_out, np.float32))
    return network


def make_trainer(
    network, x, labels, loss, *, state=None, batch_size=100, corruption=None, optimizer=None
):
    optimizer = optimizer or _core.Optimizer(_core.Rule.adam, ADAM)
    return _core.Trainer_float32(
        network,
        optimizer,
        state or _core.OptimizerState_float32(network, optimizer),
        x,
        labels,
        None,
        corruption=corruption,
        dropout=(),
        loss=loss,
        weight_decay=0.0,
        batch_size=batch_size,
    )


def take_steps(trainer, batches, n_threads, learning_rate=1e-3):
    rates = np.full(len(batches), learning_rate)
    return trainer.run(batches, rates, max_seconds=60, n_threads=n_threads)
