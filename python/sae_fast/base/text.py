# SPDX-License-Identifier: BSD-3-Clause
"""Numbers and tables as people read them, in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


def percent(accuracy: float) -> str:
    """Write an accuracy in [0, 1] as a percentage."""
    return f"{100 * accuracy:.2f} %"


def number(value: float) -> str:
    """Write a loss of any size legibly."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class Table(NamedTuple):
    """A table of a summary: rows by column, ready to print; the first column names the rows."""

    title: str
    rows: Sequence[dict[str, str]]

    def text(self) -> str:
        """Lay the table out in plain text, numbers flush right.

        Examples
        --------
        >>> rows = [{"arm": "he", "seconds": "9.5"}, {"arm": "normal", "seconds": "12.1"}]
        >>> print(Table("Fine-tuning", rows).text())
        Fine-tuning
          arm     seconds
          he          9.5
          normal     12.1
        """
        lines = [list(self.rows[0]), *(list(row.values()) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        layout = [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *("  " + line for line in layout)])
