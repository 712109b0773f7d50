# SPDX-License-Identifier: BSD-3-Clause
"""Prints the table of `docs/reliability.md` with the figures that are reached here.

`python -m reliability` runs every check at length, some hours on two cores; `--short` takes
minutes. It tries the installed package, and ends with status 1 if a target was missed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import sys
import time

import sae_fast

from .row import NotHereError, Row

#: The modules of the rows, in the table's order.
ROWS = (
    *("threads", "kill", "study", "faults", "bits", "fuzz", "interrupt"),
    *("fork", "serve", "imports", "memory", "isa", "browser"),
)


def main() -> int:
    """Run the checks named on the command line, all by default."""
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of {', '.join(ROWS)}")
    parser.add_argument("--short", action="store_true", help="fewer tries of each")
    options = parser.parse_args()
    for name in options.rows:
        if name not in ROWS:
            parser.error(f"ROW: expected any of {', '.join(ROWS)}, got {name!r}")

    facts = sae_fast.info()
    print(
        f"sae_fast {facts['version']}, {facts['isa']}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {datetime.date.today()}, "
        f"{'short' if options.short else 'long'} form\n"
    )
    print("| row | test | target | reached | seconds |\n|---|---|---|---|---|")
    missed = []
    for name in options.rows or ROWS:
        row: Row = importlib.import_module(f"reliability.{name}").ROW
        started = time.monotonic()
        try:
            figure, reached = row.check(options.short)
        except NotHereError as error:
            figure, reached = f"not run: {error}", options.short
        except Exception as error:  # of a check; the others shall still be tried
            figure, reached = f"{type(error).__name__}: {error}".replace("\n", " "), False
        if not reached:
            missed.append(name)
            figure = f"**missed:** {figure}"
        seconds = time.monotonic() - started
        print(f"| {name} | {row.test} | {row.target} | {figure} | {seconds:.0f} |", flush=True)
    if missed:
        print(f"\nmissed: {', '.join(missed)}")
    return bool(missed)


sys.exit(main())
