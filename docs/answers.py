# SPDX-License-Identifier: BSD-3-Clause
"""Puts the answers of studies into docs/study.md: `python docs/answers.py NAME=FOLDER ...`.

`FOLDER` is what `sae-fast study` has left. What stands in the page between the lines
`<!-- study NAME -->` and `<!-- end -->` is replaced by the study's command, its tables and its
conclusion; pictures go beside, those that the first line names: `<!-- study NAME accuracy -->`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sae_fast.experiment.report import command_line
from sae_fast.experiment.studies import words
from sae_fast.experiment.studies.pictures import PICTURES
from sae_fast.experiment.studies.statistics import Interval

PAGE = Path(__file__).resolve().parent / "study.md"
BLOCK = r"(<!-- study {name}((?: \w+)*) -->\n).*?(<!-- end -->)"


class Study:
    """What a study has left in `study.json`, as far as a page shows it."""

    def __init__(self, folder: Path) -> None:
        self.found: dict[str, Any] = json.loads((folder / "study.json").read_text("utf-8"))
        self.command, self.config = self.found["command"], self.found["config"]
        self.dataset = self.found["dataset"]

    def lines(self) -> Iterator[str]:
        """Yield the lines of its block, pictures left out."""
        if self.found["missing"]:
            raise SystemExit(f"{len(self.found['missing'])} runs are missing")
        yield f"```\n{command_line(self)}\n```\n"
        yield "| | runs | mean accuracy | steps to 90 %, median | never | collapsed |"
        yield "|---|---|---|---|---|---|"
        yield from (self._arm(name, arm) for name, arm in self.found["arms"].items())
        yield ""
        yield "| | pairs | accuracy, median difference | corrected p | effect |"
        yield "|---|---|---|---|---|"
        yield from map(self._pair, self.found["pairs"])
        yield ""
        yield from (f"- {line}" for line in self.found["conclusion"].splitlines())
        yield ""

    def _arm(self, name: str, arm: dict[str, Any]) -> str:
        mean = _with(words.share(arm["mean_accuracy"]), arm["mean_accuracy_ci95"], words.share)
        never, inf = arm["never_at_90"], float("inf")
        ends = arm["median_steps_to_90_ci95"]
        ends = ends and [inf if end is None else end for end in ends]
        at = inf if (found := arm["median_steps_to_90"]) is None else found
        steps = _with(words.steps(at), ends, words.steps)
        collapsed = _with(str(arm["collapsed"]), arm["collapsed_share_ci95"], words.whole_share)
        return f"| {name} | {arm['n']} | {mean} | {steps} | {never} | {collapsed} |"

    def _pair(self, pair: dict[str, Any]) -> str:
        median = words.points(pair["median_difference"], signed=True)
        ends = words.interval(pair["median_difference_ci95"], words.points, signed=True)
        p, effect = words.p_value(pair["holm_p"]), f"{pair['effect_size']:+.2f}"
        return f"| {pair['a']} − {pair['b']} | {pair['n']} | {median} ({ends}) | {p} | {effect} |"  # noqa: RUF001


def _with(text: str, ends: Interval, write: Any) -> str:
    """Write a number with its interval."""
    return f"{text} ({words.interval(ends, write)})"


def main() -> None:
    from pictures import place

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", metavar="NAME=FOLDER")
    for given in parser.parse_args().studies:
        name, _, folder = given.partition("=")
        text = PAGE.read_text("utf-8")
        block = re.search(BLOCK.format(name=re.escape(name)), text, re.DOTALL)
        if block is None:
            raise SystemExit(f"{PAGE.name} has no place for the study {name!r}")
        lines = list(Study(Path(folder)).lines())
        for picture in block[2].split():
            place(Path(folder, f"{picture}.png"), f"study_{name}_{picture}")
            alternative = PICTURES[picture].alternative
            lines.append(f"![{alternative}](pictures/study_{name}_{picture}.png)\n")
        body = "\n".join(lines)
        PAGE.write_text(text[: block.end(1)] + f"\n{body}\n" + text[block.start(3) :], "utf-8")


if __name__ == "__main__":
    main()
