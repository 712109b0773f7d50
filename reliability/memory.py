# SPDX-License-Identifier: BSD-3-Clause
"""How much a process grows over many short fits of all kinds, those that end in errors included."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .row import NotHereError, Row, reported

LIMIT = 1e6  # bytes
STATUS = Path("/proc/self/statm")


def interrupt(training: Any) -> None:
    """End a training as Ctrl-C does, in the middle of it."""
    raise KeyboardInterrupt


def kinds(folder: Path) -> list[Callable[[int], object]]:
    """Return ways to fit, each with a number that varies shapes within bounds."""
    import sae_fast
    from scipy import sparse

    from .workload import N_CLASSES, draw

    x, y = draw(300, 64, 0.7)
    matrix, pixels = sparse.csr_matrix(x), (x * 255).astype(np.uint8)

    def network(number: int, **options: Any) -> sae_fast.StackedAutoencoder:
        return sae_fast.StackedAutoencoder(
            [64, 8 + number % 40, 4 + number % 9], N_CLASSES, seed=number, **options
        )

    def pretrain(number: int) -> object:
        net = network(number, n_threads=1 + number % 2)
        net.pretrain(x[: 100 + number % 200], steps=6, batch_size=30)
        return net.reconstruct(x)

    def finetune(number: int) -> object:
        # both in the warm-up too, or the first of a type reads its code into memory after it
        net = network(number, dtype=("float32", "float64")[number // 8 % 2])
        net.finetune(matrix, y, steps=8, batch_size=20 + number % 50, eval_set=(matrix, y))
        return net.predict_proba(pixels, scale=1 / 255)

    few = np.random.default_rng(1).random((40, 300), np.float32)

    def wide(number: int) -> object:
        ae = sae_fast.Autoencoder(300, 270 + number % 30, n_threads=2)
        ae.fit(few, steps=2, batch_size=20)
        return ae.encode(np.ones((3, 300)))

    def save(number: int) -> object:
        net = network(number)
        net.finetune(pixels, y, steps=3, scale=1 / 255)
        loaded = sae_fast.load(net.save(folder / "net.safetensors"))
        return pickle.loads(pickle.dumps(copy.deepcopy(loaded))).predict(pixels)

    def wrong(number: int) -> object:
        bad = x.copy()
        bad[number % 300, number % 64] = np.nan
        for arguments in ((bad, y), (x, y[1:]), (x[:, 1:], y), (sparse.csr_matrix(bad), y)):
            try:
                network(number).finetune(*arguments, steps=3)
            except sae_fast.DataError:
                continue
            raise AssertionError("expected a DataError")
        return None

    def broken_off(number: int) -> object:
        net = network(number)
        options = {"steps": 9, "eval_every": 3, "callbacks": [interrupt]}
        with contextlib.suppress(KeyboardInterrupt):
            net.pretrain(x, **options)
        with contextlib.suppress(KeyboardInterrupt):
            net.finetune(x, y, eval_set=(x, y), **options)
        return net.finetune(x, y, steps=2, continued=True)

    def diverge(number: int) -> object:
        try:
            sae_fast.Autoencoder(64, 5).fit(x, steps=50, learning_rate=1e30)
        except sae_fast.DivergenceError:
            return None
        raise AssertionError("expected a DivergenceError")

    def estimator(number: int) -> object:
        from sae_fast.sklearn import StackedAutoencoderClassifier, StackedAutoencoderTransformer

        options = {"random_state": number, "pretrain_steps": 3}
        units = (5 + number % 20,)
        StackedAutoencoderClassifier(units, steps=3, **options).fit(x, y).predict(x)
        transformer = StackedAutoencoderTransformer(units, steps=3, random_state=number)
        return transformer.fit(matrix).transform(matrix)

    return [pretrain, finetune, wide, save, wrong, broken_off, diverge, estimator]


def settle() -> None:
    """Let the interpreter's table of names grow now: at some time it takes 2 MB more, once."""
    for number in range(300_000):
        sys.intern(f"name {number} of nothing")


def resident() -> int:
    """Return the bytes of this process that are in memory, without what is free to be reused."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # of other C libraries than GNU's
        ctypes.CDLL(None).malloc_trim(0)
    return int(STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fit(n_fits: int) -> list[int]:
    """Fit so often after a warm-up; return the memory at its end and at twenty moments after it."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        ways = kinds(Path(folder))
        for number in range(-max(400, n_fits // 10), n_fits + 1):
            if number == -200:
                settle()
            if number >= 0 and number % (n_fits // 20) == 0:
                found.append(resident())
            ways[number % len(ways)](number % 997)
    return found


def check(short: bool) -> tuple[str, bool]:
    """Take 10,000 fits, or 500."""
    if not STATUS.exists():
        raise NotHereError("this system has no /proc/self/statm")
    n_fits = 500 if short else 10_000
    found = reported("memory", n_fits, seconds=1800)
    growth = min(found[-5:]) - found[0]  # what is held for a moment is no growth
    return (
        f"{growth / 1e6:+.2f} MB over {n_fits:,} fits, of {found[0] / 1e6:.0f} MB after a warm-up"
    ), growth < LIMIT


ROW = Row(test="memory over 10,000 fits", target="< 1 MB growth", check=check)

if __name__ == "__main__":
    json.dump(fit(int(sys.argv[1])), sys.stdout)
