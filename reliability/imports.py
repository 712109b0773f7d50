# SPDX-License-Identifier: BSD-3-Clause
"""Every order of import beside libraries with threads of their own, a process for each.

Each library trains when all are there, then sae_fast, then sae_fast in a forked child.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import subprocess
import sys
import warnings
from typing import Any

import numpy as np

from .row import NotHereError, Row, python

PACKAGES = ("sae_fast", "torch", "sklearn", "lightgbm", "xgboost")
#: For the short form: sae_fast before all others, and after them.
FEW = ((0, 1, 2, 3, 4), (4, 3, 1, 2, 0))
TIME_LIMIT = 120  # seconds; a process takes some 5


def train_torch(x: Any, y: Any) -> None:
    """Take steps of gradient descent, on several threads."""
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(20, 256), torch.nn.ReLU(), torch.nn.Linear(256, 3))
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def train_sklearn(x: Any, y: Any) -> None:
    """Fit trees, on OpenMP's threads, and clusters, which limit those of all BLAS."""
    from sklearn.cluster import KMeans
    from sklearn.ensemble import HistGradientBoostingClassifier

    HistGradientBoostingClassifier(max_iter=3).fit(x, y)
    KMeans(3, n_init=1, random_state=0).fit(x)


def train_lightgbm(x: Any, y: Any) -> None:
    """Fit a few trees."""
    import lightgbm

    lightgbm.train({"verbose": -1}, lightgbm.Dataset(x, y), num_boost_round=3)


def train_xgboost(x: Any, y: Any) -> None:
    """Fit a few trees."""
    import xgboost

    xgboost.train({}, xgboost.DMatrix(x, y), num_boost_round=3)


def train_sae_fast(x: Any, y: Any) -> str:
    """Train through all of the core, and return a hash."""
    from .workload import TRAININGS

    return " ".join(train(n_threads=2) for train in TRAININGS)


def run(order: list[str]) -> None:
    """Import in this order, train with all, fork and train again; print both hashes."""
    for name in order:
        importlib.import_module(name)
    rng = np.random.default_rng(0)
    x, y = rng.random((2000, 20), dtype=np.float32), np.arange(2000) % 3
    for name in order:
        globals()[f"train_{name}"](x, y)
    print(train_sae_fast(x, y), flush=True)
    child = os.fork()
    if child == 0:
        try:
            print(train_sae_fast(x, y), flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def check(short: bool) -> tuple[str, bool]:
    """Try all 120 orders, or 2."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing or not hasattr(os, "fork"):
        raise NotHereError(f"needs {', '.join(missing)}: pip install 'sae-fast[reliability]'")
    every = list(itertools.permutations(PACKAGES))
    orders = [[PACKAGES[i] for i in few] for few in FEW] if short else every
    expected = train_sae_fast(None, None)
    hashes, n_hangs, n_errors = [], 0, 0
    for order in orders:
        process = python("imports", *order, stdout=subprocess.PIPE, start_new_session=True)
        try:
            lines = process.communicate(timeout=TIME_LIMIT)[0].decode().splitlines()
            hashes += lines
            n_errors += process.returncode != 0 or len(lines) != 2
        except subprocess.TimeoutExpired:
            n_hangs += 1
            os.killpg(process.pid, 9)
            process.wait()
    n_hashes = len({expected, *hashes})
    return (
        f"{len(orders)} orders, {n_hangs} hangs, {n_errors} errors, "
        f"{n_hashes} hash{'' if n_hashes == 1 else 'es'} of {len(hashes)} results"
    ), not n_hangs and not n_errors and n_hashes == 1


ROW = Row(
    test="import orders with torch, scikit-learn, LightGBM, XGBoost (all 120), then train and fork",
    target="0 hangs, one hash",
    check=check,
)

if __name__ == "__main__":
    warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
    run(sys.argv[1:])
