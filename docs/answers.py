# SPDX-License-Identifier: BSD-3-Clause
"""Puts the answers of studies into the pages: `python docs/answers.py NAME=FOLDER ...`.

`FOLDER` is what `sae-fast study` has left. Between the lines `<!-- study NAME PART ... -->` and
`<!-- end -->` of whichever page has them go the parts, in this order: a table of `TABLES`, the
`command`, the `conclusion`, or a picture, such as `accuracy`.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from sae_fast.experiment.report import command_line
from sae_fast.experiment.settings import in_grid, option_name
from sae_fast.experiment.studies import words
from sae_fast.experiment.studies.pictures import PICTURES
from sae_fast.experiment.studies.samples import Pair, Sample
from sae_fast.experiment.studies.statistics import Interval

Rows: TypeAlias = Iterator[list[str]]  # of a table, its head first

DOCS = Path(__file__).resolve().parent
BLOCK = r"(<!-- study {name}((?: \w+)*) -->\n).*?(<!-- end -->)"
INF = float("inf")


class Study:
    """What a study has left in `study.json`, as far as a page shows it."""

    def __init__(self, folder: Path) -> None:
        self.found: dict[str, Any] = json.loads((folder / "study.json").read_text("utf-8"))
        self.command, self.config = self.found["command"], self.found["config"]
        self.dataset, self.arms = self.found["dataset"], self.found["arms"]
        if self.found["missing"]:
            raise SystemExit(f"{folder}: {len(self.found['missing'])} runs are missing")

    def lines(self, parts: list[str]) -> Iterator[str]:
        """Yield the lines of a block, pictures left out."""
        for part in parts:
            if part == "command":
                yield f"```\n{command_line(self)}\n```\n"
            elif part in TABLES:
                head, *rows = TABLES[part](self)
                rule = ["---"] * len(head)
                yield from (f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
                yield ""
            elif part == "conclusion":
                yield from (f"- {line}" for line in self.found["conclusion"].splitlines())
                yield ""

    def _columns(self, name: str | None = None) -> list[str]:
        """Return the arm and, in the grid, the settings of what has this name, or their heads."""
        grid = self.config["grid"]
        if name is None:
            return ["arm", *map(option_name, grid), "runs"]
        arm = self.arms[name]
        settings = (arm["settings"].get(setting, "-") for setting in grid)
        return [arm["arm"], *map(in_grid, settings), str(arm["n"])]

    def _sample(self, name: str) -> Sample:
        return Sample(name, self.arms[name]["arm"], self.arms[name]["settings"], [])

    def table_of_arms(self) -> Rows:
        """Accuracy, steps and collapses of each arm."""
        yield [*self._columns(), "mean accuracy", "steps to 90 %, median", "never", "collapsed"]
        for name, arm in self.arms.items():
            mean = _with(words.share(arm["mean_accuracy"]), arm["mean_accuracy_ci95"], words.share)
            never = str(arm["never_at_90"])
            yield [*self._columns(name), mean, _steps(arm, ends=True), never, _collapsed(arm)]

    def table_of_points(self) -> Rows:
        """Points of the grid, the best of each arm first."""
        yield [*self._columns(), "median accuracy", "steps to 90 %, median", "collapsed"]
        for best in self.found["best"]:
            for name in best["points"]:
                arm = self.arms[name]
                ends = arm["median_accuracy_ci95"]
                median = _with(words.share(arm["median_accuracy"]), ends, words.share)
                yield [*self._columns(name), median, _steps(arm), _collapsed(arm)]

    def table_of_pairs(self) -> Rows:
        """Differences of final accuracy, and their tests."""
        signed = functools.partial(words.points, signed=True)
        yield ["", "pairs", "accuracy, median difference", "corrected p", "effect"]
        for pair in self.found["pairs"]:
            title = Pair(self._sample(pair["a"]), self._sample(pair["b"])).title
            ends = pair["median_difference_ci95"]
            median = _with(signed(pair["median_difference"]), ends, signed)
            p, effect = words.p_value(pair["holm_p"]), f"{pair['effect_size']:+.2f}"
            yield [title, str(pair["n"]), median, p, effect]

    def table_of_dead_units(self) -> Rows:
        """Dead units of each layer on average, in per cent, and collapses."""
        depth = max(len(arm["mean_dead_units"]) for arm in self.arms.values())
        layers = [f"layer {layer}: dead" for layer in range(1, depth + 1)]
        yield [*self._columns(), *layers, "collapsed"]
        for name, arm in self.arms.items():
            hidden = arm["settings"].get("hidden", self.config["hidden"])
            dead = arm["mean_dead_units"]  # none if all runs diverged
            shares = [words.whole_share(n / units) for n, units in zip(dead, hidden, strict=False)]
            shares += ["-"] * (depth - len(shares))
            yield [*self._columns(name), *shares, _collapsed(arm)]

    def table_of_seeds(self) -> Rows:
        """Each run, a row for each seed; what collapsed is bold."""
        names = list(self.arms)
        heads = ([self._sample(name).title, "step at 90 %"] for name in names)
        yield ["seed", *(cell for head in heads for cell in head)]
        rows: dict[int, dict[str, list[str]]] = {}
        for run in self.found["runs"]:
            [name] = [
                name
                for name in names
                if all(self.arms[name][what] == run[what] for what in ("arm", "settings"))
            ]
            at = run["steps_to_90"]
            cells = [_outcome(run), "never" if at is None else words.steps(at)]
            rows.setdefault(run["seed"], {})[name] = cells
        for seed, row in rows.items():
            yield [str(seed), *(cell for name in names for cell in row[name])]


TABLES: dict[str, Callable[[Study], Rows]] = {
    "arms": Study.table_of_arms,
    "points": Study.table_of_points,
    "pairs": Study.table_of_pairs,
    "dead": Study.table_of_dead_units,
    "seeds": Study.table_of_seeds,
}


def _with(text: str, ends: Interval, write: Any) -> str:
    """Write a number with its interval, if there is one that says more."""
    interval = words.interval(ends, write)
    return text if interval in ("-", text) else f"{text} ({interval})"


def _steps(arm: dict[str, Any], *, ends: bool = False) -> str:
    """Write the median of steps to 90 %, with its interval if that is wanted."""
    at = INF if (median := arm["median_steps_to_90"]) is None else median
    low_high = arm["median_steps_to_90_ci95"]
    low_high = low_high and [INF if end is None else end for end in low_high]
    return _with(words.steps(at), low_high, words.steps) if ends else words.steps(at)


def _collapsed(arm: dict[str, Any]) -> str:
    return _with(str(arm["collapsed"]), arm["collapsed_share_ci95"], words.whole_share)


def _outcome(run: dict[str, Any]) -> str:
    """Write a run's accuracy; of one that collapsed also how many of its top units are dead."""
    if run["diverged"]:
        return "**diverged**"
    accuracy = f"{100 * run['final_accuracy']:.2f}"
    return f"**{accuracy}** ({run['dead_units'][-1]} dead)" if run["collapsed"] else accuracy


def write(name: str, folder: Path, pages: list[Path], place: Callable[[Path, str], None]) -> bool:
    """Fill the blocks of a study in all pages that have one, and say whether there is any."""
    study, found = Study(folder), False
    for page in pages:
        text = page.read_text("utf-8")
        for block in reversed([*re.finditer(BLOCK.format(name=re.escape(name)), text, re.DOTALL)]):
            found, parts = True, block[2].split()
            unknown = {*parts} - {*TABLES, *PICTURES, "command", "conclusion"}
            if unknown:
                raise SystemExit(f"{page.name}: nothing is called {', '.join(sorted(unknown))}")
            lines = list(study.lines(parts))
            for part in parts:
                if part in PICTURES:
                    place(folder / f"{part}.png", f"study_{name}_{part}")
                    alternative = PICTURES[part].alternative
                    lines.append(f"![{alternative}](pictures/study_{name}_{part}.png)\n")
            body = "\n".join(lines)
            text = text[: block.end(1)] + f"\n{body}\n" + text[block.start(3) :]
        page.write_text(text, "utf-8")
    return found


def main() -> None:
    from pictures import place

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", metavar="NAME=FOLDER")
    for given in parser.parse_args().studies:
        name, _, folder = given.partition("=")
        if not write(name, Path(folder), sorted(DOCS.glob("*.md")), place):
            raise SystemExit(f"no page has a place for the study {name!r}")


if __name__ == "__main__":
    main()
