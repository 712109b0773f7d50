# SPDX-License-Identifier: BSD-3-Clause
"""Small trainings that take every way through the core, and a hash of what comes of them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from sae_fast import Autoencoder, StackedAutoencoder

N_CLASSES = 4


def draw(n_samples: int, n_features: int, zeros: float) -> Any:
    """Return samples (n_samples, n_features) in [0, 1], a share of them zero, and labels."""
    rng = np.random.default_rng([n_samples, n_features])
    x = rng.random((n_samples, n_features), dtype=np.float32)
    y = np.arange(n_samples) % N_CLASSES
    x[np.arange(n_samples), y] += 1
    x[rng.random(x.shape) < zeros] = 0
    return x / 2, y


def stack(sizes: list[int], zeros: float, *, steps: int, **options: Any) -> StackedAutoencoder:
    """Return a network that has been pretrained and fine-tuned."""
    x, y = draw(300, sizes[0], zeros)
    net = StackedAutoencoder(sizes, N_CLASSES, init="he", **options)
    net.pretrain(x, steps=steps, batch_size=50, eval_every=steps)
    net.finetune(x, y, steps=steps, batch_size=50, eval_every=steps, eval_set=(x, y))
    return net


def sparse_training(**options: Any) -> str:
    """Train on mostly zeros, through layers of our own kernels."""
    return digest(stack([200, 60, 12], 0.8, steps=40, **options))


def wide_training(**options: Any) -> str:
    """Train layers that are cut by columns."""
    x, _ = draw(120, 300, 0.0)
    ae = Autoencoder(300, 280, **options)
    ae.fit(x, steps=10, batch_size=60)
    return digest(ae)


def blas_training(**options: Any) -> str:
    """Train layers that go through BLAS."""
    return wide_training(dtype="float64", **options)


def double_training(**options: Any) -> str:
    """Train in float64, on dense samples."""
    return digest(stack([90, 40, 7], 0.0, steps=40, dtype="float64", **options))


TRAININGS = (sparse_training, wide_training, double_training, blas_training)


def digest(*models: Any) -> str:
    """Return a hash of all parameters, those of the autoencoders in a stack included."""
    found = hashlib.sha256()
    for model in models:
        for part in (model, *getattr(model, "autoencoders", ())):
            for value in part.parameters.values():
                found.update(value.tobytes())
    return found.hexdigest()
