# SPDX-License-Identifier: BSD-3-Clause
"""Small model files and a checkpoint, damaged in every way that a bit or an end can be.

The altered bytes go to the loaders' inner functions, which files reach through nothing but a read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sae_fast import Autoencoder, ModelFileError, StackedAutoencoder
from sae_fast.exchange.model_file import from_bytes, to_bytes
from sae_fast.training.checkpoint import NAME, RunCheckpoint, _DamagedError, read_checkpoint

from .row import Row


def small_model_files() -> Iterator[tuple[str, bytes]]:
    """Yield a file of each kind of model."""
    x = np.eye(3, dtype=np.float32)
    stack = StackedAutoencoder([3, 2], 2)
    stack.pretrain(x, steps=2, batch_size=2)
    stack.finetune(x, [0, 1, 1], steps=2, batch_size=2)
    yield "autoencoder", to_bytes(Autoencoder(2, 1, weight_decay=1e-5))
    yield "stack", to_bytes(stack)


def small_checkpoint() -> bytes:
    """Return the file of a short training."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = RunCheckpoint(folder, 2, run={"seed": 0})
        model = Autoencoder(3, 2)
        model.fit(np.eye(3, dtype=np.float32), steps=6, batch_size=2, callbacks=[checkpoint])
        return Path(folder, NAME).read_bytes()


def alterations(data: bytes) -> Iterator[bytes]:
    """Yield a file with each of its bits flipped, and each of its beginnings."""
    for at in range(len(data)):
        for bit in range(8):
            yield data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
    for length in range(len(data)):
        yield data[:length]


def count_refused(
    data: bytes, read: Callable[[bytes, str], Any], error: type[Exception]
) -> tuple[int, int]:
    """Return how many alterations are refused, and how many there are."""
    read(data, "whole")
    refused = tried = 0
    for altered in alterations(data):
        tried += 1
        try:
            read(altered, "altered")
        except error:
            refused += 1
    return refused, tried


def check(short: bool) -> tuple[str, bool]:
    """Alter each file, and read it: seconds, so that there is no shorter form."""
    files = [(name, data, from_bytes, ModelFileError) for name, data in small_model_files()]
    files.append(("checkpoint", small_checkpoint(), read_checkpoint, _DamagedError))
    figures, reached = [], True
    for name, data, read, error in files:
        refused, tried = count_refused(data, read, error)
        figures.append(f"{name} ({len(data):,} bytes): {refused:,} of {tried:,} refused")
        reached = reached and refused == tried
    return "; ".join(figures), reached


ROW = Row(
    test="every single-bit flip of a small checkpoint and model file; every truncation",
    target="100 % refused or, for a flip in a weight, detected by checksum",
    check=check,
)
