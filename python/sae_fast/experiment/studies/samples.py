# SPDX-License-Identifier: BSD-3-Clause
"""The runs of what is compared, alone and in pairs, and what statistics say of them.

Runs of one seed are pairs. A run that diverged gives no network: it counts with the accuracy of a
guess, never reaches 90 % and has come to nothing, so that no average forgets it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import statistics
from .grid import title_of
from .runs import Run
from .statistics import Interval


@dataclasses.dataclass(frozen=True)
class Sample:
    """The runs of a variant, one for each seed, and what they say of it."""

    name: str
    arm: str
    settings: dict[str, Any]
    runs: list[Run]  # in the order of seeds

    @property
    def title(self) -> str:
        """Its name as people read it, settings as options."""
        return title_of(self.arm, self.settings)

    @property
    def accuracies(self) -> list[float]:
        """Final accuracy of each run."""
        return [run.accuracy for run in self.runs]

    @property
    def steps_to_90(self) -> list[float]:
        """Steps to 90 % of each run, infinite where it never got there."""
        return [run.steps_to_90 for run in self.runs]

    @property
    def n_collapsed(self) -> int:
        """How many runs came to nothing."""
        return sum(run.collapsed for run in self.runs)

    @property
    def n_diverged(self) -> int:
        """How many of these diverged."""
        return sum(run.divergence is not None for run in self.runs)

    @property
    def n_never(self) -> int:
        """How many runs never reached 90 %."""
        return sum(map(math.isinf, self.steps_to_90))

    @functools.cached_property
    def mean_ci95(self) -> Interval:
        """Of the mean final accuracy."""
        return statistics.bootstrap(self.accuracies)

    @functools.cached_property
    def median_ci95(self) -> Interval:
        """Of the median final accuracy."""
        return statistics.bootstrap(self.accuracies, np.median)

    @functools.cached_property
    def steps_ci95(self) -> Interval:
        """Of the median steps to 90 %."""
        return statistics.bootstrap(self.steps_to_90, np.median)

    @functools.cached_property
    def collapsed_ci95(self) -> Interval:
        """Of the share of collapsed runs."""
        return statistics.wilson(self.n_collapsed, len(self.runs))

    @property
    def dead_units(self) -> list[float]:
        """Per hidden layer: mean number of dead units, over the runs that did not diverge."""
        counts = [run.dead_units for run in self.runs if run.curve]
        return np.mean(counts, axis=0).tolist() if counts else []

    def to_dict(self) -> dict[str, Any]:
        """Return what ``study.json`` says of it; what is not reached is None."""
        n = len(self.runs)
        return {
            "arm": self.arm,
            "settings": self.settings,
            "n": n,
            "diverged": self.n_diverged,
            "median_accuracy": statistics.median(self.accuracies),
            "median_accuracy_ci95": self.median_ci95,
            "mean_accuracy": float(np.mean(self.accuracies)) if n else None,
            "mean_accuracy_ci95": self.mean_ci95,
            "median_steps_to_90": statistics.median(self.steps_to_90),
            "median_steps_to_90_ci95": self.steps_ci95,
            "never_at_90": self.n_never,
            "collapsed": self.n_collapsed,
            "collapsed_share": self.n_collapsed / n if n else None,
            "collapsed_share_ci95": self.collapsed_ci95,
            "mean_dead_units": self.dead_units,
        }


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Paired differences of one quantity, a less b, and what a test says of them."""

    differences: list[float]

    @property
    def median(self) -> float:
        """Of the differences; infinite where it is beyond what was measured."""
        return statistics.median(self.differences)

    @functools.cached_property
    def ci95(self) -> Interval:
        """Of the median."""
        return statistics.bootstrap(self.differences, np.median)

    @functools.cached_property
    def test(self) -> tuple[float | None, float]:
        """Wilcoxon's p-value, and the effect size."""
        return statistics.signed_rank(self.differences)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two variants, compared seed by seed."""

    a: Sample
    b: Sample

    @property
    def names(self) -> tuple[str, str, str]:
        """What two have in common, arm or settings, and what each is beside it."""
        (arm_a, a), (arm_b, b) = ((one.arm, one.settings) for one in (self.a, self.b))
        common = {name: value for name, value in a.items() if name in b and b[name] == value}
        own = ({name: each[name] for name in each if name not in common} for each in (a, b))
        arms = ("", "") if arm_a == arm_b else (arm_a, arm_b)
        shared = title_of(arm_a if arm_a == arm_b else "", common)
        first, second = map(title_of, arms, own)
        return shared, first, second

    @property
    def title(self) -> str:
        """Its names in a line."""
        common, a, b = self.names
        return f"{common}: {a} - {b}" if common else f"{a} - {b}"

    @functools.cached_property
    def runs(self) -> list[tuple[Run, Run]]:
        """The runs of each seed that both have."""
        by_seed = {run.seed: run for run in self.b.runs}
        return [(run, by_seed[run.seed]) for run in self.a.runs if run.seed in by_seed]

    @functools.cached_property
    def accuracy(self) -> Comparison:
        """Of the final accuracies."""
        return Comparison([a.accuracy - b.accuracy for a, b in self.runs])

    @functools.cached_property
    def accuracy_of_learned(self) -> Comparison:
        """Of the final accuracies where neither came to nothing."""
        learned = ((a, b) for a, b in self.runs if not (a.collapsed or b.collapsed))
        return Comparison([a.accuracy - b.accuracy for a, b in learned])

    @functools.cached_property
    def steps(self) -> Comparison:
        """Of the steps to 90 %; no difference where neither got there."""
        both = ((a.steps_to_90, b.steps_to_90) for a, b in self.runs)
        return Comparison([0.0 if a == b else a - b for a, b in both])

    @functools.cached_property
    def collapsed(self) -> tuple[int, int]:
        """In how many pairs a alone came to nothing, and b alone."""
        return (
            sum(a.collapsed and not b.collapsed for a, b in self.runs),
            sum(b.collapsed and not a.collapsed for a, b in self.runs),
        )

    def p_values(self) -> dict[str, float | None]:
        """Of each test, uncorrected."""
        return {
            "accuracy": self.accuracy.test[0],
            "steps": self.steps.test[0],
            "collapsed": statistics.discordant(*self.collapsed),
        }


@dataclasses.dataclass(frozen=True)
class Lead:
    """The points of the grid that an arm was run at, and what tells the best from the second."""

    points: list[Sample]  # the best first, by the median of the final accuracies

    @property
    def arm(self) -> str:
        """Of all points."""
        return self.points[0].arm

    @functools.cached_property
    def pair(self) -> Pair:
        """The best and the second."""
        return Pair(*self.points[:2])

    def p_value(self) -> float | None:
        """Of the best against the second, times the number of pairs that these are chosen from."""
        p = self.pair.accuracy.test[0]
        return None if p is None else min(1.0, math.comb(len(self.points), 2) * p)


def list_leads(samples: Iterable[Sample]) -> list[Lead]:
    """Return the lead of each arm that has runs at several points."""
    arms: dict[str, list[Sample]] = {}
    for sample in samples:
        arms.setdefault(sample.arm, []).append(sample)
    return [
        Lead(sorted(points, key=lambda point: -statistics.median(point.accuracies)))
        for points in arms.values()
        if len(points) > 1
    ]
