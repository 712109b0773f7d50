# SPDX-License-Identifier: BSD-3-Clause
"""What changes with the steps of a training, and how many units are dead at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checks import check_array, check_choice
from ..base.text import number, percent
from ..errors import DataError
from ..training.history import History
from .axes import (
    HATCHES,
    accuracy_axis,
    axes,
    in_own_settings,
    label_of,
    legend_above,
    loss_axis,
    quiet,
    step_axis,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@in_own_settings
def plot_accuracy(result: Any, ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of every arm against the steps of fine-tuning.

    The axis is logarithmic in the error (100 % minus accuracy), so that one picture shows both a
    collapsed arm at 11 % and a lead of half a point at 96 %. A marker stands where an arm
    first reached 90 %.

    Parameters
    ----------
    result : ExperimentResult
    ax : Axes, default a figure of its own

    Returns
    -------
    Axes
        Its ``figure`` has ``savefig``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import sae_fast
    >>> arm = sae_fast.ArmResult([100, 200], [9e3, 3e3], [0.55, 0.91], [3], seconds=0.2)
    >>> result = sae_fast.ExperimentResult("run", {}, {"hidden": [20]}, [], {"he": arm}, 0.2, {})
    >>> ax = sae_fast.plot.plot_accuracy(result)
    >>> ax.get_legend().get_texts()[0].get_text()
    'he: 91.00 %, 90 % at step 200'
    """
    ax = axes(ax, 6.4, 4.2)
    for name, arm in result.arms.items():
        first = arm.first_step_at_90
        marked = [len(arm.steps) - 1, *([] if first is None else [arm.steps.index(first)])]
        accuracy = 100 * np.asarray(arm.test_accuracy)
        look = {"markersize": 8, "linewidth": 1.3, "clip_on": False, "zorder": 3}
        _draw_curve(
            ax, arm.steps, accuracy, name, 4, result.verdict(name), markevery=marked, **look
        )
    accuracy_axis(ax, [arm.test_accuracy for arm in result.arms.values()])
    step_axis(ax)
    ax.set_ylabel("test accuracy, % (error on a log scale)")
    if result.arms:
        legend_above(ax)
    return ax


@in_own_settings
def plot_history(
    history: History | Sequence[History] | Mapping[str, History],
    quantity: str = "loss",
    *,
    dead_units: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss or the accuracy of one training, or of several, against its steps.

    The loss is on a log scale (unless one is zero), so that layers of different width fit into one
    picture; the accuracy as in `plot_accuracy`. The legend gives each curve's last value.

    Parameters
    ----------
    history : History, sequence of History, or mapping of str to History
        What `fit`, `finetune` or `pretrain` returned. Those of a sequence are called "layer 1",
        "layer 2", ..., in the order of `pretrain`.
    quantity : {"loss", "accuracy"}
    dead_units : optional
        What `count_dead_units` returned, for the legend: one for one history; for several a
        sequence or mapping like `history`.
    ax : Axes, default a figure of its own

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If a history holds no such curve, or `dead_units` are not those of `history`.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import sae_fast
    >>> x = sae_fast.datasets.load_strokes(n_train=300, n_test=1).x_train
    >>> net = sae_fast.StackedAutoencoder([784, 20, 5], n_classes=10)
    >>> histories = net.pretrain(x, steps=40, eval_every=10)
    >>> ax = sae_fast.plot.plot_history(histories, dead_units=net.count_dead_units(x))
    >>> [line.get_xdata().tolist() for line in ax.lines]
    [[10, 20, 30, 40], [10, 20, 30, 40]]
    """
    check_choice("quantity", quantity, ("loss", "accuracy"))
    histories = _named(history)
    if not histories:
        raise DataError("history: expected at least one History, got none")
    dead = {} if dead_units is None else _dead_units_of(histories, history, dead_units)
    curves: dict[str, list[float]] = {}
    for name, record in histories.items():
        if not isinstance(record, History):
            raise DataError(f"history: expected History, got {type(record).__name__}")
        curves[name] = getattr(record, quantity)
        if not curves[name]:
            raise DataError(
                f"history: expected a curve of the {quantity}, got none"
                + (f" in {name!r}" if name else "")
                + "; finetune draws one from its eval_set"
            )
    ax = axes(ax, 6.4, 4.2)
    for index, (name, curve) in enumerate(curves.items()):
        last = number(curve[-1]) if quantity == "loss" else percent(curve[-1])
        label = f"{label_of(name)}: {last}" if name else f"last {last}"
        if name in dead:
            counts = np.atleast_1d(check_array("dead_units", dead[name])).tolist()
            listed = ", ".join(map(str, counts))
            label += f", dead units by layer: {listed}" if counts[1:] else f", {listed} dead units"
        values = np.asarray(curve) * (1 if quantity == "loss" else 100)
        # in parts of the picture's diagonal: not all at one place; a point alone has no diagonal
        marked = (0.04 * index, 0.3) if len(curve) > 1 else None
        look = {"markevery": marked, "markersize": 6, "linewidth": 1.5}
        _draw_curve(ax, histories[name].steps, values, name, index, label, **look)
    if quantity == "loss":
        log = min(map(min, curves.values())) > 0
        loss_axis(ax, log)
        ax.set_ylabel(f"loss, a sum over the samples{' (log scale)' * log}")
    else:
        accuracy_axis(ax, list(curves.values()))
        ax.set_ylabel("accuracy, % (error on a log scale)")
    step_axis(ax)
    legend_above(ax)
    return ax


@in_own_settings
def plot_dead_units(
    dead_units: Sequence[int] | Mapping[str, Sequence[int]],
    hidden: Sequence[int],
    ax: Axes | None = None,
) -> Axes:
    """Draw what share of each hidden layer's units is dead: the same on every sample.

    Parameters
    ----------
    dead_units : sequence of int, or mapping of str to one
        Dead units of each hidden layer, as `StackedAutoencoder.count_dead_units` gives them; for
        several networks by name.
    hidden : sequence of int
        Units of each hidden layer: ``net.sizes[1:]``.
    ax : Axes, default a figure of its own

    Returns
    -------
    Axes
        The number of dead units stands above each bar.

    Raises
    ------
    DataError
        If the numbers of layers differ, or a layer has more dead units than units.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import sae_fast
    >>> ax = sae_fast.plot.plot_dead_units({"pretrained": [15, 2], "he": [0, 0]}, hidden=[100, 5])
    >>> [text.get_text() for text in ax.texts]
    ['15', '2', '0', '0']
    """
    units = np.asarray(hidden)
    named = dead_units if isinstance(dead_units, Mapping) else {"": dead_units}
    counts = {name: check_array("dead_units", dead) for name, dead in named.items()}
    if not counts:
        raise DataError("dead_units: expected those of at least one network, got none")
    for dead in counts.values():
        if dead.shape != units.shape or (dead < 0).any() or (dead > units).any():
            raise DataError(
                f"dead_units: expected a number for each of the layers {units.tolist()}, at most "
                f"its units, got {dead.tolist()}"
            )
    ax = axes(ax, max(6.4, 0.6 * len(units)), 3.2)
    places = np.arange(len(units))
    width = 0.8 / len(counts)
    for index, (name, dead) in enumerate(counts.items()):
        middles = places + (index - (len(counts) - 1) / 2) * width
        color, _ = style(index, name)
        look: dict[str, Any] = {
            "color": color,
            "hatch": HATCHES[index % len(HATCHES)],
            "linewidth": 0,
        }
        edge = ax.get_facecolor()  # of which the hatch is
        bars = ax.bar(
            middles, 100 * dead / units, 0.9 * width, label=label_of(name), edgecolor=edge, **look
        )
        ax.bar_label(bars, [str(count) for count in dead], padding=2, fontsize=9)
    quiet(ax)
    ax.grid(visible=False, axis="x")
    ax.set_xticks(places, [f"{layer}\n{n:,} units" for layer, n in enumerate(units, 1)])
    ax.set(ylim=(0, 108), yticks=[0, 25, 50, 75, 100])
    ax.set(xlabel="hidden layer", ylabel="dead units, %")
    if any(counts):
        legend_above(ax)
    return ax


def _draw_curve(
    ax: Axes, steps: Sequence[int], values: Any, name: str, index: int, label: str, **look: Any
) -> None:
    """Draw a curve with the colour and the marker of an arm, if it is one."""
    color, marker = style(index, name)
    edge = ax.get_facecolor()
    ax.plot(steps, values, color=color, marker=marker, markeredgecolor=edge, label=label, **look)


def _named(value: Any) -> dict[str, Any]:
    """Give one or several things by name, those of a sequence by their layers."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return {f"layer {layer}": item for layer, item in enumerate(value, 1)}
    return {"": value}


def _dead_units_of(histories: Mapping[str, Any], history: Any, dead_units: Any) -> dict[str, Any]:
    """Give dead units by the names of the histories; all of a sequence's, some of a mapping's."""
    if "" in histories:
        return {"": dead_units}
    listed = dead_units.tolist() if isinstance(dead_units, np.ndarray) else dead_units
    named = _named(listed)
    missing = histories.keys() - named.keys()
    if not named.keys() <= histories.keys() or (missing and not isinstance(history, Mapping)):
        raise DataError(f"dead_units: expected those of {list(histories)}, got {dead_units!r}")
    return named
