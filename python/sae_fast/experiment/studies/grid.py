# SPDX-License-Identifier: BSD-3-Clause
"""The runs of a study: which there are, what each is compared as, and whose share it is.

Runs that cannot differ are one: an arm without pretraining has no settings of pretraining.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

from ..settings import (
    ARMS,
    OF_PRETRAINING,
    RunSettings,
    StudySettings,
    in_grid,
    listed,
    option_name,
)


def title_of(
    arm: str, settings: Mapping[str, Any], named: Callable[[str], str] = option_name
) -> str:
    """Write an arm and settings as the command line's grid has them, by names that `named` gives.

    Examples
    --------
    >>> title_of("he", {"learning_rate": 0.001, "hidden": [9, 5]})
    'he, learning-rate=0.001, hidden=9/5'
    """
    written = (f"{named(name)}={in_grid(value)}" for name, value in settings.items())
    return ", ".join(filter(None, [arm, *written]))


@dataclasses.dataclass(frozen=True)
class Variant:
    """What runs of several seeds have in common: an arm and, of the grid, what matters to it."""

    arm: str
    settings: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        """Write it as results have it, with the names that settings have in Python."""
        return title_of(self.arm, dict(self.settings), str)


@dataclasses.dataclass(frozen=True)
class Task:
    """One run: a variant, a seed, and with both every setting."""

    variant: Variant
    settings: RunSettings

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.settings.seed

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Every setting of a study that the run's result depends on, in plain types."""
        found = {**self.settings.identity(), "finetune_steps": self.settings.finetune_steps}
        del found["distributed"]  # each run is one process's
        return found


def variant_of(arm: str, point: dict[str, Any]) -> Variant:
    """Return the variant that an arm is at a point of the grid."""
    matters = ARMS[arm].pretrained
    kept = ((key, value) for key, value in point.items() if matters or key not in OF_PRETRAINING)
    return Variant(arm, tuple(kept))


def list_variants(settings: StudySettings) -> dict[Variant, RunSettings]:
    """Return each variant once, with the settings of its run with the first seed."""
    return {
        variant_of(arm, point): settings.of_run(arm, point)
        for point in settings.points()
        for arm in settings.arms
    }


def list_tasks(settings: StudySettings) -> list[Task]:
    """Return all runs: of each variant one for each seed."""
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [
        Task(variant, dataclasses.replace(run, seed=seed))
        for variant, run in list_variants(settings).items()
        for seed in seeds
    ]


def list_pairs(settings: StudySettings) -> list[tuple[Variant, Variant]]:
    """Return what is compared: arms at one point, and an arm with itself at the first point."""
    points = list(settings.points())
    pairs: dict[tuple[Variant, Variant], None] = {}
    for point in points:
        here = [variant_of(arm, point) for arm in settings.arms]
        first = [variant_of(arm, points[0]) for arm in settings.arms]
        pairs.update(dict.fromkeys([*combinations(here, 2), *zip(here, first, strict=True)]))
    return [(a, b) for a, b in pairs if a != b]


def share_of(tasks: list[Task], shard: tuple[int, int] | None) -> Iterator[Task]:
    """Yield a part of the runs, the longest first, so that none is left alone at the end."""
    longest = sorted(tasks, key=lambda task: -sum(task.settings.stages()))
    index, count = shard or (1, 1)
    yield from longest[index - 1 :: count]


def settings_of(variant: Variant) -> dict[str, Any]:
    """Return a variant's settings in plain types."""
    return {key: listed(value) for key, value in variant.settings}
