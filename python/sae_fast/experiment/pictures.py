# SPDX-License-Identifier: BSD-3-Clause
"""The pictures of a run: what each is called and says, and how `sae_fast.plot` draws it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from .. import plot
from ..base.files import write_file
from ..plot.axes import ARM_STYLES, load_matplotlib, loss_axis, new_figure, step_axis
from ..plot.images import weight_limit
from .results import Findings, LayerResult, Reconstructions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_pictures(
    result: Any,
    folder: Path,
    pictures: Mapping[str, Picture] | None = None,
    after_each: Callable[[], object] = lambda: None,
) -> dict[str, Path]:
    """Write every picture that a result has something to show in; return the PNG files by name.

    ImportError if matplotlib is not installed. A picture that cannot be drawn is a warning.
    """
    files: dict[str, Path] = {}
    failures: dict[str, list[str]] = {}  # names by what is wrong
    with load_matplotlib().settings(for_file=True):
        for name, picture in (pictures or PICTURES).items():
            if getattr(result, picture.shows):
                drawn = BytesIO()
                try:
                    picture.draw(result).savefig(drawn, format="png", bbox_inches="tight")
                except (ImportError, OSError):
                    raise
                except Exception as error:  # of matplotlib and its settings
                    failures.setdefault(" ".join(str(error).split()), []).append(name)
                else:
                    files[name] = write_file(folder / f"{name}.png", drawn.getvalue())
            after_each()
    for reason, names in failures.items():
        warnings.warn(f"pictures: {', '.join(names)} not drawn: {reason}", stacklevel=2)
    return files


def draw_confusion(result: Findings) -> Figure:
    """Draw the confusion matrix of every arm on the test set."""
    figure, panels = _panels(len(result.predictions), 2, (5.2, 4.9))
    classes = np.unique([result.y_test, *result.predictions.values()])
    for ax, (arm, y_pred) in zip(panels, result.predictions.items(), strict=True):
        plot.plot_confusion_matrix(result.y_test, y_pred, labels=classes.tolist(), ax=ax)
        ax.set_title(f"{arm}: {ax.get_title()}", fontsize=11)
    return figure


def draw_codes(result: Findings) -> Figure:
    """Draw the codes of test samples, a panel for each network that made them."""
    figure, panels = _panels(len(result.codes), len(result.codes), (4.8, 4.6), (0.8, 0))
    for ax, (title, codes) in zip(panels, result.codes.items(), strict=True):
        y = None if result.y_test is None else result.y_test[: len(codes)]
        plot.plot_codes(codes, y, ax=ax)
        ax.set_title(title, fontsize=11)
    for ax in panels[:-1]:
        if legend := ax.get_legend():
            legend.remove()
    return figure


def draw_reconstructions(result: Findings) -> Figure:
    """Draw a few samples above what each method makes of them, with its error."""
    shown = cast(Reconstructions, result.reconstructions)
    images = {f"{name}\nMSE {mse:.4g}": x for name, x, mse in shown.rows}
    return _figure_of(plot.plot_reconstructions(shown.originals, images, shown.image_shape))


def draw_pretraining(result: Findings) -> Figure:
    """Draw the loss of each autoencoder against its steps, a panel per layer."""
    curves = [
        (f"{one.layer}: {one.n_in} → {n}", f"{one.dead_units} of {n} dead", one)
        if isinstance(one, LayerResult) and (n := one.n_hidden)
        else (f"all: {result.unrolled}", "", one)
        for one in result.restored
    ]
    figure, panels = _panels(len(curves), 3, (3.2, 2.6), (2 if len(curves) == 1 else 0, 0.4))
    color, marker = ARM_STYLES["pretrained"]
    for ax, (left, right, curve) in zip(panels, curves, strict=True):
        look = {
            "marker": marker,
            "markevery": [-1],
            "linewidth": 1.5,
            "clip_on": False,
            "zorder": 3,
        }
        ax.plot(curve.steps, curve.loss, color=color, **look)
        ax.set_title(left, loc="left", fontsize=10)
        ax.set_title(right, loc="right", fontsize=9)
        loss_axis(ax, log=False)
        step_axis(ax)
        ax.set_xlabel("")
        ax.locator_params(axis="x", nbins=4, integer=True, steps=[1, 2, 5, 10])
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("loss, summed over the training set", fontsize=10)
    return figure


def draw_weights(result: Findings) -> Figure:
    """Draw the first-layer weights of every arm side by side, on one common scale."""
    weights = result.first_weights
    figure, panels = _panels(len(weights), len(weights), (4.2, 4.7), (1, 0), images=True)
    limit = weight_limit(list(weights.values()))
    for ax, (name, w) in zip(panels, weights.items(), strict=True):
        plot.plot_weights(w, _image_shape(result, w.shape[0]), ax, limit=limit)
        ax.set_title(" ".join([name, ax.get_title()]).strip(), fontsize=13)
    bar = figure.colorbar(panels[-1].images[0], ax=panels, shrink=0.6, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("weight", fontsize=12)
    bar.ax.tick_params(labelsize=11)
    return figure


class Picture(NamedTuple):
    """A picture: how it is drawn, what of a result it shows, and its words in the report."""

    draw: Callable[[Any], Figure]
    shows: str
    title: str
    alternative: str  # to the picture
    caption: str


PICTURES = {
    "accuracy": Picture(
        lambda result: _figure_of(plot.plot_accuracy(result)),
        "arms",
        "Accuracy of each arm",
        "Test accuracy of every arm against the steps of fine-tuning.",
        "The height of a curve's right end is how well an arm ended, its steepness at the left how "
        "soon it learned; the marker on the dashed line is where it first reached 90 %. The "
        "axis is logarithmic in the error: each halving of the error is the same step upward. A "
        "collapsed arm ends below the dashed line.",
    ),
    "confusion": Picture(
        draw_confusion,
        "predictions",
        "Confusion of classes",
        "Confusion matrix of every arm on the test set.",
        "A row holds the test samples of one class, a column those that were taken for one. Blue, "
        "on the diagonal, are those taken right; red, all others, are mistakes; the stronger the "
        "colour, the larger their share of the row. A collapsed arm takes whole classes for "
        "others: columns that stay empty.",
    ),
    "dead_units": Picture(
        lambda result: _figure_of(plot.plot_dead_units(_dead_units(result), result.hidden)),
        "arms",
        "Dead units of each arm",
        "Share of dead units in every hidden layer of each arm after fine-tuning.",
        "The bars are in per cent of the layer, the numbers above them count units. A layer whose "
        "units are all dead lets nothing through.",
    ),
    "codes": Picture(
        draw_codes,
        "codes",
        "Codes in two dimensions",
        "Codes of test samples, projected on their two principal components.",
        "Each point is a test sample, placed by the code that the last hidden layer gives it: by "
        "the two principal components, along which codes differ most (each on a scale of its own, "
        "unless the second is next to nothing). The name of a class stands at its median, "
        "or above or below it. An autoencoder sees no classes: if they separate before "
        "fine-tuning, no labels were used for it.",
    ),
    "reconstructions": Picture(
        draw_reconstructions,
        "reconstructions",
        "Reconstructions",
        "A few samples and, below them, what each method makes of them.",
        "On top, training samples; below, what is left of them after compression by each method. "
        "MSE is the mean squared error per feature over the whole training set: "
        "smaller is closer.",
    ),
    "pretraining": Picture(
        draw_pretraining,
        "restored",
        "Loss of each autoencoder",
        "Loss of each autoencoder against its steps, one panel per layer.",
        "Each autoencoder restores what the layers below it hand up; its loss should fall and "
        "level off. Losses of different layers measure different things and cannot be compared. "
        "Dead units are the same on every training sample and carry nothing upward.",
    ),
    "weights": Picture(
        draw_weights,
        "first_weights",
        "First-layer weights",
        "Weights of the first layer's units on a colour scale around zero.",
        "Each tile is a unit: red pixels excite it, blue ones inhibit it. A unit that has learned "
        "shows strokes or blobs, one that has not shows noise, and a blank tile has weights close "
        "to zero, as dead units often do.",
    ),
}


def _panels(
    n: int,
    n_columns: int,
    size: tuple[float, float],
    more: tuple[float, float] = (0, 0),
    images: bool = False,
) -> tuple[Figure, Any]:
    """Make a figure of `n` panels of this size in inches, and `more` of it for what they share."""
    n_columns = min(n_columns, n)
    n_rows = math.ceil(n / n_columns)
    (width, height), (more_width, more_height) = size, more
    figure = new_figure(width * n_columns + more_width, height * n_rows + more_height, images)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax in panels[n:]:
        ax.set_axis_off()
    return figure, panels[:n]


def _figure_of(ax: Axes) -> Figure:
    return cast("Figure", ax.figure)


def _dead_units(result: Findings) -> dict[str, list[int]]:
    return {name: arm.dead_units for name, arm in result.arms.items()}


def _image_shape(result: Findings, n_features: int) -> tuple[int, int] | None:
    """Say how features make up an image: as the reconstructions do, else a square if they can."""
    if result.reconstructions:
        return result.reconstructions.image_shape
    side = math.isqrt(n_features)
    return (side, side) if side * side == n_features else None
