# SPDX-License-Identifier: BSD-3-Clause
"""Numbers and tables as people read them, in plain text and in HTML."""

from __future__ import annotations

import reprlib
import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

_WIDTH = 80  # columns of a text, for a terminal or a log
_MOST_SHOWN = 200  # characters of a value in an error
_REPR = reprlib.Repr()
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxset = 20
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = _MOST_SHOWN


def shown(value: object) -> str:
    """Write what a user passed in as Python would, but never more than a line of it.

    Examples
    --------
    >>> shown([1, "two"])
    "[1, 'two']"
    >>> len(shown(bytes(10**6))) < 300
    True
    """
    if isinstance(value, type) and value.__module__.partition(".")[0] == "sae_fast":
        return f"the class {value.__name__}, not an object of it, {value.__name__}(...)"
    if isinstance(value, (bytes, bytearray)) and len(value) > _MOST_SHOWN:
        return f"{len(value):,} bytes that begin with {bytes(value[:8])!r}"
    try:
        text = " ".join(_REPR.repr(value).split())
    except ValueError:  # an integer of more digits than Python writes
        text = f"{type(value).__name__} beyond writing"
    return cut(text, 2 * _MOST_SHOWN)


def cut(text: str, most: int) -> str:
    """Leave out what a text has beyond so many characters."""
    return text if len(text) <= most else text[:most] + "..."


def percent(accuracy: float) -> str:
    """Write an accuracy in [0, 1] as a percentage."""
    return f"{100 * accuracy:.2f} %"


def number(value: float) -> str:
    """Write a loss of any size legibly."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


class Table(NamedTuple):
    """A table of a summary: rows by column, ready to print; the first column names the rows."""

    title: str
    rows: Sequence[dict[str, str]]

    def text(self) -> str:
        """Lay the table out in plain text, numbers flush right.

        Where that is wider than a terminal, each name has a line of its own, above its numbers.

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
        first, *widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        apart = 2 + first + sum(2 + width for width in widths) > _WIDTH
        layout = []
        for name, *cells in lines:
            numbers = "  ".join(map(str.rjust, cells, widths))
            if apart:
                layout += [*wrapped(name).splitlines(), f"  {numbers}"]
            else:
                layout.append(f"{name.ljust(first)}  {numbers}".rstrip())
        return "\n".join([self.title, *("  " + line for line in layout)])

    def html(self) -> str:
        """Lay the table out in HTML."""
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.rows[0])
        rows = "\n".join(html_row(*row.values(), columns=row) for row in self.rows)
        return (
            f"<table>\n<caption>{escape(self.title)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
        )


def wrapped(text: str) -> str:
    """Break a text into lines of a terminal, the first of which stands out.

    Examples
    --------
    >>> print(wrapped("Who ends more accurate is open. " * 3))
    Who ends more accurate is open. Who ends more accurate is open. Who ends
      more accurate is open.
    """
    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(text, _WIDTH - 2, subsequent_indent="  ", **how)


def prose(text: str) -> str:
    """Escape a text for HTML, and keep every percent sign with its number."""
    return escape(text).replace(" %", "&nbsp;%")


def html_row(name: str, *cells: str, columns: Iterable[str] = ()) -> str:
    """Write a row of a table in HTML, its name first; each cell knows its column, if these do."""
    marks = [f' data-column="{escape(column)}"' for column in columns] or [""] * (1 + len(cells))
    texts = zip(marks, map(prose, (name, *cells)), strict=True)
    head, *others = (f"{mark}>{text}" for mark, text in texts)
    described = "".join(f"<td{other}</td>" for other in others)
    return f'<tr><th scope="row"{head}</th>{described}</tr>'


class Summary(str):
    """A text that a notebook shows as it prints, where it would show the `repr` of a plain one."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


class Described:
    """What says what it is: in a line for `repr`, with tables for `summary` and notebooks."""

    def _line(self) -> str:
        raise NotImplementedError

    def _tables(self) -> list[Table]:
        return []

    def _notes(self) -> list[str]:
        return []

    def __repr__(self) -> str:
        """Say what it is in a line; never the arrays."""
        return f"<{self._line()}>"

    def summary(self) -> str:
        """Sum up in plain text: a line, tables, notes.

        Returns
        -------
        str

        Examples
        --------
        >>> import sae_fast
        >>> print(sae_fast.History([10, 20], [90.0, 30.0], seconds=0.1).summary())
        History of 20 steps, loss 30, 0.1 s
        <BLANKLINE>
        Evaluations
          step  loss
          10      90
          20      30
        """
        return self._text(self._tables())

    def _text(self, tables: Sequence[Table]) -> str:
        laid_out = (table.text() for table in tables)
        parts = [self._line(), *laid_out, "\n".join(map(wrapped, self._notes()))]
        return Summary("\n\n".join(filter(None, parts)))

    def _repr_html_(self) -> str:
        """Sum up for a notebook."""
        line, *notes = (f"<p>{escape(text)}</p>" for text in (self._line(), *self._notes()))
        return "\n".join([line, *(table.html() for table in self._tables()), *notes])
