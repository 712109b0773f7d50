# SPDX-License-Identifier: BSD-3-Clause
"""What a study found out: its runs and all that follows from them, as tables, text and JSON."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...base.text import Described, Table
from ..results import SCHEMA, plain
from . import statistics, words
from .conclusion import sentences
from .grid import Variant, settings_of
from .runs import Run
from .samples import Comparison, Lead, Pair, Sample, list_leads


@dataclasses.dataclass(repr=False)
class Findings(Described):
    """All that `StudyResult` holds and says; it saves and draws as well."""

    dataset: dict[str, Any]
    config: dict[str, Any]
    samples: dict[Variant, list[Run]]
    compared: list[tuple[Variant, Variant]]
    missing: list[dict[str, Any]]
    environment: dict[str, Any]

    command = "study"

    @property
    def runs(self) -> list[Run]:
        """Every run that there is."""
        return [run for runs in self.samples.values() for run in runs]

    @property
    def learned(self) -> list[Run]:
        """The runs that reached 90 %."""
        return [run for run in self.runs if math.isfinite(run.steps_to_90)]

    @functools.cached_property
    def arms(self) -> dict[str, Sample]:
        """The runs of each arm, or of each arm at each point of the grid, by name."""
        return {
            str(variant): Sample(str(variant), variant.arm, settings_of(variant), runs)
            for variant, runs in self.samples.items()
        }

    @functools.cached_property
    def pairs(self) -> list[Pair]:
        """What is compared: arms at each point of the grid, and each arm with its first point."""
        arms = self.arms
        pairs = (Pair(arms[str(a)], arms[str(b)]) for a, b in self.compared)
        return [pair for pair in pairs if pair.runs]

    @functools.cached_property
    def leads(self) -> list[Lead]:
        """The points of the grid of each arm that has several, the best first."""
        return list_leads(sample for sample in self.arms.values() if sample.runs)

    @functools.cached_property
    def corrected(self) -> dict[tuple[int | str, str], float | None]:
        """Holm's p-value of each test: for all tests of the study together."""
        return statistics.holm(
            {
                **{
                    (at, what): p
                    for at, pair in enumerate(self.pairs)
                    for what, p in pair.p_values().items()
                },
                **{(lead.arm, "lead"): lead.p_value() for lead in self.leads},
            }
        )

    @functools.cached_property
    def sentences(self) -> list[str]:
        """What may be concluded and what may not, a line for each arm of a grid and each pair."""
        return sentences(self.pairs, self.corrected, len(self.missing), self.leads)

    @property
    def conclusion(self) -> str:
        """What may be concluded and what may not, as text."""
        return "\n".join(self.sentences)

    @property
    def heading(self) -> str:
        """One line: the data set, and how many runs there are of how many."""
        n = len(self.runs)
        of = f" of {n + len(self.missing):,}" if self.missing else ""
        name, n_train = self.dataset.get("name"), self.dataset.get("n_train", 0)
        runs = "run" if n == 1 and not of else "runs"
        return f"sae-fast study on {name}, {n_train:,} training samples: {n:,}{of} {runs}"

    def _line(self) -> str:
        return self.heading

    def _tables(self) -> list[Table]:
        return self.tables()

    def _notes(self) -> list[str]:
        return [*self.sentences, *self.notes]

    @property
    def notes(self) -> list[str]:
        """What else is to be known of the runs: those that are missing, several versions."""
        versions = sorted({run.version for run in self.runs})
        found = [f"runs of several versions: {', '.join(versions)}"] if len(versions) > 1 else []
        found += self.failures
        if rest := len(self.missing) - len(self.failures):
            found.append(f"{rest:,} runs are still to be computed")
        return found

    @property
    def failures(self) -> list[str]:
        """What became of runs that could not be computed, which is no outcome of a study."""
        return [
            f"{one['arm']} with seed {one['seed']} failed: {one['error']}"
            for one in self.missing
            if one["error"]
        ]

    def __repr__(self) -> str:
        """Say what was run and what came of it."""
        arms = (
            f"{name}: median {words.share(statistics.median(sample.accuracies))}, "
            f"{sample.n_collapsed} of {len(sample.runs)} collapsed"
            for name, sample in self.arms.items()
            if sample.runs
        )
        return f"<{type(self).__name__}: {'; '.join([self.heading, *arms])}>"

    def tables(self) -> list[Table]:
        """Tables of the summary: accuracy, steps, collapses, dead units, pairs."""
        samples = [sample for sample in self.arms.values() if sample.runs]
        tables = [
            Table("Points of the grid, the best of each arm first", list(self._point_rows())),
            Table("Final accuracy", [_accuracy_row(one) for one in samples]),
            Table("Steps to 90 %", [_steps_row(one) for one in samples]),
            Table("Collapsed runs", [_collapsed_row(one) for one in samples]),
            Table("Dead units on average / units of the layer", list(self._dead_rows(samples))),
            Table("Pairs of one seed: final accuracy", list(self._pair_rows("accuracy"))),
            Table("Pairs of one seed: steps to 90 %", list(self._pair_rows("steps"))),
            Table("Pairs of one seed: collapsed", list(self._pair_rows("collapsed"))),
        ]
        return [table for table in tables if table.rows]

    def hidden_of(self, sample: Sample) -> list[int]:
        """Units of each hidden layer of a variant."""
        return list(sample.settings.get("hidden", self.config["hidden"]))

    def _dead_rows(self, samples: Sequence[Sample]) -> Iterable[dict[str, str]]:
        depth = max((len(self.hidden_of(one)) for one in samples), default=0)
        for one in samples:
            units = self.hidden_of(one)
            shown = [f"{dead:.1f}/{n}" for dead, n in zip(one.dead_units, units, strict=False)]
            layers = {f"layer {i + 1}": (*shown, *["-"] * depth)[i] for i in range(depth)}
            yield {"arm": one.title, "runs": words.n_runs(one), **layers}

    def _point_rows(self) -> Iterable[dict[str, str]]:
        for lead in self.leads:
            for point in lead.points:
                ends = words.interval(point.median_ci95, words.share)
                yield {
                    "arm": point.title,
                    "runs": words.n_runs(point),
                    "median": words.share(statistics.median(point.accuracies)),
                    "95 % interval": ends,
                    "90 % at": words.steps(statistics.median(point.steps_to_90)),
                    "collapsed": str(point.n_collapsed),
                }

    def _pair_rows(self, what: str) -> Iterable[dict[str, str]]:
        """Yield a row for each pair; none if no pair has anything to test."""
        if all(pair.p_values()[what] is None for pair in self.pairs):
            return
        for at, pair in enumerate(self.pairs):
            p, corrected = pair.p_values()[what], self.corrected[at, what]
            row = {"pair": pair.title, "pairs": str(len(pair.runs))}
            if what == "collapsed":
                only_a, only_b = pair.collapsed
                row |= {"first alone": str(only_a), "second alone": str(only_b)}
            else:
                compared: Comparison = getattr(pair, what)
                shown = words.points if what == "accuracy" else words.steps
                row |= {
                    "median difference": shown(compared.median, signed=True),
                    "95 % interval": words.interval(compared.ci95, shown, signed=True),
                    "effect": f"{compared.test[1]:+.2f}",
                }
            yield {**row, "p": words.p_value(p), "corrected p": words.p_value(corrected)}

    def to_dict(self) -> dict[str, Any]:
        """Give what goes into ``study.json``, in plain Python types.

        Returns
        -------
        dict
            Strictly valid JSON. What was not reached, such as the median steps to 90 % where most
            runs never got there, is None.
        """
        pairs = []
        for at, pair in enumerate(self.pairs):
            (p, effect), (steps_p, steps_effect) = pair.accuracy.test, pair.steps.test
            only_a, only_b = pair.collapsed
            learned = pair.accuracy_of_learned
            pairs.append(
                {
                    "a": pair.a.name,
                    "b": pair.b.name,
                    "n": len(pair.runs),
                    "median_difference": pair.accuracy.median,
                    "median_difference_ci95": pair.accuracy.ci95,
                    "wilcoxon_p": p,
                    "holm_p": self.corrected[at, "accuracy"],
                    "effect_size": effect,
                    "neither_collapsed": {
                        "n": len(learned.differences),
                        "median_difference": learned.median,
                        "median_difference_ci95": learned.ci95,
                    },
                    "steps_to_90": {
                        "median_difference": pair.steps.median,
                        "median_difference_ci95": pair.steps.ci95,
                        "wilcoxon_p": steps_p,
                        "holm_p": self.corrected[at, "steps"],
                        "effect_size": steps_effect,
                    },
                    "collapsed": {
                        "only_a": only_a,
                        "only_b": only_b,
                        "mcnemar_p": pair.p_values()["collapsed"],
                        "holm_p": self.corrected[at, "collapsed"],
                    },
                }
            )
        document: dict[str, Any] = plain(
            {
                "schema": SCHEMA,
                "command": self.command,
                "dataset": self.dataset,
                "config": self.config,
                "runs": [run.to_dict() for run in self.runs],
                "arms": {name: sample.to_dict() for name, sample in self.arms.items()},
                "pairs": pairs,
                "best": [self._best(lead) for lead in self.leads],
                "conclusion": self.conclusion,
                "missing": self.missing,
                "environment": self.environment,
            }
        )
        return document

    def _best(self, lead: Lead) -> dict[str, Any]:
        """Return what ``study.json`` says of the points of an arm."""
        compared = lead.pair.accuracy
        return {
            "arm": lead.arm,
            "points": [point.name for point in lead.points],
            "median_difference": compared.median,
            "median_difference_ci95": compared.ci95,
            "holm_p": self.corrected[lead.arm, "lead"],
            "effect_size": compared.test[1],
        }


def _accuracy_row(sample: Sample) -> dict[str, str]:
    share, interval = words.share, words.interval
    return {
        "arm": sample.title,
        "runs": words.n_runs(sample),
        "mean": share(float(np.mean(sample.accuracies))),
        "95 % interval": interval(sample.mean_ci95, share),
        "median": share(statistics.median(sample.accuracies)),
        "lowest": share(min(sample.accuracies)),
        "highest": share(max(sample.accuracies)),
    }


def _steps_row(sample: Sample) -> dict[str, str]:
    steps, interval = words.steps, words.interval
    return {
        "arm": sample.title,
        "runs": words.n_runs(sample),
        "median": steps(statistics.median(sample.steps_to_90)),
        "95 % interval": interval(sample.steps_ci95, steps),
        "all runs": interval((min(sample.steps_to_90), max(sample.steps_to_90)), steps),
        "never": str(sample.n_never),
    }


def _collapsed_row(sample: Sample) -> dict[str, str]:
    n = len(sample.runs)
    return {
        "arm": sample.title,
        "runs": words.n_runs(sample),
        "collapsed": str(sample.n_collapsed),
        "share": words.whole_share(sample.n_collapsed / n),
        "95 % interval": words.interval(sample.collapsed_ci95, words.whole_share),
    }
