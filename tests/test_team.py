# SPDX-License-Identifier: BSD-3-Clause
"""How many threads a training takes: the fastest number, on machines that are made up here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from sae_fast import Autoencoder
from sae_fast.training.team import Team

PAUSE = 0.05


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No team begins with what one of another test has found."""
    monkeypatch.setattr(Team, "_found", {})


def work(
    team: Team, most: int, seconds_of: Callable[[int], float], until: float
) -> tuple[float, int]:
    """Take steps for so many seconds; return how many there were a second, and most of the time."""
    clock, steps, spent = 0.0, 0, Counter()
    while clock < until:
        size, seconds = team.next(most, PAUSE)
        assert 1 <= size <= most
        assert 0 <= seconds <= PAUSE
        own = seconds_of(size)
        n = max(1, round(seconds / own))
        team.took(n, n * own)
        clock, steps = clock + n * own, steps + n
        if clock > until / 2:
            spent[size] += n * own
    return steps / clock, spent.most_common(1)[0][0]


class Machine:
    """Steps take what they take on so many threads; a team that changes has to start first."""

    def __init__(self, step: float, pace: dict[int, float], start: float = 0.0) -> None:
        self.step, self.pace, self.start, self.last = step, pace, start, 0

    def __call__(self, size: int) -> float:
        started, self.last = self.last, size
        return self.step * self.pace[size] + self.start * (size > started)


QUIET = {1: 1.0, 2: 0.55, 3: 0.4, 4: 0.35, 6: 0.3, 8: 0.28}
BUSY = {1: 1.0, 2: 1.3, 3: 2.0, 4: 3.0, 6: 4.0, 8: 5.0}


@pytest.mark.parametrize("step", [1e-4, 3e-2, 0.3])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("pace", [QUIET, BUSY])
def test_it_finds_the_fastest_and_the_search_costs_little(pace, most, step):
    fastest = min(pace[size] for size in pace if size <= most)
    rate, size = work(Team(), most, lambda size: step * pace[size], max(60, 2000 * step))
    assert pace[size] == fastest
    assert rate > 0.96 / (step * fastest)


def test_it_follows_the_machine():
    """Back to all threads within the longest pause, away from them much sooner."""
    team = Team()
    for _ in range(3):
        work(team, 2, lambda size: 1e-4 * QUIET[size], 10)
        rate, size = work(team, 2, lambda size: 1e-4 * BUSY[size], 1)
        assert size == 1
        assert rate > 0.9 / 1e-4
        _, size = work(team, 2, lambda size: 1e-4 * QUIET[size], 5)
        assert size == 2


def test_noise_does_not_make_it_wander():
    generator = np.random.default_rng(0)
    rate, _ = work(Team(), 2, lambda size: 1e-4 * QUIET[size] * generator.lognormal(sigma=0.3), 60)
    assert rate > 0.9 / (1e-4 * QUIET[2] * np.exp(0.3**2 / 2))


def test_what_it_takes_to_start_a_team_does_not_count():
    team = Team()
    _, size = work(team, 8, Machine(1e-4, QUIET, start=3e-3), 20)
    assert size == 8


def test_no_more_threads_are_compared_than_a_step_keeps_busy(monkeypatch):
    """Else all that are compared on a large machine may be the same team."""
    asked = set()

    def note(self, most, seconds, beside):
        asked.add(most)
        return most, seconds

    monkeypatch.setattr(Team, "next", note)
    x = np.random.default_rng(0).random((40, 6), np.float32)
    Autoencoder(6, 3, n_threads=64).fit(x, steps=3, batch_size=10)
    assert asked == {1}


@pytest.mark.parametrize("step", [1e-4, 1e-2])
def test_a_short_training_loses_little_to_looking(step):
    """Beside a busy process a step on two threads may take ten times as long as on one."""
    rate, size = work(Team(), 2, lambda size: step * {1: 1, 2: 5}[size], 2)
    assert size == 1
    assert rate > 0.9 / step


def test_the_next_team_begins_with_what_was_found():
    work(Team(), 4, lambda size: 1e-4 * BUSY[size], 5)
    assert Team().next(4, PAUSE)[0] == 1
    assert Team().next(2, PAUSE)[0] == 2
    work(Team(), 4, lambda size: 1e-4 * QUIET[size], 5)
    assert Team().next(4, PAUSE)[0] == 4


def test_another_bound_begins_anew():
    team = Team()
    work(team, 4, lambda size: 1e-4 * BUSY[size], 5)
    assert team.next(2, PAUSE)[0] == 2
    assert team.next(1, PAUSE) == (1, PAUSE)


def test_a_thread_beside_it_has_a_place_and_teaches_nothing():
    """What is read ahead takes a thread; with it there would be more than was allowed."""
    team = Team()
    work(team, 2, lambda size: 1e-4 * QUIET[size], 10)
    for _ in range(1000):
        size, seconds = team.next(2, PAUSE, beside=True)
        assert size == 1
        assert seconds <= PAUSE
        team.took(10, 10 * 1e-2)  # slow: another one works
    assert work(team, 2, lambda size: 1e-4 * QUIET[size], 1)[1] == 2
    assert Team().next(1, PAUSE, beside=True)[0] == 1
