# SPDX-License-Identifier: BSD-3-Clause
"""What all pictures share: figures, axes, colours and markers, and samples that can be drawn."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_array
from ..errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_P = ParamSpec("_P")

DPI = 150
MAX_NAME = 24  # characters

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


def has_matplotlib() -> bool:
    """Say whether matplotlib is installed, without loading it."""
    return importlib.util.find_spec("matplotlib") is not None


def load_matplotlib() -> Any:
    """Import what draws, whatever MPLBACKEND says: pictures need none of the backends it names."""
    loaded = "matplotlib" in sys.modules
    backend = None if loaded else os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib.figure

        if backend:
            with contextlib.suppress(ValueError):
                matplotlib.rcParams["backend"] = backend
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'sae-fast[plot]'") from error
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    from . import figures

    return figures


def in_own_settings(draw: Callable[_P, Axes]) -> Callable[_P, Axes]:
    """Let a function draw whatever the user's settings are."""

    @functools.wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> Axes:
        figures, pyplot = load_matplotlib(), sys.modules.get("matplotlib.pyplot")
        if pyplot is not None and not figures.in_file():
            with contextlib.suppress(ImportError):
                pyplot.draw_if_interactive()  # loads its backend, which may change settings to stay
        with figures.settings():
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float, images: bool = False) -> Figure:
    """Make an empty figure, sizes in inches, laid out for curves or for images.

    It is one of pyplot's if the user has imported that, except in files.
    """
    figures, pyplot = load_matplotlib(), sys.modules.get("matplotlib.pyplot")
    make: Any = figures.Picture
    if pyplot is not None and not figures.in_file():
        make = functools.partial(pyplot.figure, FigureClass=figures.Picture)
    figure: Figure = make(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("compressed" if images else "constrained", h_pad=0.08, w_pad=0.08)
    return figure


def axes(ax: Axes | None, width: float, height: float, images: bool = False) -> Axes:
    """Return the Axes given, or those of a new figure."""
    if ax is not None:
        return ax
    shown: dict[str, Any] = {"axes_class": load_matplotlib().PictureAxes}
    return new_figure(width, height, images).subplots(subplot_kw=shown)


def style(index: int, name: str = "") -> tuple[str, str]:
    """Give the colour and marker of one of several curves or groups, or of an arm by name.

    Where colours come again, it is with other markers.
    """
    again = index // len(PALETTE)
    own = PALETTE[index % len(PALETTE)], MARKERS[(index + again) % len(MARKERS)]
    return ARM_STYLES.get(name, own)


def label_of(name: object, most: int = MAX_NAME) -> str:
    """Write a name so that it finds room; a legend leaves out what begins with an underscore."""
    text = str(name)
    text = text if len(text) <= most else text[: most - 1] + "…"
    return f" {text}" if text.startswith("_") else text


def quiet(ax: Axes) -> None:
    """Take away what carries no information."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_alpha(0.3)
    ax.grid(visible=True, color=NEUTRAL, alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", length=0, labelsize=9)


def legend_above(ax: Axes) -> None:
    """Name what is drawn, above the picture, in as many columns as have room."""
    handles, labels = ax.get_legend_handles_labels()
    n_columns = max(1, min(len(labels), 80 // (6 + max(map(len, labels), default=0))))
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": n_columns}
    ax.legend(handles, labels, fontsize=9, frameon=False, **above)


def step_axis(ax: Axes) -> None:
    """Scale the width for steps, from none to the last."""
    ax.set_xlim(0, ax.dataLim.x1 if ax.dataLim.x1 > 0 else None)
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("step")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    quiet(ax)


def loss_axis(ax: Axes, log: bool) -> None:
    """Scale the height for losses, from zero or logarithmic, with few and plain numbers."""
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

    thousands = EngFormatter()

    if log:
        ax.margins(y=0.1)
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        locator: Any = MaxNLocator(5)
        if high > 1000 * low:
            locator = LogLocator()
        elif high > 6.25 * low:  # so that two of 1, 2, 5, 10, ... are between them
            locator = LogLocator(subs=(1, 2, 5))
        ax.yaxis.set_major_locator(locator)
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        highest = float(ax.dataLim.y1)  # -inf where nothing is drawn
        ax.set_ylim(0, 1.1 * highest if highest > 0 else 1)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(
        lambda loss, _: thousands(loss) if 1e3 <= abs(loss) < 1e15 else f"{loss:.6g}"
    )


def accuracy_axis(ax: Axes, accuracies: Sequence[Sequence[float]]) -> None:
    """Scale the height in per cent by the decades that the error has fallen."""
    best = 100 * max(chain.from_iterable(accuracies), default=0)
    ticks = [0, 50, 80, 90, 95, 98, 99, 99.5, 99.9]
    top = next((tick for tick in ticks[4:] if tick > best), 99.99)
    ax.set_yscale("function", functions=(_decades, _accuracy))
    ax.set_ylim(0, top)
    ticks = [tick for tick in ticks if tick <= top]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.axhline(90, color=NEUTRAL, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)


def _decades(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map an accuracy in percent to the decades that the error has fallen by."""
    return -np.log10(1 - np.clip(accuracy, 0, 99.99) / 100)


def _accuracy(decades: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100 * (1 - 10.0 ** -np.asarray(decades))


def check_samples(name: str, value: Any, n_dimensions: int = 2) -> NDArray[Any]:
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
