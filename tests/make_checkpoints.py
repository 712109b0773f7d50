# SPDX-License-Identifier: BSD-3-Clause
"""Writes what a release keeps of runs that were broken off, for the releases after it to take up.

Run once for each release, before it: `python tests/make_checkpoints.py` makes a folder of its
version in `tests/data/checkpoints`. What is there is never written again.
"""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import numpy as np
import sae_fast
from sae_fast import RunCheckpoint, StackedAutoencoder
from sae_fast.callbacks import Callback, EarlyStopping

FOLDER = Path(__file__).parent / "data" / "checkpoints"
DTYPES = ("float32", "float64")
PHASES = {"pretraining": ("autoencoder 2", 40), "finetuning": ("fine-tuning", 70)}


def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels without a random stream, whose numbers a later NumPy might change."""
    counts = np.arange(1, n * 30 + 1, dtype=np.uint64)
    x = (counts * np.uint64(2654435761) % np.uint64(1 << 32) / 2.0**32).reshape(n, 30)
    x = np.maximum(x - 0.6, 0)
    return x, (20 * x[:, :5].sum(axis=1)).astype(np.int64) % 4


class Break(Callback):
    """Ends one training as Ctrl-C does."""

    every = 10

    def __init__(self, title: str, step: int) -> None:
        self.title, self.at = title, step

    def on_step(self, training):
        if training.title.startswith(self.title) and training.step == self.at:
            raise KeyboardInterrupt


class Resumes(Callback):
    """Says that the program takes up the training of a phase, and repeats none before it."""

    every = 1

    def __init__(self, phase: str) -> None:
        self.title, at = PHASES[phase]
        self.steps = range(at - 10, 10**6)
        self.before = True

    def on_step(self, training):
        if training.title.startswith(self.title):
            self.before = False
            assert training.step in self.steps
        assert not self.before, f"{training.title} is repeated"


def program(folder, dtype, checks=()):
    """Train a stack with an early stopping; give it, and the histories."""
    (x, y), eval_set = draw(200), draw(80)
    own = [*checks, RunCheckpoint(folder, every=10)]
    options = {"batch_size": 20, "eval_every": 20}
    net = StackedAutoencoder([30, 12, 6], 4, init="he", dtype=dtype, n_threads=1)
    histories = net.pretrain(x, steps=60, weight_decay=0.01, callbacks=own, **options)
    own.insert(len(checks), EarlyStopping(patience=50))
    history = net.finetune(x, y, steps=120, eval_set=eval_set, callbacks=own, **options)
    return net, [*histories, history]


def experiment(**options):
    """Run a small comparison of two arms."""
    arrays = (a if a.ndim == 1 else a.astype(np.float32) for n in (200, 80) for a in draw(n))
    return sae_fast.run_experiment(
        dataset=sae_fast.datasets.Dataset(*arrays, "tiny"),
        hidden=[12, 6],
        pretrain_steps=40,
        finetune_steps=60,
        batch_size=20,
        eval_every=20,
        threads=1,
        checkpoint_every=10 if "output" in options else 0,
        quiet=True,
        **options,
    )


def short_training(dtype):
    """Train a stack for a pickle."""
    x, y = draw(200)
    net = StackedAutoencoder([30, 12, 6], 4, init="he", dtype=dtype, n_threads=1)
    net.pretrain(x, steps=20, batch_size=20)
    net.finetune(x, y, steps=20, batch_size=20)
    return net


def go_on(net):
    """Continue both trainings of a stack."""
    x, y = draw(200)
    net.finetune(x, y, steps=20, batch_size=20, continued=True)
    net.pretrain(x, steps=20, batch_size=20, continued=True)


def main() -> None:
    """Write the files."""
    folder = FOLDER / sae_fast.__version__
    folder.mkdir(parents=True)
    for dtype in DTYPES:
        for phase, (title, step) in PHASES.items():
            with contextlib.suppress(KeyboardInterrupt):
                program(folder / f"{phase}-{dtype}", dtype, [Break(title, step)])
        (folder / f"stack-{dtype}.pickle").write_bytes(pickle.dumps(short_training(dtype)))

    result = experiment()
    result.models, result.environment = {}, {}
    (folder / "result.pickle").write_bytes(pickle.dumps(result))

    finetune = StackedAutoencoder.finetune

    def broken_off(self, *arguments, callbacks, title, **options):
        callbacks = [Break("fine-tuning, normal", 30), *callbacks]
        return finetune(self, *arguments, callbacks=callbacks, title=title, **options)

    StackedAutoencoder.finetune = broken_off
    with contextlib.suppress(KeyboardInterrupt):
        experiment(output=folder / "run")
    for path in folder.rglob("checkpoint-previous.safetensors"):
        path.unlink()


if __name__ == "__main__":
    main()
