# SPDX-License-Identifier: BSD-3-Clause
"""The same bits for every number of threads."""

from __future__ import annotations

from collections import Counter

from sae_fast import run_experiment

from .row import Row
from .runs import SETTINGS, digest

THREADS = (1, 2, 3, 4, 7, 8, 16, 64)


def check(short: bool) -> tuple[str, bool]:
    """Run the experiment with every number of threads, for each seed."""
    n_seeds = 1 if short else 5
    hashes = [
        {digest(run_experiment(**SETTINGS, seed=seed, threads=n)) for n in THREADS}
        for seed in range(n_seeds)
    ]
    counts = Counter(map(len, hashes))
    found = ", ".join(
        f"{n} hash{'es' * (n > 1)} for {of} seed{'s' * (of > 1)}" for n, of in counts.items()
    )
    different_seeds = len(set().union(*hashes)) >= n_seeds  # or nothing was compared
    return found, set(counts) == {1} and different_seeds


ROW = Row(
    f"thread counts {', '.join(map(str, THREADS))} x 5 seeds, the whole short experiment",
    "one hash per seed",
    check,
)
