# SPDX-License-Identifier: BSD-3-Clause
"""Steps of the first autoencoder with each noise beside those without: ratios, paired.

784-100, batches of 100, float32, on MNIST's bytes where `SAE_FAST_DATA_DIR` or the cache has it,
else on the embedded strokes. With and without take turns; a ratio is one round's, and the median of
all rounds is what counts; of one thread it is the processor's time. Masking has to stay at 1 or
below: it leaves less to compute.
Run: python benchmarks/noise.py [--rounds 9] [--threads 1,2]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import sae_fast
from machine import describe, facts
from pieces import make_network, make_trainer, take_steps
from sae_fast import _core
from sae_fast.corruptions import Gaussian, Masking, SaltAndPepper, Swap

SIZES = [784, 100, 784]
N_STEPS, BATCH = 200, 100
NOISES = (Masking(0.25), Masking(0.1), Masking(0.5), Gaussian(), SaltAndPepper(), Swap())


def load():
    try:
        data = sae_fast.datasets.load("mnist", None, offline=True)
    except sae_fast.DatasetUnavailableError:
        data = sae_fast.datasets.load_strokes()
    print(data.name)
    layout = _core.Layout.automatic
    return _core.Input_float32(data.x_train, scale=data.scale, layout=layout, n_threads=2)


def seconds(trainer, batches, n_threads):
    clock = time.thread_time if n_threads == 1 else time.perf_counter
    start = clock()
    take_steps(trainer, batches, n_threads)
    return (clock() - start) / len(batches)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", default="1,2")
    options = parser.parse_args()
    x = load()
    print(describe(facts()))

    def trainer(noise=None):
        core = noise and _core.Corruption_float32(
            _core.CorruptionName[noise.name], noise.numbers(), 1
        )
        loss = _core.Loss.squared_error
        return make_trainer(make_network(SIZES), x, None, loss, corruption=core)

    rng = np.random.default_rng(0)
    for n_threads in map(int, options.threads.split(",")):
        for noise in NOISES:
            pair = trainer(), trainer(noise)
            ratios, plain = [], []
            for r in range(options.rounds + 1):
                batches = rng.integers(0, x.n_samples, (N_STEPS, BATCH))
                order = (0, 1) if r % 2 else (1, 0)
                taken = {i: seconds(pair[i], batches, n_threads) for i in order}
                if r > 0:  # the first one warms up
                    ratios.append(taken[1] / taken[0])
                    plain.append(taken[0])
            low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
            print(
                f"{n_threads} threads, {noise}: {middle:.3f} ({low:.3f} to {high:.3f}) times "
                f"{1e6 * statistics.median(plain):.0f} us a step"
            )


if __name__ == "__main__":
    main()
