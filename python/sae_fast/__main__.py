# SPDX-License-Identifier: BSD-3-Clause
"""The process of the command line: `sae-fast`, or `python -m sae_fast`.

Ctrl-C and SIGTERM end it alike: training stops between two steps, a checkpoint is written where one
was asked for, and nothing is printed but a line. What cannot be printed ends nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any, NoReturn


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM came."""


def _interrupt(*_: object) -> NoReturn:
    _handle(lambda *_: None)  # the first is enough, and must not be disturbed as it cleans up
    raise KeyboardInterrupt


def _terminate(*_: object) -> NoReturn:
    _handle(lambda *_: None)
    raise _TerminatedError


def _handle(interrupt: Any, terminate: Any = None) -> None:
    """Set what SIGINT calls, unless whoever started the process had it ignored, and SIGTERM."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, terminate or interrupt)


def _come_again(unraisable: Any) -> None:
    """Let a signal come again that came where Python drops exceptions, such as in `__del__`."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        _handle(_interrupt, _terminate)
        terminated = isinstance(unraisable.exc_value, _TerminatedError)
        signum = signal.SIGTERM if terminated else signal.SIGINT
        again: Any = signal.raise_signal, [signum]
        if hasattr(signal, "pthread_kill"):  # ends what the main thread waits for, too
            again = signal.pthread_kill, [threading.main_thread().ident, signum]
        threading.Timer(0.01, *again).start()
    else:
        sys.__unraisablehook__(unraisable)


def _flushed(status: int) -> int:
    """Write what is left for stdout; return the status that then is right.

    Nothing is owed to a reader who has left.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # or Python tries again as it ends, and makes the status one of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            if status == 0:  # else there is a line already
                reason = error.strerror or error
                print(f"sae-fast: standard output cannot be written to: {reason}", file=sys.stderr)
            return status or 1
    return status


def main() -> int:
    """Run the command line and return its exit status."""
    word, signum = "interrupted", signal.SIGINT
    try:
        _handle(_interrupt, _terminate)
        sys.unraisablehook = _come_again
        from .base.progress import UnfailingStream

        sys.stderr = UnfailingStream(sys.stderr)
        sys.stdout = sys.stdout or UnfailingStream(None)
        from .cli import main  # the imports take longer than all that is above

        try:
            status = main()
        except SystemExit as stop:  # argparse's way out
            status = int(stop.code or 0)
        status = _flushed(status)
        _handle(signal.SIG_IGN)
        return status
    except KeyboardInterrupt as error:
        _handle(signal.SIG_IGN)
        if isinstance(error, _TerminatedError):
            word, signum = "terminated", signal.SIGTERM
        print("; ".join([f"sae-fast: {word}", *error.args]), file=sys.stderr)
        return 128 + signum


if __name__ == "__main__":
    sys.exit(main())
