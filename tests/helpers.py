# SPDX-License-Identifier: BSD-3-Clause
"""What several test files need: data like digits, comparisons, and the classes of the core."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sae_fast import _core

TIME_LIMIT = 60  # seconds that a child process may take before it counts as hanging

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
ignore_fork_warning = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def draw_x(n_samples: int, n_features: int, *, zeros: float, seed: int = 0) -> np.ndarray:
    """Float32 samples in [0, 1], all different, with a share of `zeros`.

    Each is one of ten prototypes with noise, so that there is something to learn.
    """
    rng = np.random.default_rng([seed, n_samples, n_features])
    kind = np.arange(n_samples) % 10
    strength = rng.random((10, n_features))[kind] + 0.3 * rng.random((n_samples, n_features))
    threshold = np.quantile(strength, zeros)
    return np.clip(strength - threshold, 0, 1).astype(np.float32)


def draw_y(n_samples: int, n_classes: int) -> np.ndarray:
    """Labels that go with the prototypes of `draw_x`."""
    return np.arange(n_samples, dtype=np.int64) % 10 % n_classes


def draw_batches(n_steps: int, batch_size: int, n_samples: int, seed: int = 1) -> np.ndarray:
    """Sample numbers, some of them twice in a batch."""
    return np.random.default_rng(seed).integers(0, n_samples, (n_steps, batch_size))


def assert_close(
    got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> None:
    """Compare parameters, relative to the largest absolute value of each."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        difference = np.abs(got[name] - value).max()
        limit = tolerance * np.abs(value).max()
        assert difference <= limit, f"{name}: {difference:.3g} apart, at most {limit:.3g} expected"


def assert_identical(got: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare arrays by name, bit for bit."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        a, b = np.asarray(got[name]), np.asarray(value)
        assert a.dtype == b.dtype, name
        assert a.shape == b.shape, name
        assert a.tobytes() == b.tobytes(), f"{name}: {np.sum(a != b)} of {a.size} values differ"


def core(name: str, dtype: str) -> Any:
    """Give a class of the core ("Input", "Network", "Trainer") or its "kernels" for a precision."""
    return getattr(_core, f"{name}_{dtype}")


def core_input(x: np.ndarray, dtype: str, layout: str = "automatic", n_threads: int = 1) -> Any:
    """Give the core's input for `x` in the layout of this name."""
    return core("Input", dtype)(
        x, scale=1.0, layout=getattr(_core.Layout, layout), n_threads=n_threads
    )


#: Options of each optimizer of the core where a test does not vary them.
OPTIONS = {
    "adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "corrected_epsilon": 0.0},
}


def core_optimizer(rule: str = "adam", **options: float) -> Any:
    """Give the core's optimizer of this rule."""
    return _core.Optimizer(getattr(_core.Rule, rule), {**OPTIONS[rule], **options})


def core_trainer(
    network: Any,
    data: Any,
    labels: np.ndarray | None,
    *,
    dtype: str,
    loss: Any,
    batch_size: int,
    weight_decay: float = 0.0,
    optimizer: Any = None,
    corruption: Any = None,
) -> Any:
    """Give the core's trainer of a network with a fresh state."""
    optimizer = optimizer or core_optimizer()
    return core("Trainer", dtype)(
        network,
        optimizer,
        core("OptimizerState", dtype)(network, optimizer),
        data,
        labels,
        None,
        corruption=corruption,
        loss=loss,
        weight_decay=weight_decay,
        batch_size=batch_size,
    )


def take_steps(
    trainer: Any, batches: np.ndarray, learning_rate: float = 1e-3, n_threads: int = 2
) -> None:
    """Take a step on each of the batches."""
    rates = np.full(len(batches), learning_rate)
    assert trainer.run(batches, rates, max_seconds=60, n_threads=n_threads) == len(batches)
