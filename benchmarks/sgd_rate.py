# SPDX-License-Identifier: BSD-3-Clause
"""Which rates gradient descent bears: losses after 500 steps at multiples of a rate from the data.

The unit is ``(1 - momentum) / (batch_size (1 + s))``, s being the mean of ``‖x‖²``; Adam's loss at
its default stands beside. Run: ``python benchmarks/sgd_rate.py [FOLDER OF MNIST]``.
"""

from __future__ import annotations

import sys

import numpy as np
from sae_fast import Autoencoder, DivergenceError, datasets
from sae_fast.optimizers import SGD
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

FACTORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def loss_of(x: np.ndarray, n_hidden: int, batch_size: int, **options: object) -> str:
    ae = Autoencoder(x.shape[1], n_hidden)
    try:
        history = ae.fit(x, steps=500, batch_size=batch_size, eval_every=0, **options)
    except DivergenceError:
        return "diverged"
    return f"{history.mean_loss[-1]:.3f}"


def main() -> None:
    digits = load_digits().data
    kinds = {"digits": digits / 16, "digits, standardized": StandardScaler().fit_transform(digits)}
    if len(sys.argv) > 1:
        x = datasets.load_mnist(sys.argv[1], download=False).x_train[:10_000]
        kinds["MNIST"] = x / np.float64(255 if x.dtype == np.uint8 else 1)
    print("data, batch size, units, momentum:", *FACTORS, "| Adam")
    for name, x in kinds.items():
        for batch_size in (20, 100):
            for n_hidden in (20, 100):
                adam = loss_of(x, n_hidden, batch_size)
                for momentum in (0.0, 0.9):
                    unit = (1 - momentum) / (batch_size * (1 + (x**2).sum(axis=1).mean()))
                    losses = [
                        loss_of(
                            x,
                            n_hidden,
                            batch_size,
                            optimizer=SGD(momentum),
                            learning_rate=factor * unit,
                        )
                        for factor in FACTORS
                    ]
                    print(f"{name}, {batch_size}, {n_hidden}, {momentum}:", *losses, "|", adam)


if __name__ == "__main__":
    main()
