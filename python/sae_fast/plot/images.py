# SPDX-License-Identifier: BSD-3-Clause
"""Samples, reconstructions and weights, drawn as images; as curves or rows where they are none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .axes import (
    MAX_NAME,
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

MAX_IMAGES = 10
MAX_UNITS = 100
GAP = "#b0b0b0"


@in_own_settings
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
    ax : Axes, default a figure of its own

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
    originals = check_samples("x", x)[:MAX_IMAGES] * np.float32(1 if scale is None else scale)
    if not isinstance(reconstructions, Mapping):
        reconstructions = {"reconstruction": reconstructions}
    rows = {"original": originals}
    for name, images in ((str(key), images) for key, images in reconstructions.items()):
        rows[name] = check_samples("reconstructions", images)[:MAX_IMAGES]
        if rows[name].shape != originals.shape:
            raise DataError(
                f"reconstructions: expected the shape of x, {np.shape(x)}, got {np.shape(images)} "
                f"for {name!r}"
            )
    if image_shape is None:
        return _draw_curves(rows, ax)
    height, width = image_shape
    sheet = _tile(np.concatenate(list(rows.values())), image_shape, len(originals))
    inches = max(0.82 / max(height, width), 0.45 / height)  # per pixel; room for two lines
    ax = axes(ax, 1.4 + inches * sheet.shape[1], 0.2 + inches * sheet.shape[0], images=True)
    _show(ax, sheet, "gray_r", float(originals.min()), float(originals.max()), gap="white")
    centres = [(height + _gap(height)) * (row + 0.5) - 0.5 for row in range(len(rows))]
    beside = [[label_of(line, 2 * MAX_NAME) for line in name.split("\n")] for name in rows]
    ax.set_yticks(centres, ["\n".join(lines) for lines in beside], fontsize=10)
    return ax


@in_own_settings
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
    ax : Axes, default a figure of its own
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
    w = check_samples("w", w)
    n_units = w.shape[1]
    n_drawn = min(n_units, MAX_UNITS)
    units = w[:, :n_drawn].T
    if limit is None:
        limit = weight_limit([w])
    if image_shape is not None:
        units = _tile(units, image_shape, math.ceil(math.sqrt(n_drawn)))
    ax = axes(ax, 5.5, 5.5)
    _show(ax, units, "RdBu_r", -limit, limit, gap=GAP)
    if image_shape is None:
        ax.set(aspect="auto", xlabel="feature", ylabel="unit")
    if n_drawn < n_units:
        ax.set_title(f"(first {n_drawn} of {n_units:,} units)", fontsize=10)
    return ax


def weight_limit(weights: Sequence[NDArray[Any]]) -> float:
    """Find the end of the colour scale: beyond it lie 0.5 % of the weights that are drawn."""
    limits = (np.quantile(np.abs(w[:, :MAX_UNITS]), 0.995) for w in weights)
    return max((float(limit) for limit in limits), default=0.0) or 1.0


def _draw_curves(rows: Mapping[str, NDArray[Any]], ax: Axes | None) -> Axes:
    """Draw samples that are no images one below another, each with a curve per method."""
    originals = rows["original"]
    n_samples = len(originals)
    ax = axes(ax, 8, 1.2 + 0.6 * n_samples)
    low, high = float(originals.min()), float(originals.max())
    height = 1.1 * (high - low) or 1.0
    bottoms = -np.arange(n_samples)
    for index, (name, samples) in enumerate(rows.items()):
        color = style(index - 1)[0] if index else NEUTRAL
        lines = ax.plot(
            ((samples - low) / height + bottoms[:, None]).T,
            color=color,
            linewidth=1.4 if index else 4,
            linestyle=("-", "--", "-.", ":")[index % 4] if index > 1 else "-",
            alpha=1 if index else 0.5,
            marker="o" if samples.shape[1] == 1 else None,
        )
        lines[0].set_label(label_of(name.replace("\n", ", ")))
    quiet(ax)
    ax.set_yticks(bottoms, [str(sample) for sample in range(1, n_samples + 1)])
    ax.set(xlabel="feature", ylabel="sample")
    legend_above(ax)
    return ax


def _gap(height: int) -> int:
    """Space between tiles, in pixels of the images."""
    return max(1, height // 14)


def _tile(x: NDArray[Any], image_shape: tuple[int, int], n_columns: int) -> NDArray[Any]:
    """Lay images (n_images, n_features) out row by row on one sheet, NaN between them."""
    if math.prod(image_shape) != x.shape[1]:
        raise DataError(f"image_shape: {image_shape} does not make up {x.shape[1]} features")
    height, width = image_shape
    gap, n_rows = _gap(height), math.ceil(len(x) / n_columns)
    tiles = np.full(
        (n_rows * n_columns, height + gap, width + gap), np.nan, np.result_type(x, np.float32)
    )
    tiles[: len(x), :height, :width] = x.reshape(-1, height, width)
    rows = tiles.reshape(n_rows, n_columns, height + gap, width + gap).swapaxes(1, 2)
    sheet: NDArray[Any] = rows.reshape(n_rows * (height + gap), -1)
    return sheet[:-gap, :-gap]


def _show(ax: Axes, sheet: NDArray[Any], cmap: str, low: float, high: float, gap: str) -> None:
    """Draw a sheet without frame or ticks, what is NaN in the colour `gap`."""
    image = ax.imshow(sheet, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    image.set_cmap(image.get_cmap().with_extremes(bad=gap))
    ax.set(xticks=[], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
