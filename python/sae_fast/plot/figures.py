# SPDX-License-Identifier: BSD-3-Clause
"""A figure that draws with settings of its own and that notebooks show.

The only file that imports matplotlib as it is imported, which happens with the first figure.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from matplotlib import rcParams, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Whether what is drawn is a file's: then nothing comes from the user's settings.
_FOR_FILE = ContextVar("for_file", default=False)


@contextlib.contextmanager
def settings(for_file: bool = False) -> Iterator[None]:
    """Draw with matplotlib's defaults, all but the user's colours and fonts; no text is TeX.

    In files, which others read, the colours and fonts are the defaults too.
    """
    token = _FOR_FILE.set(for_file or _FOR_FILE.get())
    kept = (name for name in rcParams if name.startswith("font.") or "color" in name)
    users: Any = {} if _FOR_FILE.get() else {name: rcParams[name] for name in kept}
    try:
        with style.context(["default", users, {"text.parse_math": False}]):
            yield
    finally:
        _FOR_FILE.reset(token)


def in_file() -> bool:
    """Say whether what is drawn now is a file's."""
    return _FOR_FILE.get()


class _Shown:
    """What a notebook shows as the picture that it is, or is in."""

    figure: Any

    def _repr_png_(self) -> bytes | None:
        if self.figure.canvas.manager is not None:
            return None  # pyplot shows it
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi="figure", bbox_inches="tight")
        return file.getvalue()


class Picture(_Shown, Figure):
    """A figure that is drawn in these settings."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        FigureCanvasAgg(
            self
        )  # which keeps one renderer; without it each text's extent takes a new one

    def draw(self, renderer: Any) -> None:
        """Draw, and make the ticks that are still missing, in these settings."""
        with settings():
            super().draw(renderer)


class PictureAxes(_Shown, Axes):
    """Axes that show their figure, since functions return them."""
