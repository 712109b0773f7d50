# SPDX-License-Identifier: BSD-3-Clause
"""Progress bars: one per phase, with the phase's current loss or accuracy."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class Progress:
    """A bar on stderr that counts steps, or nothing at all if it is not wanted.

    Parameters
    ----------
    title : str
    n_steps : int
    shown : bool
    """

    def __init__(self, title: str, n_steps: int, *, shown: bool) -> None:
        self._bar: Any = None
        if shown:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=n_steps, desc=title, unit="step", mininterval=0.1)

    def advance(self, n_steps: int) -> None:
        """Count `n_steps` more steps."""
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
