# SPDX-License-Identifier: BSD-3-Clause
"""Steps of a wide network with each activation and each optimizer beside ReLU with Adam: ratios.

784-1000-1000-10, batches of 100, float32, dense random samples. The two take turns; a ratio is one
round's, and the median of all rounds is what counts. At most 1.1 is the aim.
Run: python benchmarks/family.py [--rounds 5] [--threads 2] [--width 1000]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from machine import describe, facts
from pieces import make_network, make_trainer, take_steps
from sae_fast import _core
from sae_fast.training.optimizers import RULES

BATCH, N_STEPS, N_SAMPLES = 100, 30, 2000
RELU = _core.Activation.relu
TOP_K = _core.Activation.top_k  # which searches besides: test_steps.py


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--short", action="store_true", help="run all of it on as little as it can")
    options = parser.parse_args()
    n_steps = N_STEPS
    if options.short:
        n_steps, options.rounds, options.width = 2, 1, 260
    print(describe(facts()))
    rng = np.random.default_rng(0)
    samples = rng.random((N_SAMPLES, 784), dtype=np.float32)
    dense = _core.Layout.dense
    x = _core.Input_float32(samples, scale=1.0, layout=dense, n_threads=options.threads)
    labels = rng.integers(0, 10, N_SAMPLES)
    sizes = [784, options.width, options.width, 10]

    def trainer(activation=RELU, rule="adam"):
        optimizer = _core.Optimizer(_core.Rule[rule], RULES[rule]()._options())
        network = make_network(sizes, activation)
        loss = _core.Loss.cross_entropy
        return make_trainer(network, x, labels, loss, batch_size=BATCH, optimizer=optimizer)

    def seconds(one, batches):
        start = time.perf_counter()
        take_steps(one, batches, options.threads, learning_rate=1e-4)
        return (time.perf_counter() - start) / len(batches)

    others = {
        **{a.name: (a, "adam") for a in _core.Activation if a not in (RELU, TOP_K)},
        **{rule: (RELU, rule) for rule in RULES if rule != "adam"},
    }
    for name, other in others.items():
        pair = trainer(), trainer(*other)
        ratios, plain = [], []
        for r in range(options.rounds + 1):
            batches = rng.integers(0, N_SAMPLES, (n_steps, BATCH))
            taken = {i: seconds(pair[i], batches) for i in ((0, 1) if r % 2 else (1, 0))}
            if r > 0:  # the first one warms up
                ratios.append(taken[1] / taken[0])
                plain.append(taken[0])
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        base = f"{1e3 * statistics.median(plain):.2f} ms a step"
        print(f"{name}: {middle:.3f} ({low:.3f} to {high:.3f}) times {base}")


if __name__ == "__main__":
    main()
