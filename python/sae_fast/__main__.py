# SPDX-License-Identifier: BSD-3-Clause
"""The process of the command line: `sae-fast`, or `python -m sae_fast`.

Ctrl-C and SIGTERM end it alike: training stops between two steps, a checkpoint is written where one
was asked for, and nothing is printed but a line.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any, NoReturn


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM came."""


def _terminate(*_: object) -> NoReturn:
    raise _TerminatedError


def _come_again(unraisable: Any) -> None:
    """Let a signal come again that came where Python drops exceptions, such as in `__del__`."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        terminated = isinstance(unraisable.exc_value, _TerminatedError)
        signum = signal.SIGTERM if terminated else signal.SIGINT
        again: Any = signal.raise_signal, [signum]
        if hasattr(signal, "pthread_kill"):  # ends what the main thread waits for, too
            again = signal.pthread_kill, [threading.main_thread().ident, signum]
        threading.Timer(0.01, *again).start()
    else:
        sys.__unraisablehook__(unraisable)


def _ignore_more() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        sys.unraisablehook = _come_again
        from .cli import main  # the imports take longer than all that is above

        status = main()
        _ignore_more()
        return status
    except _TerminatedError:
        _ignore_more()
        print("sae-fast: terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        _ignore_more()
        print("sae-fast: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
