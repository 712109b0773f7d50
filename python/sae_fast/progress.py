# SPDX-License-Identifier: BSD-3-Clause
"""Progress bars: one per phase, with the phase's current loss or accuracy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, TypeAlias


class Progress:
    """A bar on stderr that counts steps, or nothing at all if it is not wanted.

    Parameters
    ----------
    title : str
    n_steps : int
    shown : bool
    cancelled : threading.Event, optional
        Once it is set, the next `advance` raises CancelledError: what ends a training on a thread
        that Ctrl-C does not reach.
    """

    def __init__(
        self,
        title: str,
        n_steps: int,
        *,
        shown: bool,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._cancelled = cancelled
        self._bar: Any = None
        if shown:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=n_steps, desc=title, unit="step", mininterval=0.1)

    def advance(self, n_steps: int) -> None:
        """Count `n_steps` more steps."""
        if self._cancelled is not None and self._cancelled.is_set():
            raise CancelledError
        if self._bar is not None:
            self._bar.update(n_steps)

    def show(self, figure: str) -> None:
        """Show a figure, such as ``"accuracy 96.4 %"``, behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(figure, refresh=False)

    def __enter__(self) -> Progress:
        """Show the bar until the block ends."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


#: What a training is told about its bar: shown or not, or how one is made of title and steps.
ProgressOption: TypeAlias = bool | Callable[[str, int], Progress]


def start_progress(option: ProgressOption, title: str, n_steps: int) -> Progress:
    """Make the bar of one phase."""
    return option(title, n_steps) if callable(option) else Progress(title, n_steps, shown=option)
