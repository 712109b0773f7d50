# SPDX-License-Identifier: BSD-3-Clause
"""Every allocation of the core fails once: MemoryError, and nothing lost, leaked or changed.

`failing_new.cpp` is preloaded into a process that then tries one operation again and again, each
time with the next allocation failing, on the caller's thread or another of the team.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TIME_LIMIT, Watch, assert_identical, draw_x, draw_y
from sae_fast import Autoencoder, StackedAutoencoder, load
from sae_fast.training import loop as training
from scipy import sparse

N_THREADS = 3


def autoencoder() -> Autoencoder:
    return Autoencoder(90, 40, n_threads=N_THREADS)


def classifier() -> StackedAutoencoder:
    return StackedAutoencoder((90, 40, 20), 4, init="he", n_threads=N_THREADS)


X = draw_x(4200, 90, zeros=0.8)  # enough for the short way to the loss, and for several threads
DENSE = draw_x(700, 90, zeros=0.0)
TRAIN: dict[str, Any] = {"steps": 3, "batch_size": 300, "eval_every": 0}

# A model, and what is done with it.
OPERATIONS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "construction": (autoencoder, lambda _: classifier()),
    "fit, sparse": (autoencoder, lambda model: model.fit(X, **TRAIN)),
    "fit, dense": (autoencoder, lambda model: model.fit(DENSE, **TRAIN)),
    "pretrain": (classifier, lambda model: model.pretrain(X, **TRAIN)),
    "finetune": (
        classifier,
        lambda model: model.finetune(X, draw_y(len(X), 4), **TRAIN),
    ),
    "CSR": (autoencoder, lambda model: model.encode(sparse.csr_matrix(X))),
    "reconstruction error": (autoencoder, lambda model: model.reconstruction_error(X)),
    "score of samples": (autoencoder, lambda model: model.score_samples(X)),
    "evaluation": (classifier, lambda model: model.evaluate(X, draw_y(len(X), 4))),
    "prediction": (classifier, lambda model: model.predict(X)),
    "probabilities": (classifier, lambda model: model.predict_proba(DENSE)),
    "dead units": (classifier, lambda model: model.count_dead_units(X)),
    "load": (autoencoder, lambda _: load(os.environ["MODEL"])),
}


def outcome(result: Any) -> dict[str, np.ndarray]:
    """What can be compared of an operation's result."""
    if hasattr(result, "parameters"):
        return result.parameters
    histories = result is None or hasattr(result, "steps") or isinstance(result, list)
    return {} if histories else {"": np.asarray(result)}


def boundaries(name: str) -> list[dict[str, np.ndarray]]:
    """Parameters that a model may have if an operation stops half-way."""
    build, operate = OPERATIONS[name]
    model = build()
    states = [model.parameters]
    seconds, training._RESPONSE_SECONDS = training._RESPONSE_SECONDS, 0  # each step on its own
    watch = Watch(lambda _: states.append(model.parameters))
    watch.on_start = watch.on_step  # after a start from the data
    TRAIN["callbacks"] = [watch]
    operate(model)
    del TRAIN["callbacks"]
    training._RESPONSE_SECONDS = seconds
    return [*states, model.parameters]


def exhaust(name: str) -> None:
    """Let each allocation of an operation fail; print how many there were."""
    libc = ctypes.CDLL(None)
    build, operate = OPERATIONS[name]
    states = boundaries(name)
    expected = outcome(operate(build()))
    n_errors = 0
    gc.freeze()  # else each collection goes through all that was imported
    for n in itertools.count():
        gc.collect()
        live = libc.live_allocations()
        model, result = build(), None
        libc.fail_new(n)
        try:
            result = operate(model)
        except MemoryError:
            n_errors += 1
        failed = libc.fail_new(-1) < 0
        state = model.parameters
        if result is not None:
            assert_identical(outcome(result), expected)
            assert_identical(state, states[-1])
        assert any(all((state[k] == s[k]).all() for k in state) for s in states), n
        del model, result
        gc.collect()
        assert libc.live_allocations() == live, f"{n}: {libc.live_allocations() - live} leaked"
        if not failed:
            break
    print(n, n_errors)


@pytest.fixture(scope="module")
def preload(tmp_path_factory):
    """The environment of a process whose allocations can fail."""
    compiler = shutil.which("c++")
    if sys.platform != "linux" or not compiler:
        pytest.skip("needs Linux and a C++ compiler")
    folder = tmp_path_factory.mktemp("failing_new")
    library = folder / "failing_new.so"
    source = Path(__file__).with_name("failing_new.cpp")
    subprocess.run(
        [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", source, "-o", library, "-ldl"],
        check=True,
        env={**os.environ, "LD_PRELOAD": ""},
    )
    return {
        **os.environ,
        "LD_PRELOAD": f"{library} {os.environ.get('LD_PRELOAD', '')}",
        # ours stands before the sanitizer's, and hands on to it
        "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0",
        "MODEL": str(autoencoder().save(folder / "model.safetensors")),
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_allocation_fails_once(name, preload):
    done = subprocess.run(
        [sys.executable, __file__, name],
        env=preload,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    n, n_errors = map(int, done.stdout.split())
    assert n >= n_errors > 1


if __name__ == "__main__":
    exhaust(sys.argv[1])
