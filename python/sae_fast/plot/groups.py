# SPDX-License-Identifier: BSD-3-Clause
"""Groups of samples: which class is taken for which, where codes lie, who scores how high."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_array, check_choice, check_float
from ..base.pca import PCA
from ..base.text import percent
from ..errors import DataError
from .axes import (
    ARM_STYLES,
    HATCHES,
    NEUTRAL,
    axes,
    check_samples,
    in_own_settings,
    label_of,
    legend_above,
    quiet,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_BINS = 60
N_PLACES = 40  # above and below each other that names of groups are tried at
FLATTEST = 0.1  # height of the second principal component's axis, in widths of the first's


@in_own_settings
def plot_confusion_matrix(
    y_true: Any, y_pred: Any, *, labels: Sequence[Hashable] | None = None, ax: Axes | None = None
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
        All classes, in the order of rows and columns, or the names of classes that are numbered
        from 0. Default: those that occur, sorted.
    ax : Axes, default a figure of its own

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
    side = min(12, 2.5 + 0.4 * n_classes)
    ax = axes(ax, side + 1, side + 0.6)
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
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_title(f"{percent(np.trace(counts) / n_samples)} of {n_samples:,} right", fontsize=11)
    return ax


@in_own_settings
def plot_codes(codes: Any, y: Any = None, *, method: str = "pca", ax: Axes | None = None) -> Axes:
    """Draw codes as points in two dimensions, each class in a colour and marker of its own.

    Parameters
    ----------
    codes : array_like, shape (n_samples, n_hidden)
        What `encode` gives. All are drawn; a few thousand are enough for the eye.
    y : array_like, shape (n_samples,), optional
        Classes, numbers or names. The name stands at the median of each, where there is room.
    method : {"pca", "tsne"}
        The two principal components with the share of the variance that each holds, on scales of
        their own unless the second is next to nothing; or scikit-learn's t-SNE, which keeps
        neighbours together and nothing else: its distances and directions mean nothing.
    ax : Axes, default a figure of its own

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
    codes = check_samples("codes", codes)
    classes = _check_classes("y", y, len(codes)) if y is not None else [""] * len(codes)
    names = _sort_classes("y", classes)
    codes = np.pad(codes, ((0, 0), (0, max(0, 2 - codes.shape[1]))))  # one unit: on a line
    points, labels = (_pca_points if method == "pca" else _tsne_points)(codes)
    ax = axes(ax, 7.5, 6)
    width, height = np.ptp(points, axis=0)
    if method == "pca" and height < FLATTEST * width:  # noise, which is not to look like a signal
        middle = points[:, 1].min() + height / 2
        ax.set_ylim(middle - FLATTEST * width / 2, middle + FLATTEST * width / 2)
    order = {name: index for index, name in enumerate(names)}
    index_of = np.array([order[name] for name in classes])
    for index, name in enumerate(names):
        color, marker = style(index)
        look: dict[str, Any] = {"s": 16, "color": color, "marker": marker, "linewidths": 0}
        ax.scatter(*points[index_of == index].T, rasterized=True, label=label_of(name), **look)
    ax.set(xlabel=labels[0], ylabel=labels[1], xticks=[], yticks=[])
    if y is not None:
        n_columns = math.ceil(len(names) / 25)
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
        ax.legend(fontsize=9, frameon=False, markerscale=1.8, ncols=n_columns, **beside)
        figure: Any = ax.figure.figure  # of a subfigure the whole
        if layout := figure.get_layout_engine():
            layout.execute(figure)  # names have to know what room there is
        _name_groups(ax, points, index_of, [label_of(name) for name in names])
    ax.spines[:].set_alpha(0.4)
    return ax


@in_own_settings
def plot_scores(
    scores: Any, is_anomaly: Any = None, threshold: float | None = None, ax: Axes | None = None
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
    ax : Axes, default a figure of its own

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
    scores = check_samples("scores", scores, n_dimensions=1).astype(np.float64)
    groups = {"samples": scores}
    if is_anomaly is not None:
        flags = check_array("is_anomaly", is_anomaly)
        if flags.shape != scores.shape or not np.isin(flags, (False, True)).all():
            raise DataError(
                f"is_anomaly: expected true or false for each of {len(scores):,} scores, got "
                f"{flags.dtype} values of shape {flags.shape}"
            )
        flags = flags.astype(bool)
        groups = {"normal": scores[~flags], "anomalous": scores[flags]}
    if threshold is not None:
        threshold = check_float("threshold", threshold, positive=False)
    ax = axes(ax, 8, 4.4)
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
    quiet(ax)
    share = "% of the samples" if is_anomaly is None else "% of each group"
    ax.set(xlabel="score", ylabel=share)
    legend_above(ax)
    return ax


def _check_classes(name: str, y: Any, n_samples: int | None = None) -> list[Hashable]:
    """Return classes, numbers or names, one per sample, or raise DataError."""
    array = check_array(name, y)
    if array.ndim != 1 or len(array) == 0 or n_samples not in (None, len(array)):
        wanted = "at least one class" if n_samples is None else f"{n_samples} classes"
        raise DataError(f"{name}: expected {wanted}, one per sample, got shape {array.shape}")
    classes: list[Hashable] = array.tolist()
    return classes


def _sort_classes(name: str, classes: Sequence[Hashable]) -> list[Any]:
    """Return each class once, or raise DataError."""
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
        classes = _sort_classes("y_true, y_pred", [*true, *predicted])
    else:
        classes = _check_classes("labels", labels)
    names = [label_of(name) for name in classes]
    if len(set(classes)) < len(classes):
        raise DataError(f"labels: expected each class once, got {classes}")
    if all(isinstance(name, str) for name in classes) and not any(
        isinstance(name, str) for name in true + predicted
    ):
        classes = list(range(len(classes)))  # which the names are of
    places = {name: place for place, name in enumerate(classes)}
    strangers = set(true + predicted).difference(places)
    if strangers:
        raise DataError(f"labels: expected all classes, got none for {min(strangers, key=str)!r}")
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, ([places[name] for name in true], [places[name] for name in predicted]), 1)
    return counts, names


def _pca_points(codes: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Project codes (n_samples, n_hidden) on two principal components, and name the axes."""
    size = float(np.abs(codes).max()) or 1.0  # of which no square over- or underflows
    codes = codes / size
    pca = PCA(codes)
    labels = [
        f"{which} principal component, {100 * share:.1f} % of the variance"
        for which, share in zip(("first", "second"), pca.variance_shares(2), strict=True)
    ]
    return size * pca.transform(codes, 2).astype(np.float64), labels


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
    return tsne.fit_transform(codes / np.abs(codes).max()), ["t-SNE", ""]


def _name_groups(
    ax: Axes, points: NDArray[Any], index_of: NDArray[np.int64], names: Sequence[str]
) -> None:
    """Write the name of each group at its median, or as far above or below as others need."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground=ax.get_facecolor())]
    look: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold"}
    line = {"arrowstyle": "-", "color": NEUTRAL, "shrinkB": 0}
    ax.get_xlim()  # brings the view up to date, in which extents are measured
    boxes: list[Any] = []
    for index, name in enumerate(names):
        median = np.median(points[index_of == index], axis=0)
        text = ax.annotate(
            name, median, (0, 0), textcoords="offset points", arrowprops=line, **look
        )
        text.set(path_effects=halo, in_layout=False)
        box = text.get_window_extent()
        across = max(0, ax.bbox.x0 - box.x0) - max(0, box.x1 - ax.bbox.x1)
        ways = (way * box.height for step in range(N_PLACES) for way in (step, -step))
        free = (
            place
            for place in (box.translated(across, up) for up in ways)
            if ax.bbox.y0 <= place.y0 and place.y1 <= ax.bbox.y1 and not place.count_overlaps(boxes)
        )
        if (place := next(free, None)) is None:
            text.remove()  # the legend has it
        else:
            shift = np.subtract(place.p0, box.p0) * 72 / ax.figure.dpi
            text.xyann = tuple(shift)
            boxes.append(place)
