# SPDX-License-Identifier: BSD-3-Clause
"""What may be concluded from the pairs of a study, and what may not, in sentences.

A claim needs both: an interval on one side of zero, and a test that holds after correction for all
tests of the study. All else is called open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from . import words
from .grid import title_of
from .samples import Comparison, Lead, Pair
from .statistics import median

LEVEL = 0.05


def sentences(
    pairs: Sequence[Pair],
    corrected: Mapping[tuple[int | str, str], float | None],
    n_missing: int,
    leads: Sequence[Lead] = (),
) -> list[str]:
    """Return the conclusion: a line for each arm of a grid and each pair, and how to read them."""
    lines = []
    if n_missing:
        lines.append(f"This is no conclusion yet: {n_missing:,} runs are missing.")
    lines += (" ".join(_of_lead(lead, corrected[lead.arm, "lead"])) for lead in leads)
    for at, pair in enumerate(pairs):
        p = {what: corrected[at, what] for what in pair.p_values()}
        lines.append(" ".join(_of_pair(pair, p)))
    if not pairs:
        lines.append("Nothing was compared: that needs two arms, or two values in the grid.")
        return lines
    fewest = min(len(pair.runs) for pair in pairs)
    n_tests = sum(p is not None for p in corrected.values())
    least = min(1.0, n_tests * 2.0 ** (1 - fewest))
    if least > LEVEL:
        lines.append(
            f"{fewest} {'pairs are' if fewest > 1 else 'pair is'} few: even if all agreed, a test, "
            f"corrected for the {n_tests} of this study, could end no lower than p = "
            f"{words.p_value(least)}. "
            "What is called open may only need more seeds."
        )
    return lines


def _of_pair(pair: Pair, p: Mapping[str, float | None]) -> Iterator[str]:
    """Yield who of two ends more accurate, is sooner, fails less; or that it is open."""
    common, a, b = pair.names
    where = f"{common}: " if common else ""
    yield f"{where}{a} and {b}, {len(pair.runs)} pairs of runs."
    diverged = [sum(runs[side].divergence is not None for runs in pair.runs) for side in (0, 1)]
    if sum(diverged) == 2 * len(pair.runs):
        yield "All diverged, so that there is nothing to compare."
        return
    if any(diverged):
        yield f"{diverged[0]} and {diverged[1]} of them diverged, and count as a guess."
    yield from _of_accuracy(pair, p["accuracy"], a, b)
    yield from _of_steps(pair, p["steps"], a, b)
    yield from _of_failures(pair, p["collapsed"], a, b)


def _of_lead(lead: Lead, p: float | None) -> Iterator[str]:
    """Yield where in the grid an arm ends most accurate, and whether that is settled."""
    best, compared = lead.points[0], lead.pair.accuracy
    a, b = (title_of("", point.settings) for point in lead.points[:2])
    medians = [median(point.accuracies) for point in lead.points]
    if (n := medians.count(medians[0])) > 1:
        yield (
            f"{lead.arm} is best with no point of the grid alone: {n} of {len(medians)} have a "
            f"median of {words.share(medians[0])}."
        )
        return
    yield (
        f"{lead.arm} is best with {a}: median {words.share(medians[0])} "
        f"(95 % interval {words.interval(best.median_ci95, words.share)})."
    )
    if _holds(compared, p) and compared.median > 0:
        yield (
            f"Its lead over the second of {len(lead.points)} points, {b}, is settled: "
            f"{words.points(compared.median)} points in the median pair (95 % interval "
            f"{_ends(compared, words.points)})."
        )
    else:
        yield f"Its lead over the second of {len(lead.points)} points, {b}, is open."


def _of_accuracy(pair: Pair, p: float | None, a: str, b: str) -> Iterator[str]:
    compared, learned = pair.accuracy, pair.accuracy_of_learned
    if _holds(compared, p):
        better = a if compared.median > 0 else b
        yield (
            f"{better} ends more accurate, by {words.points(abs(compared.median))} points in the "
            f"median (95 % interval {_ends(compared, words.points)})."
        )
    elif not any(compared.differences):
        yield "They end equally accurate in every pair."
    else:
        yield f"Who ends more accurate is open: {_ahead(compared, a, b)}."
    if 0 < len(learned.differences) < len(pair.runs):
        yield f"Where neither collapsed, {_ahead(learned, a, b)}."


def _ahead(compared: Comparison, a: str, b: str) -> str:
    """Say who is ahead in the median, if anybody is, and what the interval leaves open."""
    ahead, sign = (a, 1) if compared.median >= 0 else (b, -1)
    n, ends = len(compared.differences), sorted(sign * end for end in compared.ci95 or ())
    between = f", 95 % interval {ends[0] * 100:+.2f} to {ends[1] * 100:+.2f}" if ends else ""
    points = words.points(sign * compared.median)
    lead = "neither is" if points == words.points(0.0) else f"{ahead} is {points} points"
    return f"{lead} ahead in the median ({n} {'pairs' if n > 1 else 'pair'}{between})"


def _of_steps(pair: Pair, p: float | None, a: str, b: str) -> Iterator[str]:
    compared = pair.steps
    if _holds(compared, p):
        sooner, later = (a, b) if compared.median < 0 else (b, a)
        if math.isinf(compared.median):
            yield f"{sooner} reaches 90 % sooner: in most pairs {later} never got there."
        else:
            yield (
                f"{sooner} reaches 90 % sooner, by {words.steps(abs(compared.median))} steps in "
                f"the median (95 % interval {_ends(compared, words.steps)})."
            )
    elif all(math.isinf(run.steps_to_90) for runs in pair.runs for run in runs):
        yield "No run reached 90 %."
    else:
        yield "Who reaches 90 % sooner is open."


def _of_failures(pair: Pair, p: float | None, a: str, b: str) -> Iterator[str]:
    n = len(pair.runs)
    counts = [sum(runs[side].collapsed for runs in pair.runs) for side in (0, 1)]
    if p is not None and p < LEVEL:
        (low, safer), (high, _) = sorted(zip(counts, (a, b), strict=True))
        yield f"{safer} is safer: {low} of {n} runs collapsed, against {high}."
    elif any(counts):
        yield f"Who is safer is open: {counts[0]} and {counts[1]} of {n} runs collapsed."
    else:
        yield "No run collapsed."


def _holds(compared: Comparison, p: float | None) -> bool:
    """Say whether a difference is shown: by its interval, and by its test after correction."""
    ends = compared.ci95
    return p is not None and p < LEVEL and ends is not None and (ends[0] > 0 or ends[1] < 0)


def _ends(compared: Comparison, write: Callable[..., str]) -> str:
    """Write the interval of a difference without its sign, the smaller end first."""
    low, high = sorted(abs(end) for end in compared.ci95 or ())
    return words.interval((low, high), write)
