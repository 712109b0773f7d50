# SPDX-License-Identifier: BSD-3-Clause
"""The report of a study: one HTML page, as that of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...base.text import prose
from ...training.sizes import LEARNING_RATE
from ..report import (
    LARGER,
    NO_PICTURES,
    STROKES,
    command_of,
    facts_of,
    figure_of,
    table_of,
    write_page,
)
from ..settings import ARMS, AUTO, written
from .pictures import PICTURES
from .results import Findings
from .statistics import N_RESAMPLES

WHAT = (
    "Each run trains a network with hidden layers of {hidden} units, once for each arm and seed; "
    "arms differ in how the hidden layers start: {arms}. Runs of one seed share what they can, and "
    "are compared in pairs."
)
DEFAULT = f"{LEARNING_RATE}, or {AUTO} of sgd"
#: What words of the report mean, in the order in which they come.
WORDS = {
    "95 % interval": (
        "what chance leaves open: of a hundred studies with other seeds, about 95 would have an "
        "interval that holds the true value. Of means, medians and differences by the percentile "
        f"bootstrap ({N_RESAMPLES:,} resamples), of shares by Wilson's formula. With fewer than "
        "about ten runs the bootstrap's are too narrow."
    ),
    "never": (
        "runs that did not reach 90 %. They count as later than all others, in medians too; where "
        "half of the runs never got there, the median is not reached. A difference of steps is ∞ "
        "where one of the two never got there, and 0 where neither did."
    ),
    "collapsed": (
        "runs that came to nothing: at most one unit of a layer is alive and the accuracy is below "
        "90 %, the accuracy is no better than a guess, or the run diverged."
    ),
    "diverged": (
        "runs in which a loss or a weight became infinite. They leave no network, and count with "
        "the accuracy of naming the most frequent class every time."
    ),
    "p": (
        "how often chance alone would make a difference at least as large: of accuracies and steps "
        "by Wilcoxon's signed-rank test of the pairs, of collapses by McNemar's exact test. "
        "Corrected, by Holm's method, for all tests of this study together: below 0.05 a "
        "difference is called shown, if its interval agrees."
    ),
    "effect": (
        "matched-pairs rank-biserial correlation: +1 if the first is ahead in every pair, -1 if "
        "the second is, 0 if they balance. Of steps, - means that the first is sooner."
    ),
}


def write_report(result: Findings, path: Path, pictures: Mapping[str, Path]) -> None:
    """Write the report of a study, with the PNG files that `save_pictures` gave, by their names."""
    figures = {name: figure_of(PICTURES[name], file) for name, file in pictures.items()}
    first = figures.pop("accuracy", "")
    answer = [first, LARGER] if figures or first else [NO_PICTURES]
    sections = [
        ("Result", "\n".join([*_conclusion(result), *answer])),
        *((PICTURES[name].title, figure) for name, figure in figures.items()),
        ("Numbers", "\n".join([*map(table_of, result.tables()), _words()])),
        ("Settings", facts_of(_settings(result.config))),
        ("Environment", facts_of(result.environment)),
        ("To repeat it", command_of(result)),
    ]
    write_page(path, "Study of stacked autoencoders", result.heading, sections)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings, with all values of those that the grid has."""
    rate = config["learning_rate"] or DEFAULT
    values = {name: " | ".join(map(written, each)) for name, each in config["grid"].items()}
    settings = {**config, "learning_rate": rate, **values}
    del settings["grid"]
    return settings


def _conclusion(result: Findings) -> Iterable[str]:
    lines = (line.partition(". ") for line in [*result.sentences, *result.notes])
    items = (
        f"<li><strong>{prose(first)}</strong>{prose(stop + rest)}</li>"
        for first, stop, rest in lines
    )
    yield "\n".join(["<ul>", *items, "</ul>"])
    widths = result.config["grid"].get("hidden", [result.config["hidden"]])
    hidden = " or ".join(", ".join(map(str, each)) for each in widths)
    arms = "; ".join(f"{arm}: {ARMS[arm].words}" for arm in result.config["arms"])
    yield f"<p>{prose(WHAT.format(hidden=hidden, arms=arms))}</p>"
    if result.dataset.get("name") == "strokes":
        yield f"<p>{STROKES}</p>"


def _words() -> str:
    listed = "\n".join(
        f"<dt>{prose(word)}</dt><dd>{prose(text)}</dd>" for word, text in WORDS.items()
    )
    return f"<dl>\n{listed}\n</dl>"
