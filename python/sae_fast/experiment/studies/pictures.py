# SPDX-License-Identifier: BSD-3-Clause
"""The pictures of a study: what each is called and says, and how it is drawn.

Every run is there, so that no average hides what single runs do; what is drawn strongly is what
may be read off.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...plot.axes import (
    NEUTRAL,
    accuracy_axis,
    axes,
    in_own_settings,
    legend_above,
    quiet,
    step_axis,
    style,
)
from ..pictures import Picture
from .results import Findings
from .samples import Pair, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DARK = 75  # per cent dead, from which a field is dark
_FAINTEST = 0.1  # opacity of a single run's curve where there are many
_ROW = 0.6  # inches of a row of points, and
_NAME = 34  # characters of a line of its name
_LINES = 0.22  # of each further line of its name, and of a legend


@in_own_settings
def plot_accuracy(result: Findings, ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of every run faintly, and of every arm the median and quartiles."""
    samples = _shown(result)
    ax = axes(ax, 6.4, 4.0 + _LINES * len(samples))
    curves: list[list[float]] = []
    for index, sample in enumerate(samples):
        color, marker = style(index, _only(result, sample))
        steps, accuracy = _common(sample)
        if not len(steps):
            continue
        low, middle, high = np.quantile(accuracy, (0.25, 0.5, 0.75), axis=0)
        faint: dict[str, Any] = {
            "color": color,
            "alpha": max(_FAINTEST, 0.7 / math.sqrt(len(accuracy))),
        }
        ax.plot(steps, accuracy.T, linewidth=0.7, zorder=2, **faint)
        ax.fill_between(steps, low, high, color=color, alpha=0.25, linewidth=0, zorder=3)
        ax.plot(
            steps,
            middle,
            color=color,
            marker=marker,
            markevery=[len(steps) - 1],
            markeredgecolor=ax.get_facecolor(),
            markersize=8,
            linewidth=1.8,
            clip_on=False,
            zorder=4,
            label=f"{sample.title}: median {middle[-1]:.2f} % of {len(accuracy)} runs",
        )
        curves.append((accuracy.max(axis=0) / 100).tolist())
    accuracy_axis(ax, curves)
    step_axis(ax)
    ax.set_ylabel("test accuracy, % (error on a log scale)")
    if curves:
        legend_above(ax)
    return ax


@in_own_settings
def plot_steps_to_90(result: Findings, ax: Axes | None = None) -> Axes:
    """Draw each run at the step at which it reached 90 %, or beyond all if it never did."""
    samples = _shown(result)
    ax = _rows(samples, ax)
    finite = [at for one in samples for at in one.steps_to_90 if math.isfinite(at)]
    last = max(finite, default=1.0)
    never = 1.12 * last
    for row, sample in enumerate(samples):
        at = np.minimum(sample.steps_to_90, never)
        _strip(ax, row, at, *style(row, _only(result, sample)))
        ends, middle = sample.steps_ci95, float(np.median(at))
        if ends is not None:
            _mark(ax, row, min(ends[0], never), min(ends[1], never), middle)
        ax.annotate(
            f"{sample.n_never} never",
            (never, row),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    ax.axvline(1.06 * last, color=NEUTRAL, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set_xlim(0, 1.16 * last)
    step_ticks = [tick for tick in ax.get_xticks() if 0 <= tick <= last] if finite else []
    ax.set_xticks([*step_ticks, never], [*(f"{tick:,.0f}" for tick in step_ticks), "never"])
    ax.set_xlabel("step at which a run reached 90 %")
    return ax


@in_own_settings
def plot_differences(result: Findings, ax: Axes | None = None) -> Axes:
    """Draw for each pair of runs of one seed by how much the first ended ahead of the second."""
    pairs = result.pairs
    ax = _rows([_less(pair) for pair in pairs], ax)
    every = [abs(100 * one) for pair in pairs for one in pair.accuracy.differences]
    small = float(np.quantile(every, 0.5)) if every else 1.0
    for row, pair in enumerate(pairs):
        differences = 100 * np.asarray(pair.accuracy.differences)
        _strip(ax, row, differences, NEUTRAL, "o")
        if ends := pair.accuracy.ci95:
            _mark(ax, row, 100 * ends[0], 100 * ends[1], 100 * pair.accuracy.median)
    ax.axvline(0, color=NEUTRAL, linewidth=1)
    width = max(every, default=0.0) or 1.0
    if width > 8 * max(small, 0.05):  # a few collapsed runs would press all others into a line
        from_zero = max(1.0, 2 * small)
        ax.set_xscale("symlog", linthresh=from_zero)
        ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if tick >= from_zero / 2]
        ticks = [tick for tick in ticks if tick <= 1.05 * width] or [width]
        shown = [-tick for tick in reversed(ticks)] + [0] + ticks
        ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    width *= 1.25
    ax.set_xlim(-width, width)
    ax.minorticks_off()
    ax.set_xlabel("final accuracy, first less second, points of per cent")
    return ax


@in_own_settings
def plot_dead_units(result: Findings, ax: Axes | None = None) -> Axes:
    """Draw the mean share of dead units of each hidden layer, and write how many they are."""
    samples = [one for one in _shown(result) if one.dead_units]
    depth = max((len(one.dead_units) for one in samples), default=1)
    ax = _rows(samples, ax)
    ax.grid(visible=False)
    shares = np.full((max(1, len(samples)), depth), np.nan)
    for row, sample in enumerate(samples):
        units = result.hidden_of(sample)
        counts = np.asarray([run.dead_units for run in sample.runs if run.curve])
        low, high = np.quantile(counts, (0.25, 0.75), axis=0)
        shares[row, : len(units)] = 100 * counts.mean(axis=0) / units
        for layer, mean in enumerate(sample.dead_units):
            ax.annotate(
                f"{mean:.1f}\n{low[layer]:.0f} to {high[layer]:.0f}",
                (layer, row),
                ha="center",
                va="center",
                fontsize=8,
                color="black" if shares[row, layer] < _DARK else "white",
            )
    ax.imshow(shares, cmap="Oranges", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    widths = {tuple(result.hidden_of(one)) for one in samples}
    of = [f"\n{n:,} units" for n in min(widths)] if len(widths) == 1 else [""] * depth
    ax.set_xticks(range(depth), [f"{layer + 1}{of[layer]}" for layer in range(depth)])
    ax.set_xlabel("hidden layer")
    return ax


def _shown(result: Findings) -> list[Sample]:
    return [sample for sample in result.arms.values() if sample.runs]


def _only(result: Findings, sample: Sample) -> str:
    """Return the arm, whose colour a sample has where it is the arm's only one."""
    return sample.arm if sample.name == sample.arm else ""


def _common(sample: Sample) -> tuple[Any, Any]:
    """Return steps (n_steps,) and accuracies in per cent (n_runs, n_steps), of runs with curves."""
    curves = [run.curve for run in sample.runs if run.curve]
    n = min((len(curve.steps) for curve in curves), default=0)
    accuracy = np.array([curve.test_accuracy[:n] for curve in curves], float)
    return np.array(curves[0].steps[:n] if curves else []), 100 * accuracy.reshape(len(curves), n)


def _rows(names: Sequence[Any], ax: Axes | None) -> Axes:
    """Make room for a row of points under each name."""
    texts = [one.title if isinstance(one, Sample) else one for one in names]
    texts = [_lines_of(text) for text in texts]
    lines = max((text.count("\n") for text in texts), default=0)
    ax = axes(ax, 6.4, 1.0 + max(1, len(texts)) * (_ROW + _LINES * lines))
    quiet(ax)
    ax.grid(visible=False, axis="y")
    ax.set_yticks(range(len(texts)), texts)
    ax.set_ylim(len(texts) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    return ax


def _less(pair: Pair) -> str:
    """Write a pair in lines: what two have in common, and each of them."""
    common, a, b = pair.names
    return "\n".join([*([f"{common}:"] if common else []), a, f"less {b}"])


def _lines_of(name: str) -> str:
    """Break what is long in a name, which has lines already, behind commas."""
    lines = (textwrap.wrap(line, _NAME, break_on_hyphens=False) for line in name.splitlines())
    return "\n".join(itertools.chain.from_iterable(lines))


def _strip(ax: Axes, row: int, at: Any, color: str, marker: str) -> None:
    """Draw points in the upper part of a row, in heights by which equal ones stand apart."""
    spread = np.linspace(-0.34, 0.1, max(2, len(at)))[: len(at)]
    order = np.random.default_rng(0).permutation(len(at))
    look: dict[str, Any] = {"s": 18, "linewidths": 0, "alpha": 0.6, "clip_on": False, "zorder": 3}
    ax.scatter(at, row + spread[order], color=color, marker=marker, **look)


def _mark(ax: Axes, row: int, low: float, high: float, middle: float) -> None:
    """Draw an interval and the median in it, below the points of a row."""
    look: dict[str, Any] = {"color": ax.xaxis.label.get_color(), "zorder": 4, "clip_on": False}
    ax.hlines(row + 0.27, low, high, linewidth=1.5, **look)
    ax.plot(middle, row + 0.27, marker="D", markersize=6, **look)


def _picture(draw: Any, *words_of_it: str) -> Picture:
    return Picture(lambda result: cast("Figure", draw(result).figure), *words_of_it)


PICTURES = {
    "accuracy": _picture(
        plot_accuracy,
        "runs",
        "Accuracy of each arm",
        "Test accuracy of every run against the steps of fine-tuning, with medians and quartiles.",
        "A strong line is the median of an arm's runs, the band around it holds the middle half of "
        "them, and each faint line is one run. The axis is logarithmic in the error: each halving "
        "of the error is the same step upward. A run that diverged has no curve.",
    ),
    "steps_to_90": _picture(
        plot_steps_to_90,
        "learned",
        "Steps to 90 %",
        "The step at which each run reached 90 %, in a row for each arm.",
        "Each point is a run, at the step at which it first reached 90 %; those that never did "
        "stand at the right. The diamond below them is the median of all of an arm's runs, on the "
        "line of its 95 % interval. Where half of the runs never got there, the median is not "
        "reached either.",
    ),
    "differences": _picture(
        plot_differences,
        "pairs",
        "Pairs of one seed",
        "Difference in final accuracy of each pair of runs of one seed, in a row for each pair of "
        "arms.",
        "Each point is a pair of runs of one seed: right of zero the first ended ahead, left of it "
        "the second. The diamond is the median, on the line of its 95 % interval; an interval "
        "that holds zero leaves open who is ahead. Far points are mostly pairs of which "
        "one run collapsed; where there are some, the axis is logarithmic away from zero.",
    ),
    "dead_units": _picture(
        plot_dead_units,
        "runs",
        "Dead units of each arm",
        "Mean number of dead units in every hidden layer of each arm after fine-tuning.",
        "The upper number of a field is the mean of the runs, the lower ones hold the middle half "
        "of them; the darker a field, the larger the share of the layer. A unit is dead if its "
        "output is the same for every test sample.",
    ),
}
