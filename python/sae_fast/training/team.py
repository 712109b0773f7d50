# SPDX-License-Identifier: BSD-3-Clause
"""How many threads take the steps of a training: as many as are fastest, found out meanwhile.

At each barrier of a step all threads wait for the last one. On a quiet machine more of them are
faster; beside other programs one of them may not be running, and fewer, or one alone, take less
time. No result depends on how many there are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import ClassVar

_BESIDE = 0.002  # seconds of steps beside a thread that will end
_TRIAL = 0.005  # seconds of steps on each number of threads that is compared, twice
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 3.2  # seconds between two comparisons, twice as long each time
_DOUBT = 0.02  # seconds before the first, where it begins with fewer threads than it may use
_PAUSES = 50  # times what a comparison has cost, at least
_LEAD = 0.97  # of the time of a step: what counts as faster,
_SLOWER = 1.25  # and as a reason to compare at once


class Team:
    """Chooses between numbers of threads by the time that steps take on them.

    Ask it for a number and for how long to work, work, and tell it what that took; then ask again.
    It compares the number that it has with half of it and twice it, at once if steps have become
    slower, and else now and then, ever more rarely while nothing changes. It begins with what the
    latest team has found: the machine may be as busy still.
    """

    _found: ClassVar[dict[int, int]] = {}  # of so many threads that may be used

    def __init__(self) -> None:
        self._most = 0  # threads that may be used
        self._size = 1
        self._pace: dict[int, float] = {}  # seconds of a step, when they were compared last
        # what is still to be worked, from the end: a number of threads, and whether it counts; a
        # team that has changed is started first, and its caches filled
        self._trials: list[tuple[int, bool]] = []
        self._steps: dict[int, int] = {}
        self._seconds: dict[int, float] = {}
        self._pause = self._waited = 0.0
        self._learns = True

    def next(self, most: int, seconds: float, beside: bool = False) -> tuple[int, float]:
        """Return how many threads to take, and for how long; at most so many, and so long.

        One fewer `beside` a thread of ours that will end: nothing is learned from such a time.
        """
        if most != self._most:
            self._most, self._size = most, self._found.get(most, most)
            self._trials, self._pace, self._waited = [], {}, 0.0
            self._pause = _FIRST_PAUSE if self._size == most else _DOUBT
        self._learns = most > 1 and not beside
        if beside:
            return max(1, min(self._size, most - 1)), min(_BESIDE, seconds)
        if not self._trials:
            left = self._pause - self._waited
            if most == 1 or left > 0:
                return self._size, min(seconds, left) if most > 1 else seconds
            self._compare([self._size, *self._others()])
        size, counts = self._trials[-1]
        return size, min(_TRIAL, seconds) if counts else 0.0

    def took(self, n_steps: int, seconds: float) -> None:
        """Hear how many steps were taken since the last question, and in how many seconds."""
        if not self._learns:
            return
        if not self._trials:
            self._waited += seconds
            slow = self._pace.get(self._size, math.inf) * _SLOWER
            if seconds > slow * n_steps and self._waited >= _FIRST_PAUSE:
                self._pause = self._waited = _FIRST_PAUSE
            return
        size, counts = self._trials.pop()
        if counts:
            self._steps[size] += n_steps
            self._seconds[size] += seconds
        if not self._trials:
            self._decide()

    def _others(self) -> Iterator[int]:
        """Yield the numbers of threads beside the one that it has."""
        if self._size > 1:
            yield self._size // 2
        if self._size < self._most:
            yield min(2 * self._size, self._most)

    def _compare(self, sizes: list[int]) -> None:
        """Plan to work on each number in turn, there and back."""
        order = [*sizes, *reversed(sizes)]
        self._trials = [(order[0], True)]
        for before, size in itertools.pairwise(order):
            self._trials += [*[(size, False)] * (size != before), (size, True)]
        self._trials.reverse()
        self._steps = dict.fromkeys(sizes, 0)
        self._seconds = dict.fromkeys(sizes, 0.0)

    def _decide(self) -> None:
        """Stay with the number that was fastest."""
        self._pace = {size: self._seconds[size] / n for size, n in self._steps.items()}
        best = min(self._pace, key=lambda size: self._pace[size])
        self._waited = 0.0
        if self._pace[best] < _LEAD * self._pace[self._size]:
            self._size, self._pause = best, _FIRST_PAUSE
            self._found[self._most] = best
            if not self._pace.keys() >= set(self._others()):  # one of which may be faster yet
                return
        total = sum(self._seconds.values())
        lost = total - sum(self._steps.values()) * self._pace[best]
        longest = max(_LAST_PAUSE, _PAUSES * total)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE, _PAUSES * lost), longest)
