# SPDX-License-Identifier: BSD-3-Clause
"""Threads that predict with shared models beside threads that train others, all compared.

Run as `python -m reliability.serve SECONDS`, which also serves a build under ThreadSanitizer.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sae_fast import Autoencoder

from .row import Row, reported
from .workload import TRAININGS, draw, stack

PREDICTING, TRAINING = 16, 4


def questions() -> list[Callable[[], Any]]:
    """Return calls of shared models, each the same whenever it is asked; 1 and 2 threads."""
    x, y = draw(400, 200, 0.8)
    net = stack([200, 60, 12], 0.8, steps=40, n_threads=1)
    dense, _ = draw(200, 90, 0.0)
    double = stack([90, 40, 7], 0.0, steps=40, dtype="float64", n_threads=2)
    wide_x, _ = draw(120, 300, 0.0)
    wide = Autoencoder(300, 280, n_threads=2)
    wide.fit(wide_x, steps=5, batch_size=60)
    pixels = (x * 255).astype(np.uint8)
    return [
        lambda: net.predict_proba(x),
        lambda: net.predict(x[:1]),
        lambda: net.predict(pixels, scale=1 / 255),
        lambda: net.evaluate(x, y),
        lambda: net.reconstruct(x[:70]),
        lambda: net.count_dead_units(x),
        lambda: double.predict_proba(dense),
        lambda: double.score_samples(dense),
        lambda: double.reconstruction_error(dense),
        lambda: wide.encode(wide_x),
        lambda: wide.reconstruct(wide_x),
        lambda: wide.decode(np.ones((3, 280), np.float32)),
        lambda: next(iter(net.parameters.values())),
    ]


def serve(seconds: float) -> dict[str, int]:
    """Ask and train for so long; count answers and trainings, and what was not as when alone."""
    calls = questions()
    answers = [np.asarray(call()).tobytes() for call in calls]
    hashes = [train(n_threads=1) for train in TRAININGS]
    found = {"predictions": 0, "trainings": 0, "differences": 0, "errors": 0}
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def count(kind: str, same: Callable[[int], bool], at: int) -> None:
        """Work until the time is over, from the number `at` on."""
        n = n_different = n_errors = 0
        while time.monotonic() < end:
            try:
                n_different += not same(at + n)
            except Exception as error:
                print(f"{kind}: {error!r}", file=sys.stderr)
                n_errors += 1
            n += 1
        with lock:
            found[kind] += n
            found["differences"] += n_different
            found["errors"] += n_errors

    def same_answer(number: int) -> bool:
        which = number % len(calls)
        return np.asarray(calls[which]()).tobytes() == answers[which]

    def same_hash(number: int) -> bool:
        which = number % len(TRAININGS)
        return TRAININGS[which](n_threads=1 + number % 2) == hashes[which]

    sys.setswitchinterval(1e-4)
    threads = [
        threading.Thread(target=count, args=(kind, same, at))
        for kind, same, n_threads in (
            ("predictions", same_answer, PREDICTING),
            ("trainings", same_hash, TRAINING),
        )
        for at in range(n_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def check(short: bool) -> tuple[str, bool]:
    """Serve for 10 minutes, or 8 seconds."""
    seconds = 8 if short else 600
    found = reported("serve", seconds, seconds=seconds + 120)
    reached = not found["differences"] and not found["errors"]
    return (
        f"{found['predictions']:,} predictions and {found['trainings']:,} trainings, "
        f"{found['differences']} differences, {found['errors']} errors; "
        "races: see .ci/sanitizers, which runs this under the thread sanitizer"
    ), reached and min(found["predictions"], found["trainings"]) > 0


ROW = Row(
    test="16 threads predicting and 4 training at once, 10 minutes",
    target="0 differences, 0 races",
    check=check,
)

if __name__ == "__main__":
    json.dump(serve(float(sys.argv[1])), sys.stdout)
