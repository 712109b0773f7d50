# SPDX-License-Identifier: BSD-3-Clause
"""How far work is, shown on stderr by tqdm, and streams that never fail: no work waits for them.

A terminal and a notebook get a bar, a file gets a line now and then.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

_BAR_SECONDS, _FILE_SECONDS = 0.1, 10.0  # between two looks
_SO_FAR = "{desc}: {percentage:3.0f}%{postfix}"
_UNKNOWN = "{desc}: {n_fmt}"  # of how much


class UnfailingStream:
    """A text stream that falls silent when it is full, closed or broken, or is None."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: D105
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Say whether somebody looks on."""
        return bool(self._call("isatty"))

    def write(self, text: str) -> int:
        """Write, or fall silent."""
        self._call("write", text)
        return len(text)

    def flush(self) -> None:
        """Flush, or fall silent."""
        self._call("flush")

    def _call(self, name: str, *arguments: object) -> Any:
        try:
            return getattr(self._stream, name)(*arguments)
        except (OSError, ValueError, AttributeError):  # closed is a ValueError, None has nothing
            self._stream = None
            return None


class Progress:
    """How much of `total` is done, where that is known, under a title; nothing unless `show`."""

    def __init__(self, title: str, total: int | None, *, done: int = 0, show: bool = True) -> None:
        self.done, self._total, self._note = done, total, ""
        self._bar: Any = None
        self._file = stream = UnfailingStream(sys.stderr)
        if not show or sys.stderr is None:
            return
        self._live = stream.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
        self._seconds = _BAR_SECONDS if self._live else _FILE_SECONDS
        self._due = time.monotonic() + self._seconds
        bar = _bar_class()(
            total=total,
            initial=done,
            desc=title,
            file=stream,
            bar_format=self._format("{remaining} left"),
            unit_scale=True,
            **_drawn(stream) if self._live else {"gui": True},  # which draws nothing by itself
        )
        if not bar.disable:  # by $TQDM_DISABLE
            self._bar = bar

    def _format(self, clock: str) -> str:
        if self._total is None:
            return _UNKNOWN
        return f"{_SO_FAR} |{{bar}}| {clock}" if self._live else f"{_SO_FAR}, {clock}"

    def advance(self, n: int) -> None:
        """Say that `n` more is done."""
        self.done += n
        if self._bar is None or self.done == self._total:  # `close` will show that
            return
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            self._show()

    def skip(self, n: int) -> None:
        """Say that `n` more was done before: it says nothing about the time that is left."""
        self.done += n
        if self._bar is not None:
            self._bar.initial += n

    def note(self, words: str) -> None:
        """Show these words beside the share that is done."""
        self._note = words

    def _show(self) -> None:
        bar = self._bar
        with bar.get_lock():  # tqdm itself would keep it where an exception comes
            bar.n = self.done
            bar.set_postfix_str(self._note, refresh=False)
            if self._live:
                bar.refresh(nolock=True)
            else:
                self._file.write(f"{bar}\n")
                self._file.flush()

    def close(self) -> None:
        """Leave it as it stands."""
        if self._bar is None:
            return
        self._bar.bar_format = self._format("{elapsed}")
        self._show()
        self._bar.close()
        self._bar = None

    def __enter__(self) -> Self:  # noqa: D105
        return self

    def __exit__(self, *_: object) -> None:  # noqa: D105
        self.close()


def _drawn(stream: UnfailingStream) -> dict[str, Any]:
    """Return how wide a bar is: as its terminal, of which some do not say how wide they are."""
    try:
        wide = os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):  # as in a notebook
        wide = True
    return {"dynamic_ncols": True} if wide else {"ncols": 80}


@functools.cache
def _bar_class() -> Any:
    """Return tqdm's bar for this surrounding, loaded when the first is shown."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        """A bar with a lock of its own: tqdm's is one with that of forked children."""

        _lock = threading.RLock()
        monitor_interval = 0  # a thread that draws bars again

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: Bar.set_lock(threading.RLock()))
    return Bar
