# SPDX-License-Identifier: BSD-3-Clause
"""One self-contained HTML page about a run: what was done, what came out, how to repeat it.

Pictures are embedded, nothing is loaded and no script runs, so the file can be mailed and will
look the same in ten years.
"""

from __future__ import annotations

import base64
import shlex
import struct
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..base.files import write_file
from ..base.text import Table, html_row, prose
from ..plot.axes import DPI
from .pictures import PICTURES, Picture
from .results import Findings
from .settings import ARMS, COMMANDS, DATASETS, flag, options, written, written_grid

#: What words of the report mean, in the order in which they come.
WORDS = {
    "not finished": (
        "an arm that ended below 90 % but did not collapse. It had too few steps, or its data are "
        "harder than the article's."
    ),
    "collapsed": (
        "an arm whose layers let nothing through: in one of them at most one unit is alive and the "
        "accuracy is below 90 %, or the accuracy is no better than a guess. More steps do not "
        "bring dead units back; without any, they may still help."
    ),
    "dead": (
        "a unit whose output is the same for every sample, with relu zero. It passes nothing on, "
        "gets no gradient and stays as it is."
    ),
    "seconds": "by the clock; arms are trained side by side where there are threads for it.",
    "one seed": (
        "is what all of this comes from: with another, arms may change places, and one that "
        "learned may collapse. A lead of a few tenths of a point may be chance."
    ),
}
#: At their first use.
STROKES = (
    "Strokes are digits, as if written by hand, that sae_fast draws itself: no file is needed."
)
ARMS_SHARE = (
    "The same network, with hidden layers of {} units, was trained once for each arm; arms differ "
    "in how the hidden layers start."
)
TUNED = ", then all as one"

NO_PICTURES = (
    "<p>There are none. If matplotlib is not installed, "
    "<code>pip install 'sae-fast[plot]'</code> adds them.</p>"
)

LARGER = "<p>A tap or a click on a picture shows it in its full size, and again as it was.</p>"

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root {
  color-scheme: light dark;
  --ink: #222; --soft: #666; --line: #ddd; --paper: #fff; --shade: #f6f6f4;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --soft: #999; --line: #3a3a3a; --paper: #1c1c1c; --shade: #262627; }
  img { filter: invert(0.89) hue-rotate(180deg); }  /* white is --paper then, red stays red */
}
body {
  max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; overflow-wrap: anywhere;
  color: var(--ink); background: var(--paper);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
}
h1 { font-size: 1.9rem; font-weight: 600; line-height: 1.2; margin: 0; text-wrap: balance; }
h2 { font-size: 1.2rem; font-weight: 600; margin: 3rem 0 0.75rem; }
.subtitle { color: var(--soft); margin: 0.4rem 0 2rem; }
.verdicts { font-weight: 600; padding-left: 1.25rem; }
.scroll { overflow-x: auto; margin: 1rem 0 1.75rem; }
table {
  border-collapse: collapse; width: 100%;
  font-variant-numeric: tabular-nums; overflow-wrap: normal;
}
caption { text-align: left; color: var(--soft); padding-bottom: 0.3rem; }
th, td { padding: 0.35rem 0 0.35rem 1.25rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; }
th:first-child { padding-left: 0; text-align: left; }
tbody tr, thead tr { border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 400; vertical-align: bottom; }
.scroll tbody th { white-space: normal; }
figure { margin: 1.5rem 0 0; }
img { display: block; margin: 0 auto; max-width: 100%; height: auto; cursor: zoom-in; }
.picture { display: block; position: relative; overflow-x: auto; }
.picture input { position: absolute; opacity: 0; }
.picture:has(:focus-visible) { outline: 2px solid; }
.picture :checked + img { max-width: none; cursor: zoom-out; }
figcaption { color: var(--soft); margin-top: 0.6rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.3rem 1.25rem; }
dt { color: var(--soft); }
dd { margin: 0; }
.facts th { width: 1%; padding-right: 1.25rem; color: var(--soft); font-weight: 400; }
.facts td { padding-left: 0; text-align: left; white-space: normal; overflow-wrap: anywhere; }
pre { padding: 0.8rem 1rem; background: var(--shade); white-space: pre-wrap; }
code, pre { font: 0.9rem/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (max-width: 40rem) {
  body { padding: 1.5rem 1rem; }
  dl { display: block; }
  dd { margin-bottom: 0.6rem; }
  table { font-size: 0.8125rem; line-height: 1.5; }
  .facts th { white-space: nowrap; }
  .scroll :is(table, caption, tbody) { display: block; }  /* a card for each row */
  .scroll thead { display: none; }
  .scroll tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; padding: 0.4rem 0; }
  .scroll :is(th, td) { padding: 0.1rem 0; white-space: normal; }
  .scroll th, .scroll td:only-of-type { grid-column: 1 / -1; }
  .scroll td { display: flex; justify-content: space-between; gap: 0.5rem; }
  .scroll :is(th, td)::before { content: attr(data-column) " "; color: var(--soft); }
  .scroll th::before { font-weight: 400; }
}
@media print { h2, figure, .scroll { break-inside: avoid; break-after: avoid; } }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="subtitle">$subtitle</p>
$sections
</main>
</body>
</html>
""")


def write_report(result: Findings, path: Path, pictures: Mapping[str, Path]) -> None:
    """Write the report of a run, with the PNG files that `save_pictures` gave, by their names."""
    figures = {name: figure_of(PICTURES[name], file) for name, file in pictures.items()}
    answer = [figures.pop("accuracy" if result.arms else "reconstructions", ""), LARGER]
    sections = [
        ("Result", "\n".join([*_verdicts(result), *(answer if pictures else [NO_PICTURES])])),
        ("Numbers", "\n".join([*map(table_of, result.tables()), _words(result)])),
        *((PICTURES[name].title, figure) for name, figure in figures.items()),
        ("Settings", facts_of(result.config)),
        ("Environment", facts_of(result.environment)),
        ("To repeat it", command_of(result)),
    ]
    title = "Stacked autoencoder" if result.arms else "Autoencoder"
    write_page(path, title, f"{result.heading}; {result.trained}", sections)


def write_page(path: Path, title: str, subtitle: str, sections: Iterable[tuple[str, str]]) -> None:
    """Write a page of sections, each a heading and HTML."""
    page = PAGE.substitute(
        title=escape(title),
        subtitle=prose(subtitle),
        sections="\n".join(
            f"<section>\n<h2>{heading}</h2>\n{body}\n</section>" for heading, body in sections
        ),
    )
    write_file(path, page.encode("utf-8", "xmlcharrefreplace"))


def command_line(result: Any) -> str | None:
    """Rebuild the command that repeats a run; None if its data came from Python."""
    config = result.config
    name = result.dataset.get("name")
    dataset = name if config.get("dataset") == "auto" else config.get("dataset")
    if dataset not in DATASETS:
        return None
    words = ["sae-fast", result.command, flag("dataset"), dataset]
    for option in options(COMMANDS[result.command]):
        value = config.get(option.name)
        if option.name != "dataset" and value is not None and value is not False:
            shown = option.metadata["metavar"] if _is_local(value) else written(value)
            given = written_grid(value) if option.metadata["repeated"] else [shown]
            for text in given:
                words += [flag(option.name)] if value is True else [flag(option.name), text]
    return shlex.join(words)


def _verdicts(result: Findings) -> Iterable[str]:
    """Say how it ended, a line for each arm, and what the words of that mean."""
    lines = "\n".join(f"<li>{prose(line)}</li>" for line in result.verdicts)
    yield f'<ul class="verdicts">\n{lines}\n</ul>'
    if result.arms:
        share = ARMS_SHARE.format(", ".join(map(str, result.hidden)))
        starts = (
            f"{arm}: {ARMS[arm].words}{TUNED if ARMS[arm].pretrained and result.tuning else ''}"
            for arm in result.arms
            if arm in ARMS
        )
        yield f"<p>{prose(share)} {prose('; '.join(starts))}.</p>"
    if result.dataset.get("name") == "strokes":
        yield f"<p>{STROKES}</p>"


def _words(result: Findings) -> str:
    """Say what the words of the tables mean."""
    words = WORDS if result.arms else {"dead": WORDS["dead"]}
    if result.first_loss:
        words = {"first loss": f"of a training, {result.first_loss}, not before it.", **words}
    listed = "\n".join(f"<dt>{word}</dt><dd>{prose(text)}</dd>" for word, text in words.items())
    return f"<dl>\n{listed}\n</dl>"


def table_of(table: Table) -> str:
    """Write a table, which a phone shows as cards."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">\n'
        f"{table.html()}\n</div>"
    )


def figure_of(picture: Picture, file: Path) -> str:
    """Write a picture, embedded, with its caption."""
    png = file.read_bytes()
    data = base64.b64encode(png).decode("ascii")
    width, height = (pixels * 96 // DPI for pixels in struct.unpack_from(">II", png, 16))
    return (
        '<figure>\n<label class="picture"><input type="checkbox">'
        f'<img width="{width}" height="{height}" '
        f'alt="{escape(picture.alternative)}" src="data:image/png;base64,{data}"></label>\n'
        f"<figcaption>{prose(picture.caption)}</figcaption>\n</figure>"
    )


def facts_of(facts: Mapping[str, Any]) -> str:
    """Write nested settings as a table, a row per value."""
    rows = "\n".join(html_row(name, value) for name, value in _flat(facts))
    return f'<table class="facts">\n<tbody>\n{rows}\n</tbody>\n</table>'


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in facts.items():
        name = prefix + str(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value))
        elif not _is_local(value):
            yield name, "none" if value is None else str(value)


def _is_local(value: object) -> bool:
    """Say whether a value is a path of this machine, which is nobody else's business."""
    return Path(str(value)).is_absolute()


def command_of(result: Any) -> str:
    """Say how a run can be repeated."""
    command = command_line(result)
    if command is None:
        return (
            "<p>The data were handed over in Python, so no command line repeats this run; call the "
            "same function with the settings above.</p>"
        )
    sha256 = result.dataset.get("sha256")
    data = f" Data: SHA-256 <code>{escape(str(sha256))}</code>." if sha256 else ""
    if _is_local(result.config.get("data_dir")):
        data = f" DIR stands for the folder of the data.{data}"
    return (
        f"<pre>{escape(command)}</pre>\n"
        f"<p>The result does not depend on the number of threads.{data}</p>"
    )
