# SPDX-License-Identifier: BSD-3-Clause
"""The short experiment that several rows run, in this process or in a forked one."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sae_fast import ExperimentResult, run_experiment
from sae_fast.datasets import Dataset, load_strokes

SECONDS = 60  # after which a process counts as hanging


def _small_data() -> Dataset:
    """Strokes of half the height and width: the PCA beside the autoencoders then takes no time."""
    full = load_strokes(n_train=1000, n_test=200)

    def halve(x: Any) -> Any:
        return np.ascontiguousarray(x.reshape(-1, 28, 28)[:, ::2, ::2]).reshape(len(x), -1)

    x_train, x_test = halve(full.x_train), halve(full.x_test)
    return Dataset(x_train, full.y_train, x_test, full.y_test, "small", full.scale, (14, 14))


SETTINGS: dict[str, Any] = {
    "dataset": _small_data(),
    "arms": ["pretrained", "normal", "he"],
    "hidden": [100, 50, 25, 12, 5, 5],
    "pretrain_steps": 60,
    "finetune_steps": 300,
    "eval_every": 30,
    "quiet": True,
}


def digest(result: ExperimentResult) -> str:
    """Return one hash of all that a run found, except times."""
    found = hashlib.sha256()
    for layer in result.pretraining:
        found.update(repr((layer.layer, layer.steps, layer.loss, layer.dead_units)).encode())
    for name, arm in result.arms.items():
        found.update(repr((name, arm.steps, arm.test_loss, arm.test_accuracy)).encode())
        for parameter, value in result.models[name].parameters.items():
            found.update(parameter.encode() + np.ascontiguousarray(value).tobytes())
    for codes in result.codes.values():
        found.update(codes.tobytes())
    return found.hexdigest()


def run_into(folder: Path, **options: Any) -> str:
    """Run the experiment into a folder, on from its checkpoint if there is one; no pictures."""
    sys.modules["matplotlib"] = None  # type: ignore[assignment]
    resume = any(folder.glob("checkpoint*.safetensors"))
    return digest(run_experiment(**SETTINGS, output=folder, resume=resume, **options))


def fork(function: Callable[[], object]) -> int:
    """Run a function in a forked process, whose status is 0 if it returned; return its number."""
    process = os.fork()
    if not process:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return process


def wait(process: int) -> int | None:
    """Return the status of a forked process, negative of a signal, or None if it hung."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return None
