# SPDX-License-Identifier: BSD-3-Clause
"""sae_fast through its public interface alone: the one program here that imports it."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import sae_fast
import shared
from shared import EVAL_EVERY


class Watch(sae_fast.callbacks.Callback):
    """Looks at the clock after every stretch of a training."""

    def __init__(self, stretch: int) -> None:
        self.every = stretch  # steps
        self.times: list[float] = []

    def on_step(self, training: sae_fast.callbacks.Training) -> None:
        self.times.append(time.perf_counter())


class Peer(shared.Peer):
    """sae_fast."""

    version = f"sae_fast {sae_fast.__version__}"

    def experiment(self, options):
        result = sae_fast.run_experiment(
            dataset=load(options),
            arms=shared.ARMS,
            pretrain_steps=options.pretrain_steps,
            finetune_steps=options.finetune_steps,
            seed=options.seed,
            threads=self.threads,
            quiet=True,
        )
        return {
            "pretraining": [
                {"layer": layer.layer, "loss": layer.loss, "seconds": layer.seconds}
                for layer in result.pretraining
            ],
            "arms": {arm: record(run) for arm, run in result.arms.items()},
            "seconds": result.seconds,
            "compile_seconds": 0.0,
        }

    def finetune(self, options):
        data = load(options)
        started = time.perf_counter()
        history = finetune(data, options, options.seed, self.threads)
        seconds = time.perf_counter() - started
        arm = shared.arm_record(history.loss, history.accuracy, seconds)
        return {"arms": {"he": arm}, "seconds": seconds}

    def pair(self, options):
        data = load(options)

        def train(seed: int) -> None:
            finetune(data, options, seed, n_threads=1)

        def train_two() -> None:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(train, range(2)))

        rounds = [
            (shared.seconds_of(lambda: train(0)), shared.seconds_of(train_two))
            for _ in range(options.stretches)
        ]
        return {"alone_seconds": [a for a, _ in rounds], "pair_seconds": [b for _, b in rounds]}

    def time_stretches(self, point, x, y, batches, n):
        net = sae_fast.StackedAutoencoder(
            point.sizes[:-1], point.sizes[-1], init="he", n_threads=self.threads
        )
        watch = Watch(len(batches))
        net.finetune(x, y, batches=np.tile(batches, (n + 1, 1)), eval_every=0, callbacks=[watch])
        return [after - before for before, after in itertools.pairwise(watch.times)]

    def predictor(self, layers):
        sizes = [len(w) for w, _ in layers]
        net = sae_fast.StackedAutoencoder(sizes, layers[-1][0].shape[1], n_threads=self.threads)
        net.parameters = {
            name: array
            for number, (w, b) in enumerate(layers, start=1)
            for name, array in ((f"W{number}", w), (f"b{number}", b))
        }
        return net.predict


def load(options) -> sae_fast.datasets.Dataset:
    return sae_fast.datasets.load("mnist", options.data_dir, offline=True)


def finetune(data, options, seed: int, n_threads: int) -> sae_fast.History:
    """Train the article's network from He's weights, with its evaluations."""
    net = sae_fast.StackedAutoencoder(
        shared.SIZES[:-1], shared.N_CLASSES, seed=seed, init="he", n_threads=n_threads
    )
    return net.finetune(
        data.x_train,
        data.y_train,
        steps=options.finetune_steps,
        eval_every=EVAL_EVERY,
        eval_set=(data.x_test, data.y_test),
        scale=data.scale,
    )


def record(run):
    return shared.arm_record(run.test_loss, run.test_accuracy, run.seconds)


VARIANTS = {"default": Peer}
