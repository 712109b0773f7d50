# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of a result: accuracy, pretraining, reconstructions, first-layer weights.

matplotlib is imported when the first figure is made, and pyplot never: figures need no display,
leave no global state, and are freed with their last reference.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sae_fast.errors import DataError
from sae_fast.results import ArmResult, ExperimentResult, LayerResult, Reconstructions, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
MAX_IMAGES = 10
MAX_UNITS = 100

#: Colour and marker of each arm: the article's blue and red in tones of Okabe and Ito's palette,
#: which colour-blind readers can tell apart.
ARM_STYLES = {
    "pretrained": ("#0072B2", "o"),
    "normal": ("#D55E00", "s"),
    "he": ("#009E73", "^"),
}
OTHER_STYLE = ("#CC79A7", "D")
INK = "#333333"
GRID = "#dddddd"
GAP = "#b0b0b0"
DEAD = "#b00020"


def plot_accuracy(result: ExperimentResult, ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of every arm against the steps of fine-tuning.

    The axis is logarithmic in the error (100 % minus accuracy), so that one picture shows both a
    collapsed arm at 11 % and a lead of half a point at 96 %. A large marker stands where an arm
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
    """
    if ax is None:
        ax = _figure(8, 5).subplots()
    for name, arm in result.arms.items():
        _draw_arm(ax, name, arm, result.hidden)
    best = max((max(arm.test_accuracy, default=0) for arm in result.arms.values()), default=0)
    ticks = [0, 50, 80, 90, 95, 96, 97, 98, 99, 99.5, 99.9]
    top = next((tick for tick in ticks[6:] if tick > 100 * best), 99.99)
    ax.set_yscale("function", functions=(_error_scale, _error_scale_inverse))
    ax.set_ylim(0, top)
    ticks = [tick for tick in ticks if tick <= top]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.axhline(90, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    ax.set_xlim(left=0)
    ax.set_xlabel("step")
    ax.set_ylabel("test accuracy, % (error on a log scale)")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    _quiet(ax)
    if result.arms:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, frameon=False)
    return ax


def plot_pretraining(result: ExperimentResult) -> Figure:
    """Draw the loss of each autoencoder against its steps, a panel per layer.

    Parameters
    ----------
    result : ExperimentResult

    Returns
    -------
    Figure
    """
    layers = result.pretraining
    n_columns = min(3, max(1, len(layers)))
    n_rows = max(1, math.ceil(len(layers) / n_columns))
    figure = _figure(3.2 * n_columns + (2 if len(layers) == 1 else 0), 2.6 * n_rows + 0.4)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, layer in zip(panels, layers, strict=False):
        _draw_layer(ax, layer)
    for ax in panels[len(layers) :]:
        ax.set_axis_off()
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("loss, summed over the training set", fontsize=10)
    return figure


def plot_reconstructions(reconstructions: Reconstructions) -> Figure:
    """Draw a few samples above what each method makes of them.

    Parameters
    ----------
    reconstructions : Reconstructions
        The first `MAX_IMAGES` samples are drawn: as images, or as curves if `image_shape` is None.

    Returns
    -------
    Figure
    """
    originals = reconstructions.originals[:MAX_IMAGES]
    rows = [("original", originals)]
    for label, images, mse in reconstructions.rows:
        rows.append((f"{label}\nMSE {mse:.4g}", images[:MAX_IMAGES]))
    if reconstructions.image_shape is None:
        return _reconstructed_curves(rows)
    height, width = _checked_shape(reconstructions.image_shape, originals.shape[1])
    tiles = np.concatenate([images for _, images in rows])
    sheet = _tile(tiles.reshape(-1, height, width), len(originals))
    inches = max(0.82 / max(height, width), 0.45 / height)  # per pixel; room for two lines
    figure = _figure(1.4 + inches * sheet.shape[1], 0.2 + inches * sheet.shape[0], images=True)
    ax = figure.subplots()
    _show(ax, sheet, "gray_r", float(originals.min()), float(originals.max()), gap="white")
    centres = [(height + _gap(height)) * (row + 0.5) - 0.5 for row in range(len(rows))]
    ax.set_yticks(centres, [label for label, _ in rows], fontsize=10)
    return figure


def plot_weights(
    w: NDArray[np.floating[Any]], image_shape: tuple[int, int] | None, ax: Axes | None = None
) -> Axes:
    """Draw the weights of first-layer units as images, on a scale symmetric around zero.

    Parameters
    ----------
    w : ndarray, shape (n_features, n_hidden)
        The first `MAX_UNITS` units are drawn.
    image_shape : (height, width) or None
        If None, each unit is a row of a heat map.
    ax : Axes, optional
        Where to draw; by default a figure of its own.

    Returns
    -------
    Axes
    """
    if ax is None:
        ax = _figure(5.5, 5.5).subplots()
    return _draw_weights(ax, w, image_shape, _weight_limit([w]))


def plot_first_weights(result: ExperimentResult) -> Figure:
    """Draw the first-layer weights of every arm side by side, on one common scale.

    Parameters
    ----------
    result : ExperimentResult

    Returns
    -------
    Figure
    """
    weights = result.first_weights
    n_columns = max(1, len(weights))
    figure = _figure(4.2 * n_columns + 1, 4.7, images=True)
    panels = figure.subplots(1, n_columns, squeeze=False)[0]
    limit = _weight_limit(list(weights.values()))
    for ax, (name, w) in zip(panels, weights.items(), strict=False):
        _draw_weights(ax, w, _image_shape(result, w.shape[0]), limit)
        ax.set_title(" ".join([name, ax.get_title()]).strip(), fontsize=13, color=INK)
    if weights:
        bar = figure.colorbar(panels[-1].images[0], ax=panels, shrink=0.6, aspect=30, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("weight", fontsize=12)
        bar.ax.tick_params(labelsize=11)
    return figure


def save_pictures(result: ExperimentResult, folder: Path) -> dict[str, Path]:
    """Write every picture that a result has something to show in.

    Parameters
    ----------
    result : ExperimentResult
    folder : Path
        An existing folder.

    Returns
    -------
    dict of str to Path
        The PNG files by name: "accuracy", "reconstructions", "pretraining", "weights".

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    figures: dict[str, Figure] = {}
    if result.arms:
        figures["accuracy"] = _figure(8, 5)
        plot_accuracy(result, figures["accuracy"].subplots())
    if result.reconstructions:
        figures["reconstructions"] = plot_reconstructions(result.reconstructions)
    if result.pretraining:
        figures["pretraining"] = plot_pretraining(result)
    if result.first_weights:
        figures["weights"] = plot_first_weights(result)
    files = {name: folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        figure.savefig(files[name], bbox_inches="tight")
    return files


def _figure(width: float, height: float, images: bool = False) -> Figure:
    """Make an empty figure, sizes in inches, laid out for curves or for images."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install '.[plot]'") from error
    figure = Figure((width, height), dpi=DPI, facecolor="white")
    figure.set_layout_engine("compressed" if images else "constrained", h_pad=0.08, w_pad=0.08)
    return figure


def _quiet(ax: Axes) -> None:
    """Take away what carries no information."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRID)
    ax.grid(color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(color=GRID, labelcolor=INK, labelsize=9)


def _error_scale(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map an accuracy in percent to the decades that the error has fallen by."""
    return -np.log10(1 - np.clip(accuracy, 0, 99.99) / 100)


def _error_scale_inverse(decades: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100 * (1 - 10.0 ** -np.asarray(decades))


def _draw_arm(ax: Axes, name: str, arm: ArmResult, hidden: list[int]) -> None:
    """Draw the curve of an arm, and say in the legend how it ended."""
    color, marker = ARM_STYLES.get(name, OTHER_STYLE)
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
        markeredgecolor="white",
        linewidth=1.3,
        label=label,
        clip_on=False,
        zorder=3,
    )


def _draw_layer(ax: Axes, layer: LayerResult) -> None:
    """Draw the loss of one autoencoder."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    color, _ = ARM_STYLES["pretrained"]
    ax.plot(layer.steps, layer.loss, color=color, marker="o", markevery=[-1], linewidth=1.5)
    ax.set_title(
        f"{layer.layer}: {layer.n_in} → {layer.n_hidden}", loc="left", fontsize=10, color=INK
    )
    ax.set_title(
        f"{layer.dead_units} of {layer.n_hidden} dead",
        loc="right",
        fontsize=9,
        color=DEAD if layer.dead_units else INK,
    )
    ax.margins(y=0.1)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set_major_formatter(EngFormatter())
    _quiet(ax)


def _reconstructed_curves(rows: list[tuple[str, NDArray[np.float32]]]) -> Figure:
    """Draw samples that are no images: a panel per sample, a curve per method."""
    n_samples = len(rows[0][1])
    n_columns = min(5, n_samples)
    n_rows = math.ceil(n_samples / n_columns)
    figure = _figure(2 * n_columns + 1, 1.6 * n_rows + 0.8)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    colors = [GRID, *(color for color, _ in (*ARM_STYLES.values(), OTHER_STYLE))]
    for sample, ax in enumerate(panels):
        if sample >= n_samples:
            ax.set_axis_off()
            continue
        for index, (label, values) in enumerate(rows):
            color = colors[min(index, len(colors) - 1)]
            width = 1.2 if index else 4
            ax.plot(values[sample], color=color, linewidth=width, label=label.replace("\n", ", "))
        _quiet(ax)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.supxlabel("feature", fontsize=10)
    return figure


def _image_shape(result: ExperimentResult, n_features: int) -> tuple[int, int] | None:
    """Say how features make up an image: as the reconstructions do, else a square if they can."""
    if result.reconstructions:
        return result.reconstructions.image_shape
    side = math.isqrt(n_features)
    return (side, side) if side * side == n_features else None


def _checked_shape(image_shape: tuple[int, int], n_features: int) -> tuple[int, int]:
    if image_shape[0] * image_shape[1] != n_features:
        raise DataError(f"image_shape: {image_shape} does not make up {n_features} features")
    return image_shape


def _weight_limit(weights: list[NDArray[np.floating[Any]]]) -> float:
    """Find the end of the colour scale: beyond it lie 0.5 % of the weights that are drawn."""
    limits = (np.quantile(np.abs(w[:, :MAX_UNITS]), 0.995) for w in weights)
    return max((float(limit) for limit in limits), default=0.0) or 1.0


def _draw_weights(
    ax: Axes, w: NDArray[np.floating[Any]], image_shape: tuple[int, int] | None, limit: float
) -> Axes:
    n_features, n_units = w.shape
    n_drawn = min(n_units, MAX_UNITS)
    units = w[:, :n_drawn].T
    if image_shape is None:
        _show(ax, units, "RdBu_r", -limit, limit, gap=GAP)
        ax.set_aspect("auto")
        ax.set_xlabel("feature")
        ax.set_ylabel("unit")
    else:
        height, width = _checked_shape(image_shape, n_features)
        sheet = _tile(units.reshape(-1, height, width), math.ceil(math.sqrt(n_drawn)))
        _show(ax, sheet, "RdBu_r", -limit, limit, gap=GAP)
    if n_drawn < n_units:
        ax.set_title(f"(first {n_drawn} of {n_units:,} units)", fontsize=10, color=INK)
    return ax


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
    ndarray, shape (n_rows * (height + gap), n_columns * (width + gap))
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
    ax.tick_params(length=0, labelcolor=INK)
    ax.spines[:].set_visible(False)
