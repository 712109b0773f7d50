# SPDX-License-Identifier: BSD-3-Clause
"""Small IDX files and data sets for the tests, written by hand rather than by the product."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
from sae_fast.datasets import Dataset

TYPE_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    code = TYPE_CODES[f"{array.dtype.kind}{array.dtype.itemsize}"]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(
    folder: Path,
    *,
    n_train: int = 12,
    n_test: int = 5,
    side: tuple[int, int] = (3, 4),
    labels: range = range(4),
    prefix: str = "",
    test: str = "t10k",
    suffix: str = "",
) -> dict[str, np.ndarray]:
    """Write a data set in MNIST's format; returns its arrays by part ("train-images")."""
    rng = np.random.default_rng(7)
    arrays = {}
    folder.mkdir(parents=True, exist_ok=True)
    for split, n in (("train", n_train), (test, n_test)):
        parts = {
            "images-idx3": rng.integers(0, 256, (n, *side)).astype(np.uint8),
            "labels-idx1": rng.permutation(np.resize(labels, n)).astype(np.uint8),
        }
        for part, array in parts.items():
            data = idx_bytes(array)
            path = folder / f"{prefix}{split}-{part}-ubyte{suffix}"
            path.write_bytes(gzip.compress(data) if suffix == ".gz" else data)
            arrays[f"{split}-{part[:6]}"] = array
    return arrays


def digests(arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """SHA-256 of each array's IDX file."""
    return {part: hashlib.sha256(idx_bytes(array)).hexdigest() for part, array in arrays.items()}


def tiny_dataset(**changes: object) -> Dataset:
    """A valid data set of 4 and 2 samples with 6 features, with `changes`."""
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    fields = {
        "x_train": x,
        "y_train": np.array([0, 2, 1, 0]),
        "x_test": x[:2] + 1,
        "y_test": np.array([1, 3]),
        "name": "tiny",
    }
    return Dataset(**{**fields, **changes})
