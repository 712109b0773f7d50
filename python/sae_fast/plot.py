# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of networks and what they do, each drawn on one Axes, a given one or a new one.

matplotlib is imported when the first figure is made, and pyplot never: figures need no display,
leave no global state, and are freed with their last reference. Text and background are those of
the matplotlib style in use, dark ones included; colours hold on both and never speak alone:
a marker, a hatch, a number or a name says the same.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .base.checks import check_array, check_choice, check_float
from .base.pca import PCA
from .base.text import number, percent
from .errors import DataError
from .training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_accuracy",
    "plot_codes",
    "plot_confusion_matrix",
    "plot_dead_units",
    "plot_history",
    "plot_reconstructions",
    "plot_scores",
    "plot_weights",
]

DPI = 150
MAX_IMAGES = 10
MAX_UNITS = 100
N_BINS = 60

#: Colour and marker of each arm: the article's blue and red in tones of Okabe and Ito's palette,
#: which colour-blind readers can tell apart.
ARM_STYLES = {
    "pretrained": ("#0072B2", "o"),
    "normal": ("#D55E00", "s"),
    "he": ("#009E73", "^"),
}
#: For all else ten colours found by M. Petroff, "Accessible color sequences for data
#: visualization", 2021 (arXiv:2107.02270), each with a marker of its own.
PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = "os^DvPX*<>"
HATCHES = ("", "////", "....", "xxxx")
NEUTRAL = "#888888"  # in sight on white and on black
GAP = "#b0b0b0"
FROM_90 = 90  # percent: where the article looks at how soon a network learned


class _Arm(Protocol):
    """What `plot_accuracy` reads of an `ArmResult`."""

    steps: list[int]
    test_accuracy: list[float]
    dead_units: list[int]

    @property
    def final_accuracy(self) -> float: ...

    @property
    def first_step_at_90(self) -> int | None: ...

    @property
    def collapsed(self) -> bool: ...


class _Result(Protocol):
    """What `plot_accuracy` reads of an `ExperimentResult`."""

    @property
    def arms(self) -> Mapping[str, _Arm]: ...

    @property
    def hidden(self) -> Sequence[int]: ...


def plot_accuracy(result: _Result, ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of every arm against the steps of fine-tuning.

    The axis is logarithmic in the error (100 % minus accuracy), so that one picture shows both a
    collapsed arm at 11 % and a lead of half a point at 96 %. A marker stands where an arm
    first reached 90 %.

    Parameters
    ----------
    result : ExperimentResult
    ax : Axes, optional
        Where to draw; by default a figure of its own.

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
    if ax is None:
        ax = new_figure(8, 5).subplots()
    for name, arm in result.arms.items():
        _draw_arm(ax, name, arm, result.hidden)
    _accuracy_axis(ax, [arm.test_accuracy for arm in result.arms.values()])
    step_axis(ax)
    ax.set_ylabel("test accuracy, % (error on a log scale)")
    if result.arms:
        _legend_above(ax)
    return ax


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
    ax : Axes, optional
        Where to draw; by default a figure of its own.

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
    histories = _named("history", history, History)
    dead = {} if dead_units is None else _named_like("dead_units", dead_units, history)
    curves: dict[str, list[float]] = {}
    for name, record in histories.items():
        curves[name] = getattr(record, quantity)
        if not curves[name]:
            raise DataError(
                f"history: expected a curve of the {quantity}, got none"
                + (f" in {name!r}" if name else "")
                + "; finetune draws one from its eval_set"
            )
    if ax is None:
        ax = new_figure(8, 5).subplots()
    for index, (name, curve) in enumerate(curves.items()):
        last = number(curve[-1]) if quantity == "loss" else percent(curve[-1])
        label = f"{name}: {last}" if name else last
        if name in dead:
            label += f", {_dead_text(dead[name])}"
        color, marker = ARM_STYLES.get(name, _style(index))
        ax.plot(
            histories[name].steps,
            curve if quantity == "loss" else 100 * np.asarray(curve),
            color=color,
            marker=marker,
            markevery=(0.04 * index, 0.3),  # of the picture's diagonal: not all at one place
            markersize=6,
            markeredgecolor=ax.get_facecolor(),
            linewidth=1.5,
            label=label,
        )
    if quantity == "loss":
        loss_axis(ax, log=min(map(min, curves.values())) > 0)
        ax.set_ylabel("loss, a sum over the samples")
    else:
        _accuracy_axis(ax, list(curves.values()))
        ax.set_ylabel("accuracy, % (error on a log scale)")
    step_axis(ax)
    _legend_above(ax, 1 if len(curves) < 4 else 2)
    return ax


def plot_dead_units(
    dead_units: Sequence[int] | Mapping[str, Sequence[int]],
    hidden: Sequence[int],
    ax: Axes | None = None,
) -> Axes:
    """Draw what share of each hidden layer's units is dead: zero on every sample.

    Parameters
    ----------
    dead_units : sequence of int, or mapping of str to one
        Dead units of each hidden layer, as `StackedAutoencoder.count_dead_units` gives them; for
        several networks by name.
    hidden : sequence of int
        Units of each hidden layer: ``net.sizes[1:]``.
    ax : Axes, optional
        Where to draw; by default a figure of its own.

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
    for dead in counts.values():
        if dead.shape != units.shape or (dead < 0).any() or (dead > units).any():
            raise DataError(
                f"dead_units: expected a number for each of the layers {units.tolist()}, at most "
                f"its units, got {dead.tolist()}"
            )
    if ax is None:
        ax = new_figure(8, 3.6).subplots()
    places = np.arange(len(units))
    width = 0.8 / len(counts)
    for index, (name, dead) in enumerate(counts.items()):
        bars = ax.bar(
            places + (index - (len(counts) - 1) / 2) * width,
            100 * dead / units,
            0.9 * width,
            color=ARM_STYLES.get(name, _style(index))[0],
            hatch=HATCHES[index % len(HATCHES)],
            edgecolor=ax.get_facecolor(),
            linewidth=0,
            label=name,
        )
        ax.bar_label(bars, [str(count) for count in dead], padding=2, fontsize=9)
    _quiet(ax)
    ax.grid(visible=False, axis="x")
    ax.set_ylim(0, 108)
    ax.set_yticks([0, 25, 50, 75, 100])
    ax.set_xticks(places, [f"{layer}\n{n:,} units" for layer, n in enumerate(units, 1)])
    ax.set_xlabel("hidden layer")
    ax.set_ylabel("dead units, %")
    if any(counts):
        _legend_above(ax, len(counts))
    return ax


def plot_confusion_matrix(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Sequence[Hashable] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many samples of each class were taken for which.

    A row is a true class: its samples taken right are blue, on the diagonal, those taken for
    another class red; the darker, the larger their share of the row (the colour goes with its
    square root). The share taken right, the recall, stands at the right end of the row.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n_samples,)
        True and predicted classes, numbers or names.
    labels : sequence, optional
        All classes, in the order of rows and columns. Default: those that occur, sorted.
    ax : Axes, optional
        Where to draw; by default a figure of its own.

    Returns
    -------
    Axes
        Numbers are left out where they would be too small to read.

    Raises
    ------
    DataError
        If the two differ in length or are empty, or a class is not among `labels`.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import sae_fast
    >>> ax = sae_fast.plot.plot_confusion_matrix(["cat", "cat", "dog"], ["cat", "dog", "dog"])
    >>> ax.get_title()
    '66.67 % of 3 right'
    """
    counts, names = _confusion_counts(y_true, y_pred, labels)
    n_classes, n_samples = len(counts), int(counts.sum())
    if ax is None:
        side = min(12, 2.5 + 0.4 * n_classes)
        ax = new_figure(side + 1, side + 0.6).subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    tint = np.sqrt(share) * (2 * np.eye(n_classes) - 1)
    ax.imshow(tint, cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
    inches = ax.get_window_extent().height / ax.figure.dpi / n_classes
    size = min(10, 72 * inches / 3.2)  # a number of four digits is 2.4 times as wide as high
    if size >= 4:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if abs(tint[row, column]) > 0.65 else "#222222"
            count = f"{counts[row, column]}"
            ax.text(column, row, count, ha="center", va="center", fontsize=size, color=color)
    ax.set_xticks(range(n_classes), names, rotation=90 if max(map(len, names)) > 3 else 0)
    ax.set_yticks(range(n_classes), names)
    recall = ax.secondary_yaxis("right")
    shown = [f"{100 * share[i, i]:.1f}" if counts[i].any() else "-" for i in range(n_classes)]
    recall.set_yticks(range(n_classes), shown)
    recall.set_ylabel("recall, %", fontsize=10)
    for axis in (ax, recall):
        axis.tick_params(length=0, labelsize=9 if n_classes <= 40 else 5)
        axis.spines[:].set_visible(False)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title(f"{percent(np.trace(counts) / n_samples)} of {n_samples:,} right", fontsize=11)
    return ax


def plot_codes(
    codes: Any,
    y: Any = None,
    *,
    method: str = "pca",
    ax: Axes | None = None,
) -> Axes:
    """Draw codes as points in two dimensions, each class in a colour and marker of its own.

    Parameters
    ----------
    codes : array_like, shape (n_samples, n_hidden)
        What `encode` gives. All are drawn; a few thousand are enough for the eye.
    y : array_like, shape (n_samples,), optional
        Classes, numbers or names. The name stands at the median of each, where there is room.
    method : {"pca", "tsne"}
        The two principal components, each on a scale of its own, with the share of the variance
        that it holds; or scikit-learn's t-SNE, which keeps neighbours together and nothing else:
        its distances and directions mean nothing.
    ax : Axes, optional
        Where to draw; by default a figure of its own.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If an argument does not fit.
    ImportError
        If matplotlib, or for t-SNE scikit-learn, is not installed.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> codes = np.array([[0, 0, 1.0], [0, 0.1, 2], [0, 0, 9]])
    >>> ax = sae_fast.plot.plot_codes(codes, ["low", "low", "high"])
    >>> ax.get_xlabel()
    'first principal component, 100.0 % of the variance'
    """
    check_choice("method", method, ("pca", "tsne"))
    codes = _check_samples("codes", codes)
    classes = _check_classes("y", y, len(codes)) if y is not None else [""] * len(codes)
    names = _sorted_classes("y", classes)
    codes = np.pad(codes, ((0, 0), (0, max(0, 2 - codes.shape[1]))))  # one unit: on a line
    points, labels = (_pca_points if method == "pca" else _tsne_points)(codes)
    if ax is None:
        ax = new_figure(7.5, 6).subplots()
    order = {name: index for index, name in enumerate(names)}
    index_of = np.array([order[name] for name in classes])
    for index, name in enumerate(names):
        across, up = points[index_of == index].T
        color, marker = _style(index)
        ax.scatter(
            across,
            up,
            s=16,
            color=color,
            marker=marker,
            linewidths=0,
            rasterized=True,
            label=str(name),
        )
    if y is not None:
        _name_groups(ax, points, index_of, names)
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(1, 1),
            fontsize=9,
            frameon=False,
            markerscale=1.8,
            ncols=math.ceil(len(names) / 25),
        )
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_alpha(0.4)
    return ax


def plot_scores(
    scores: Any,
    is_anomaly: Any = None,
    threshold: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a histogram of anomaly scores, normal samples against anomalous ones.

    Each group is drawn in per cent of its own size, so that a few anomalies show beside many
    normal samples.

    Parameters
    ----------
    scores : array_like, shape (n_samples,)
        The higher, the less normal: reconstruction errors, for example.
    is_anomaly : array_like of bool, shape (n_samples,), optional
        What is known to be anomalous; without it there is one group.
    threshold : float, optional
        Scores above it count as anomalous; the legend says how many of each group these are.
    ax : Axes, optional
        Where to draw; by default a figure of its own.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the shapes differ, a score is not finite or `is_anomaly` holds more than true and false.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import sae_fast
    >>> ax = sae_fast.plot.plot_scores([0.1, 0.2, 0.2, 0.9], [False, False, False, True], 0.5)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['normal: 3, above 0.5: 0.0 %', 'anomalous: 1, above 0.5: 100.0 %', 'threshold 0.5']
    """
    scores = _check_samples("scores", scores, n_dimensions=1).astype(np.float64)
    groups = {"samples": scores}
    if is_anomaly is not None:
        flags = check_array("is_anomaly", is_anomaly)
        if flags.shape != scores.shape or not np.isin(flags, (False, True)).all():
            raise DataError(
                f"is_anomaly: expected true or false for each of {len(scores)} scores, got "
                f"{flags.dtype} values of shape {flags.shape}"
            )
        flags = flags.astype(bool)
        groups = {"normal": scores[~flags], "anomalous": scores[flags]}
    if threshold is not None:
        threshold = check_float("threshold", threshold, positive=False)
    if ax is None:
        ax = new_figure(8, 4.4).subplots()
    from matplotlib.colors import to_rgba

    edges = np.histogram_bin_edges(scores, N_BINS).tolist()
    colors = [color for color, _ in ARM_STYLES.values()]
    for index, (name, group) in enumerate(groups.items()):
        label = f"{name}: {len(group):,}"
        if threshold is not None and len(group):
            label += f", above {threshold:.4g}: {100 * np.mean(group > threshold):.1f} %"
        ax.hist(
            group,
            edges,
            weights=np.full(len(group), 100 / max(1, len(group))),
            histtype="stepfilled",
            facecolor=to_rgba(colors[index], 0.35),
            edgecolor=colors[index],
            hatch=HATCHES[index],
            linewidth=1.5,
            label=label,
        )
    if threshold is not None:
        line = f"threshold {threshold:.4g}"
        ax.axvline(threshold, color=NEUTRAL, linestyle="--", linewidth=1.5, label=line)
    _quiet(ax)
    ax.set_xlabel("score")
    ax.set_ylabel("% of each group" if is_anomaly is not None else "% of the samples")
    _legend_above(ax)
    return ax


def plot_reconstructions(
    x: Any,
    reconstructions: Any,
    image_shape: tuple[int, int] | None = None,
    *,
    scale: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw samples and, below them, what is left of them after compression.

    Parameters
    ----------
    x : array_like, shape (n_samples, n_features)
        The first `MAX_IMAGES` samples are drawn.
    reconstructions : array_like like `x`, or mapping of str to one
        What `reconstruct` made of them; of several methods by name.
    image_shape : (height, width), optional
        Without it each sample is drawn as a curve.
    scale : float, optional
        Factor on `x`, the one that the network was given with it.
    ax : Axes, optional
        Where to draw; by default a figure of its own.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If shapes do not fit.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.eye(6, dtype=np.float32)
    >>> ax = sae_fast.plot.plot_reconstructions(x, {"half": x / 2}, image_shape=(2, 3))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['original', 'half']
    """
    originals = _check_samples("x", x)[:MAX_IMAGES] * np.float32(1 if scale is None else scale)
    if not isinstance(reconstructions, Mapping):
        reconstructions = {"reconstruction": reconstructions}
    rows = {"original": originals}
    for name, images in reconstructions.items():
        rows[name] = _check_samples("reconstructions", images)[:MAX_IMAGES]
        if rows[name].shape != originals.shape:
            raise DataError(
                f"reconstructions: expected the shape of x, {np.shape(x)}, got {np.shape(images)} "
                f"for {name!r}"
            )
    if image_shape is None:
        return _draw_curves(rows, ax)
    height, width = _checked_shape(image_shape, originals.shape[1])
    tiles = np.concatenate(list(rows.values())).reshape(-1, height, width)
    sheet = _tile(tiles, len(originals))
    if ax is None:
        inches = max(0.82 / max(height, width), 0.45 / height)  # per pixel; room for two lines
        size = 1.4 + inches * sheet.shape[1], 0.2 + inches * sheet.shape[0]
        ax = new_figure(*size, images=True).subplots()
    _show(ax, sheet, "gray_r", float(originals.min()), float(originals.max()), gap="white")
    centres = [(height + _gap(height)) * (row + 0.5) - 0.5 for row in range(len(rows))]
    ax.set_yticks(centres, list(rows), fontsize=10)
    return ax


def plot_weights(
    w: Any,
    image_shape: tuple[int, int] | None = None,
    ax: Axes | None = None,
    *,
    limit: float | None = None,
) -> Axes:
    """Draw the weights of first-layer units as images, on a scale symmetric around zero.

    Red weights are positive, blue ones negative, white ones zero.

    Parameters
    ----------
    w : array_like, shape (n_features, n_hidden)
        ``W1`` or ``W_enc`` of a network's `parameters`; the first `MAX_UNITS` units are drawn.
    image_shape : (height, width), optional
        Without it each unit is a row of a heat map.
    ax : Axes, optional
        Where to draw; by default a figure of its own.
    limit : float, optional
        End of the colour scale; by default 0.5 % of the weights lie beyond it.

    Returns
    -------
    Axes
        ``ax.images[0]`` is what a colour bar needs.

    Raises
    ------
    DataError
        If shapes do not fit.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import sae_fast
    >>> ae = sae_fast.Autoencoder(784, 250, seed=0)
    >>> ax = sae_fast.plot.plot_weights(ae.parameters["W_enc"], (28, 28))
    >>> ax.get_title()
    '(first 100 of 250 units)'
    """
    w = _check_samples("w", w)
    n_features, n_units = w.shape
    n_drawn = min(n_units, MAX_UNITS)
    units = w[:, :n_drawn].T
    if limit is None:
        limit = weight_limit([w])
    if image_shape is not None:
        height, width = _checked_shape(image_shape, n_features)
        units = _tile(units.reshape(-1, height, width), math.ceil(math.sqrt(n_drawn)))
    if ax is None:
        ax = new_figure(5.5, 5.5).subplots()
    _show(ax, units, "RdBu_r", -limit, limit, gap=GAP)
    if image_shape is None:
        ax.set_aspect("auto")
        ax.set_xlabel("feature")
        ax.set_ylabel("unit")
    if n_drawn < n_units:
        ax.set_title(f"(first {n_drawn} of {n_units:,} units)", fontsize=10)
    return ax


def new_figure(width: float, height: float, images: bool = False) -> Figure:
    """Make an empty figure, sizes in inches, laid out for curves or for images."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'sae-fast[plot]'") from error
    figure = Figure((width, height), dpi=DPI)
    figure.set_layout_engine("compressed" if images else "constrained", h_pad=0.08, w_pad=0.08)
    return figure


def loss_axis(ax: Axes, log: bool) -> None:
    """Scale the height for losses, from zero or logarithmic, with few and plain numbers."""
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

    ax.margins(y=0.1)
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(EngFormatter())


def step_axis(ax: Axes) -> None:
    """Scale the width for steps."""
    ax.set_xlim(left=0)
    ax.set_xlabel("step")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    _quiet(ax)


def weight_limit(weights: Sequence[NDArray[Any]]) -> float:
    """Find the end of the colour scale: beyond it lie 0.5 % of the weights that are drawn."""
    limits = (np.quantile(np.abs(w[:, :MAX_UNITS]), 0.995) for w in weights)
    return max((float(limit) for limit in limits), default=0.0) or 1.0


def _style(index: int) -> tuple[str, str]:
    """Give the colour and marker of one of several curves or groups."""
    return PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]


def _quiet(ax: Axes) -> None:
    """Take away what carries no information."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_alpha(0.3)
    ax.grid(visible=True, color=NEUTRAL, alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", length=0, labelsize=9)


def _legend_above(ax: Axes, n_columns: int = 1) -> None:
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, frameon=False, ncols=n_columns)


def _accuracy_axis(ax: Axes, accuracies: Sequence[Sequence[float]]) -> None:
    """Scale the height in per cent by the decades that the error has fallen."""
    best = 100 * max(chain.from_iterable(accuracies), default=0)
    ticks = [0, 50, 80, 90, 95, 96, 97, 98, 99, 99.5, 99.9]
    top = next((tick for tick in ticks[6:] if tick > best), 99.99)
    ax.set_yscale("function", functions=(_error_scale, _error_scale_inverse))
    ax.set_ylim(0, top)
    ticks = [tick for tick in ticks if tick <= top]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.axhline(FROM_90, color=NEUTRAL, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)


def _error_scale(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map an accuracy in percent to the decades that the error has fallen by."""
    return -np.log10(1 - np.clip(accuracy, 0, 99.99) / 100)


def _error_scale_inverse(decades: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100 * (1 - 10.0 ** -np.asarray(decades))


def _draw_arm(ax: Axes, name: str, arm: _Arm, hidden: Sequence[int]) -> None:
    """Draw the curve of an arm, and say in the legend how it ended."""
    color, marker = ARM_STYLES.get(name, _style(4))
    label = f"{name}: {percent(arm.final_accuracy)}"
    first = arm.first_step_at_90
    if arm.collapsed:
        label += f", collapsed, {arm.dead_units[-1]} of {hidden[-1]} top units dead"
    elif first is not None:
        label += f", 90 % at step {first:,}"
    accuracy = 100 * np.asarray(arm.test_accuracy)
    marked = [len(arm.steps) - 1]
    if first is not None:
        marked.append(arm.steps.index(first))
    ax.plot(
        arm.steps,
        accuracy,
        color=color,
        marker=marker,
        markevery=marked,
        markersize=8,
        markeredgecolor=ax.get_facecolor(),
        linewidth=1.3,
        label=label,
        clip_on=False,
        zorder=3,
    )


def _dead_text(dead: Any) -> str:
    """Say how many units are dead: in one layer, or in each of several."""
    counts = np.atleast_1d(check_array("dead_units", dead)).tolist()
    listed = ", ".join(map(str, counts))
    return f"{listed} dead units" if len(counts) == 1 else f"dead units by layer: {listed}"


def _named(name: str, value: Any, kind: type[History]) -> dict[str, History]:
    """Give one or several records by name; DataError if they are of another kind."""
    if isinstance(value, Mapping):
        named = dict(value)
    elif isinstance(value, Sequence):
        named = {f"layer {layer}": record for layer, record in enumerate(value, 1)}
    else:
        named = {"": value}
    for record in named.values():
        if not isinstance(record, kind):
            raise DataError(f"{name}: expected {kind.__name__}, got {type(record).__name__}")
    if not named:
        raise DataError(f"{name}: expected at least one {kind.__name__}, got none")
    return named


def _named_like(name: str, value: Any, like: Any) -> dict[str, Any]:
    """Give what belongs to one or several records, by their names; see `_named`."""
    if isinstance(like, Mapping):
        if isinstance(value, Mapping) and value.keys() <= like.keys():
            return dict(value)
        raise DataError(f"{name}: expected a mapping with names of {list(like)}, got {value!r}")
    if not isinstance(like, Sequence):
        return {"": value}
    if np.shape(value)[:1] != (len(like),):
        raise DataError(f"{name}: expected one item for each of {len(like)} layers, got {value!r}")
    return {f"layer {layer}": item for layer, item in enumerate(value, 1)}


def _check_samples(name: str, value: Any, n_dimensions: int = 2) -> NDArray[Any]:
    """Return an array of finite numbers, none of its dimensions empty, or raise DataError."""
    array = check_array(name, value)
    if array.ndim != n_dimensions or 0 in array.shape:
        raise DataError(
            f"{name}: expected {n_dimensions} dimension{'s' if n_dimensions > 1 else ''} and at "
            f"least one sample, got shape {array.shape}"
        )
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected numbers, got dtype {array.dtype}")
    if not np.isfinite(array).all():
        raise DataError(f"{name}: expected finite numbers, got NaN or infinite ones")
    return array


def _check_classes(name: str, y: Any, n_samples: int | None = None) -> list[Hashable]:
    """Return classes, numbers or names, one per sample, or raise DataError."""
    array = check_array(name, y)
    if array.ndim != 1 or len(array) == 0 or n_samples not in (None, len(array)):
        wanted = "at least one class" if n_samples is None else f"{n_samples} classes"
        raise DataError(f"{name}: expected {wanted}, one per sample, got shape {array.shape}")
    classes: list[Hashable] = array.tolist()
    return classes


def _sorted_classes(name: str, classes: Sequence[Hashable]) -> list[Any]:
    try:
        return sorted(set(classes))
    except TypeError as error:
        raise DataError(f"{name}: expected classes that can be sorted, got {error}") from error


def _confusion_counts(
    y_true: Any, y_pred: Any, labels: Sequence[Hashable] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Count samples by true class (rows) and predicted class (columns); name the classes."""
    true = _check_classes("y_true", y_true)
    predicted = _check_classes("y_pred", y_pred, len(true))
    if labels is None:
        classes = _sorted_classes("y_true, y_pred", [*true, *predicted])
    else:
        classes = _check_classes("labels", labels)
    places = {name: place for place, name in enumerate(classes)}
    if len(places) < len(classes):
        raise DataError(f"labels: expected each class once, got {classes}")
    strangers = set(true + predicted).difference(places)
    if strangers:
        raise DataError(f"labels: expected all classes, got none for {min(strangers, key=str)!r}")
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, ([places[name] for name in true], [places[name] for name in predicted]), 1)
    return counts, [str(name) for name in classes]


def _pca_points(codes: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Project codes (n_samples, n_hidden) on two principal components, and name the axes."""
    pca = PCA(codes)
    labels = [
        f"{which} principal component, {100 * share:.1f} % of the variance"
        for which, share in zip(("first", "second"), pca.variance_shares(2), strict=True)
    ]
    return pca.transform(codes, 2), labels


def _tsne_points(codes: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Embed codes (n_samples, n_hidden) by t-SNE, and name the axes."""
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ImportError("t-SNE needs scikit-learn: pip install 'sae-fast[sklearn]'") from error
    if np.ptp(codes, axis=0).max() == 0:
        raise DataError("codes: expected samples that differ, got the same code for all")
    perplexity = min(30, (len(codes) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=0)
    return tsne.fit_transform(codes.astype(np.float32)), ["t-SNE", ""]


def _name_groups(
    ax: Axes, points: NDArray[Any], index_of: NDArray[np.int64], names: Sequence[Any]
) -> None:
    """Write the name of each group at its median, unless it would cover another one's."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground=ax.get_facecolor())]
    style: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold"}
    ax.get_xlim()  # brings the view up to date, in which extents are measured
    boxes: list[Any] = []
    for index, name in enumerate(names):
        across, up = np.median(points[index_of == index], axis=0)
        text = ax.text(across, up, str(name), path_effects=halo, **style)
        box = text.get_window_extent()
        if any(box.overlaps(other) for other in boxes):
            text.remove()  # the legend has it
        else:
            boxes.append(box)


def _draw_curves(rows: Mapping[str, NDArray[Any]], ax: Axes | None) -> Axes:
    """Draw samples that are no images one below another, each with a curve per method."""
    originals = rows["original"]
    n_samples = len(originals)
    if ax is None:
        ax = new_figure(8, 1.2 + 0.6 * n_samples).subplots()
    low, high = float(originals.min()), float(originals.max())
    height = 1.1 * (high - low) or 1.0
    bottoms = -np.arange(n_samples)
    for index, (name, samples) in enumerate(rows.items()):
        color = _style(index - 1)[0] if index else NEUTRAL
        lines = ax.plot(
            ((samples - low) / height + bottoms[:, None]).T,
            color=color,
            linewidth=1.4 if index else 4,
            linestyle=("-", "--", "-.", ":")[index % 4] if index > 1 else "-",
            alpha=1 if index else 0.5,
        )
        lines[0].set_label(name.replace("\n", ", "))
    _quiet(ax)
    ax.set_yticks(bottoms, [str(sample) for sample in range(1, n_samples + 1)])
    ax.set_xlabel("feature")
    ax.set_ylabel("sample")
    _legend_above(ax, 2)
    return ax


def _checked_shape(image_shape: tuple[int, int], n_features: int) -> tuple[int, int]:
    if image_shape[0] * image_shape[1] != n_features:
        raise DataError(f"image_shape: {image_shape} does not make up {n_features} features")
    return image_shape


def _gap(height: int) -> int:
    """Space between tiles, in pixels of the images."""
    return max(1, height // 14)


def _tile(images: NDArray[Any], n_columns: int) -> NDArray[Any]:
    """Lay images out row by row on one sheet, NaN between them.

    Parameters
    ----------
    images : ndarray, shape (n_images, height, width)
    n_columns : int

    Returns
    -------
    ndarray, shape (n_rows * (height + gap) - gap, n_columns * (width + gap) - gap)
    """
    n_images, height, width = images.shape
    gap = _gap(height)
    n_rows = math.ceil(n_images / n_columns)
    sheet = np.full((n_rows * (height + gap), n_columns * (width + gap)), np.nan, np.float32)
    for index, image in enumerate(images):
        top, left = index // n_columns * (height + gap), index % n_columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet[:-gap, :-gap]


def _show(ax: Axes, sheet: NDArray[Any], cmap: str, low: float, high: float, gap: str) -> None:
    """Draw a sheet without frame or ticks, what is NaN in the colour `gap`."""
    image = ax.imshow(sheet, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    image.set_cmap(image.get_cmap().with_extremes(bad=gap))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
