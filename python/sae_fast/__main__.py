# SPDX-License-Identifier: BSD-3-Clause
"""The process of the command line: `sae-fast`, or `python -m sae_fast`.

Ctrl-C and SIGTERM end it alike: training stops between two steps, a checkpoint is written where one
was asked for, and nothing is printed but a line.
"""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM came."""


def _terminate(*_: object) -> NoReturn:
    raise _TerminatedError


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        from .cli import main  # the imports take longer than all that is above

        return main()
    except _TerminatedError:
        print("sae-fast: terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("sae-fast: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
