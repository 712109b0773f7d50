# SPDX-License-Identifier: BSD-3-Clause
"""The pictures of a run, as files: `sae_fast.plot` applied to whatever a result has to show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from .. import plot
from .results import ExperimentResult, LayerResult, Reconstructions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        The PNG files by name, in the order of the report: "accuracy", "confusion", "dead_units",
        "codes", "reconstructions", "pretraining", "weights".

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    figures: dict[str, Figure] = {}
    if result.arms:
        figures["accuracy"] = _figure_of(plot.plot_accuracy(result))
    if result.predictions:
        figures["confusion"] = draw_confusion(result)
    if result.arms:
        dead_units = {name: arm.dead_units for name, arm in result.arms.items()}
        figures["dead_units"] = _figure_of(plot.plot_dead_units(dead_units, result.hidden))
    if result.codes:
        figures["codes"] = draw_codes(result)
    if result.reconstructions:
        figures["reconstructions"] = draw_reconstructions(result.reconstructions)
    if result.pretraining:
        figures["pretraining"] = draw_pretraining(result)
    if result.first_weights:
        figures["weights"] = draw_first_weights(result)
    files = {name: folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        figure.savefig(files[name], bbox_inches="tight")
    return files


def draw_confusion(result: ExperimentResult) -> Figure:
    """Draw the confusion matrix of every arm on the test set."""
    n_columns = min(2, len(result.predictions))
    n_rows = math.ceil(len(result.predictions) / n_columns)
    figure = plot.new_figure(5.2 * n_columns, 4.9 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    classes = np.unique([result.y_test, *result.predictions.values()])
    for ax, (arm, y_pred) in zip(panels, result.predictions.items(), strict=False):
        plot.plot_confusion_matrix(result.y_test, y_pred, labels=classes.tolist(), ax=ax)
        ax.set_title(f"{arm}: {ax.get_title()}", fontsize=11)
    for ax in panels[len(result.predictions) :]:
        ax.set_axis_off()
    return figure


def draw_codes(result: ExperimentResult) -> Figure:
    """Draw the codes of test samples, a panel for each network that made them."""
    figure = plot.new_figure(4.8 * len(result.codes) + 0.8, 4.6)
    panels = figure.subplots(1, len(result.codes), squeeze=False)[0]
    for ax, (title, codes) in zip(panels, result.codes.items(), strict=True):
        plot.plot_codes(
            codes, None if result.y_test is None else result.y_test[: len(codes)], ax=ax
        )
        ax.set_title(title, fontsize=11)
    for ax in panels[:-1]:
        if legend := ax.get_legend():
            legend.remove()
    return figure


def draw_pretraining(result: ExperimentResult) -> Figure:
    """Draw the loss of each autoencoder against its steps, a panel per layer."""
    layers = result.pretraining
    n_columns = min(3, max(1, len(layers)))
    n_rows = max(1, math.ceil(len(layers) / n_columns))
    figure = plot.new_figure(3.2 * n_columns + (2 if len(layers) == 1 else 0), 2.6 * n_rows + 0.4)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, layer in zip(panels, layers, strict=False):
        _draw_layer(ax, layer)
    for ax in panels[len(layers) :]:
        ax.set_axis_off()
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("loss, summed over the training set", fontsize=10)
    return figure


def draw_reconstructions(reconstructions: Reconstructions) -> Figure:
    """Draw a few samples above what each method makes of them, with its error."""
    images = {f"{name}\nMSE {mse:.4g}": x for name, x, mse in reconstructions.rows}
    originals, shape = reconstructions.originals, reconstructions.image_shape
    return _figure_of(plot.plot_reconstructions(originals, images, shape))


def draw_first_weights(result: ExperimentResult) -> Figure:
    """Draw the first-layer weights of every arm side by side, on one common scale."""
    weights = result.first_weights
    figure = plot.new_figure(4.2 * len(weights) + 1, 4.7, images=True)
    panels = figure.subplots(1, len(weights), squeeze=False)[0]
    limit = plot.weight_limit(list(weights.values()))
    for ax, (name, w) in zip(panels, weights.items(), strict=True):
        plot.plot_weights(w, _image_shape(result, w.shape[0]), ax, limit=limit)
        ax.set_title(" ".join([name, ax.get_title()]).strip(), fontsize=13)
    bar = figure.colorbar(panels[-1].images[0], ax=panels, shrink=0.6, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("weight", fontsize=12)
    bar.ax.tick_params(labelsize=11)
    return figure


def _figure_of(ax: Axes) -> Figure:
    return cast("Figure", ax.figure)


def _draw_layer(ax: Axes, layer: LayerResult) -> None:
    """Draw the loss of one autoencoder."""
    color, marker = plot.ARM_STYLES["pretrained"]
    ax.plot(layer.steps, layer.loss, color=color, marker=marker, markevery=[-1], linewidth=1.5)
    ax.set_title(f"{layer.layer}: {layer.n_in} → {layer.n_hidden}", loc="left", fontsize=10)
    ax.set_title(f"{layer.dead_units} of {layer.n_hidden} dead", loc="right", fontsize=9)
    plot.loss_axis(ax, log=False)
    plot.step_axis(ax)
    ax.set_xlabel("")
    ax.locator_params(axis="x", nbins=4, integer=True, steps=[1, 2, 5, 10])


def _image_shape(result: ExperimentResult, n_features: int) -> tuple[int, int] | None:
    """Say how features make up an image: as the reconstructions do, else a square if they can."""
    if result.reconstructions:
        return result.reconstructions.image_shape
    side = math.isqrt(n_features)
    return (side, side) if side * side == n_features else None
