# SPDX-License-Identifier: BSD-3-Clause
"""One self-contained HTML page about a run: what was done, what came out, how to repeat it.

Pictures are embedded, nothing is loaded and no script runs, so the file can be mailed and will
look the same in ten years.
"""

from __future__ import annotations

import base64
import math
import shlex
import struct
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..base.text import Table, number, percent
from ..plot import DPI
from .results import ExperimentResult

#: How the hidden layers of each arm begin.
ARMS = {
    "pretrained": "hidden layers trained one by one as autoencoders before fine-tuning.",
    "normal": "hidden weights drawn at random, N(0, 0.01²); no pretraining.",
    "he": "hidden weights drawn at random, N(0, 2 / n_in); no pretraining.",
}
#: What other words of the tables mean.
WORDS = {
    "dead": "a unit that is zero on every sample, so that it neither says nor learns anything.",
    "collapsed": (
        "an arm that ended below 90 %. A layer all of whose units are dead is the sure sign; "
        "without one, on a harder data set or after few steps, it may be no more than where the "
        "curve stood."
    ),
    "seconds": "by the clock; arms are trained side by side where there are threads for it.",
}
NUMERALS = ("No", "One", "Two", "Three")

#: Of each picture: title, alternative text, and what to see in it.
CAPTIONS = {
    "accuracy": (
        "Accuracy of each arm",
        "Test accuracy of every arm against the steps of fine-tuning.",
        "The height of a curve's right end is how well an arm ended, its steepness at the left how "
        "soon it learned; the marker on the dashed line is where it first reached 90 %. The "
        "axis is logarithmic in the error: each halving of the error is the same step upward. A "
        "collapsed arm ends below the dashed line.",
    ),
    "confusion": (
        "Confusion of classes",
        "Confusion matrix of every arm on the test set.",
        "A row holds the test samples of one class, a column those that were taken for one. Blue, "
        "on the diagonal, are those taken right; red, all others, are mistakes; the darker, the "
        "larger their share of the row. A collapsed arm takes whole classes for others: columns "
        "that stay empty.",
    ),
    "dead_units": (
        "Dead units of each arm",
        "Share of dead units in every hidden layer of each arm after fine-tuning.",
        "The bars are in per cent of the layer, the numbers above them count units. A layer at "
        "100 % lets nothing through.",
    ),
    "codes": (
        "Codes in two dimensions",
        "Codes of test samples, projected on their two principal components.",
        "Each point is a test sample, its place the code that the last hidden layer gives it, seen "
        "from the side on which codes differ most (two principal components, each on a scale of "
        "its own). The name of a class stands at its median. An autoencoder is told no classes: "
        "where they come apart before fine-tuning, the data alone have parted them.",
    ),
    "reconstructions": (
        "Reconstructions",
        "A few samples and, below them, what each method makes of them.",
        "On top, training samples; below, what is left of them after compression by each method. "
        "MSE is the mean squared error per feature over the whole training set: "
        "smaller is closer.",
    ),
    "pretraining": (
        "Loss of each autoencoder",
        "Loss of each autoencoder against its steps, one panel per layer.",
        "Each autoencoder restores what the layers below it hand up; its loss should fall and "
        "level off. Losses of different layers measure different things and do not compare. Dead "
        "units are zero on every training sample and carry nothing upward.",
    ),
    "weights": (
        "First-layer weights",
        "Weights of the first layer's units on a colour scale around zero.",
        "Each tile is a unit: red pixels excite it, blue ones inhibit it. A unit that has learned "
        "shows strokes or blobs, one that has not shows noise, and a blank tile has weights close "
        "to zero, as dead units often do.",
    ),
}

#: Options that decide what a command computes, in the order of its help.
COMMON_OPTIONS = ("batch_size", "learning_rate", "eval_every", "seed", "threads")
OPTIONS = {
    "run": ("hidden", "arms", "pretrain_steps", "finetune_steps", *COMMON_OPTIONS),
    "reconstruct": ("units", "steps", "weight_decay", *COMMON_OPTIONS),
}
DATASETS = ("mnist", "strokes", "idx")

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
  :root { --ink: #ddd; --soft: #999; --line: #3a3a3a; --paper: #1b1b1c; --shade: #262627; }
}
body {
  max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem;
  color: var(--ink); background: var(--paper);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
}
h1 { font-size: 1.9rem; font-weight: 600; line-height: 1.2; margin: 0; text-wrap: balance; }
h2 { font-size: 1.2rem; font-weight: 600; margin: 3rem 0 0.75rem; }
.subtitle { color: var(--soft); margin: 0.4rem 0 2rem; }
.statement { font-size: 1.1rem; }
.scroll { overflow-x: auto; margin: 1rem 0 1.75rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.3rem; }
th, td { padding: 0.35rem 0 0.35rem 1.25rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; }
th:first-child { padding-left: 0; text-align: left; }
tbody tr, thead tr { border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 400; }
figure { margin: 1.5rem 0 0; }
.card {
  overflow-x: auto; padding: 0.75rem;
  background: #fff; border: 1px solid var(--line); border-radius: 6px;
}
.card img { display: block; margin: 0 auto; max-width: 100%; min-width: 30rem; height: auto; }
figcaption { color: var(--soft); margin-top: 0.6rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.3rem 1.25rem; }
dt { color: var(--soft); }
dd { margin: 0; }
.facts th {
  width: 1%; padding-right: 1.25rem;
  color: var(--soft); font-weight: 400; vertical-align: top;
}
.facts td { padding-left: 0; text-align: left; white-space: normal; overflow-wrap: anywhere; }
pre {
  padding: 0.8rem 1rem; background: var(--shade); border-radius: 6px;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
code, pre { font: 0.9rem/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (max-width: 40rem) {
  table { font-size: 0.85rem; }
  th, td { padding-left: 0.8rem; }
}
@media print { h2, figure, .scroll { break-inside: avoid; break-after: avoid; } }
</style>
</head>
<body>
<main>
<header>
<h1>$title</h1>
<p class="subtitle">$subtitle</p>
</header>
<p class="statement">$statement</p>
<section>
<h2>Results</h2>
$tables
$glossary
</section>
$pictures
<section>
<h2>Settings</h2>
$settings
</section>
<section>
<h2>Environment</h2>
$environment
</section>
<section>
<h2>To repeat it</h2>
$command
</section>
</main>
</body>
</html>
""")


def write_report(result: ExperimentResult, path: Path, pictures: Mapping[str, Path]) -> None:
    """Write the report of a run.

    Parameters
    ----------
    result : ExperimentResult
    path : Path
        File to write.
    pictures : mapping of str to Path
        PNG files by name, as `sae_fast.plot.save_pictures` gives them; empty without matplotlib.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    """
    page = PAGE.substitute(
        title="Stacked autoencoder" if result.arms else "Autoencoder",
        subtitle=_prose(f"{result.heading}; {result.seconds:.1f} seconds in all"),
        statement=_prose(" ".join(statement(result))),
        tables="\n".join(_table(table) for table in result.tables()),
        glossary=_glossary(result),
        pictures=_pictures(pictures),
        settings=_facts(result.config),
        environment=_facts(result.environment),
        command=_command(result),
    )
    path.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))


def statement(result: ExperimentResult) -> list[str]:
    """Say in plain words what was run and what came out, a sentence per item."""
    if not result.arms:
        return [*_about_autoencoder(result), *_about_reconstructions(result)]
    return [
        *_about_networks(result),
        *_about_lead(result),
        *_about_speed(result),
        *_about_collapse(result),
        "All of this is one seed: with another, "
        + ("arms may change places, and " if len(result.arms) > 1 else "")
        + "an arm that learned may collapse.",
    ]


def command_line(result: ExperimentResult) -> str | None:
    """Rebuild the command that repeats a run; None if its data came from Python."""
    config = result.config
    name = result.dataset.get("name")
    dataset = name if config.get("dataset") == "auto" else config.get("dataset")
    if dataset not in DATASETS:
        return None
    words = ["sae-fast", result.command, "--dataset", dataset]
    if config.get("data_dir") is not None:
        words += ["--data-dir", str(config["data_dir"])]
    for option in OPTIONS[result.command]:
        value = config.get(option)
        if value is not None:
            listed = isinstance(value, list | tuple)
            words += ["--" + option.replace("_", "-"), _joined(value) if listed else str(value)]
    return shlex.join(words)


def _about_autoencoder(result: ExperimentResult) -> Iterable[str]:
    for layer in result.pretraining:
        yield (
            f"An autoencoder that compresses {layer.n_in} numbers into {layer.n_hidden} was "
            f"trained for {max(layer.steps, default=0):,} steps on "
            f"{result.dataset.get('n_train', 0):,} samples of {result.dataset.get('name')}."
        )
        if layer.loss:
            yield (
                f"Its loss, summed over the training set, ended at {number(layer.loss[-1])}, and "
                f"{layer.dead_units} of its {layer.n_hidden} units are dead."
            )


def _about_reconstructions(result: ExperimentResult) -> Iterable[str]:
    if result.reconstructions:
        errors = {label: mse for label, _, mse in result.reconstructions.rows}
        listed = _and(f"{label} {mse:.4g}" for label, mse in errors.items())
        yield f"The mean squared errors per feature are: {listed}."
        if len(errors) > 1:
            best = min(errors, key=lambda label: errors[label])
            yield f"Closest to the originals is {best}."


def _about_networks(result: ExperimentResult) -> Iterable[str]:
    n_arms = len(result.arms)
    networks = "One network" if n_arms == 1 else f"{_numeral(n_arms)} networks"
    sentence = (
        f"{networks} with the hidden layers {'-'.join(map(str, result.hidden))} "
        f"{'was' if n_arms == 1 else 'were'} trained on {result.dataset.get('n_train', 0):,} "
        f"samples of {result.dataset.get('name')}: {_and(map(_quoted, result.arms))}"
    )
    yield sentence + (", which differ only in how they begin." if n_arms > 1 else ".")


def _about_lead(result: ExperimentResult) -> Iterable[str]:
    """Say who ended ahead, by how much, and whether chance alone could explain the lead."""
    (best, winner), *others = sorted(
        result.arms.items(), key=lambda item: item[1].final_accuracy, reverse=True
    )
    n_test = result.dataset.get("n_test", 0)
    right = f"{percent(winner.final_accuracy)} of {n_test:,} test samples right"
    if not others:
        yield f"It ended with {right}."
        return
    leads = [winner.final_accuracy - arm.final_accuracy for _, arm in others]
    behind = _and(
        (f"{100 * lead:.2f} points ahead of" if lead else "level with")
        + f" {_quoted(name)} ({percent(arm.final_accuracy)})"
        for lead, (name, arm) in zip(leads, others, strict=True)
    )
    yield f"In the end {_quoted(best)} has {right}, {behind}."
    second, runner_up = others[0]
    variance = sum(a * (1 - a) for a in (winner.final_accuracy, runner_up.final_accuracy))
    if n_test and 0 < leads[0] < 2 * math.sqrt(variance / n_test):
        yield f"On {n_test:,} samples, a lead this small over {_quoted(second)} may be chance."


def _about_speed(result: ExperimentResult) -> Iterable[str]:
    """Say who reached 90 % when, unless there was only one look."""
    if max(len(arm.steps) for arm in result.arms.values()) < 2:
        return
    firsts = {name: arm.first_step_at_90 for name, arm in result.arms.items()}
    reached = sorted((step, name) for name, step in firsts.items() if step is not None)
    never = [name for name, step in firsts.items() if step is None]
    sentence = "An accuracy of 90 % was reached "
    sentence += (
        _and(f"by {_quoted(name)} at step {step:,}" for step, name in reached)
        if reached
        else "by none"
    )
    if reached and never:
        sentence += f", never by {_and(map(_quoted, never))}"
    yield sentence + "."


def _about_collapse(result: ExperimentResult) -> Iterable[str]:
    """Name the collapsed arms and their dead units."""
    for name, arm in result.arms.items():
        how = result.collapse(name)
        if how is None:
            continue
        sentence = f"The arm {_quoted(name)} collapsed: {how}"
        if any(dead == units for dead, units in zip(arm.dead_units, result.hidden, strict=True)):
            sentence += (
                ", so that all samples look alike to what lies above, and nothing is learned"
            )
        yield sentence + "."


def _and(items: Iterable[str]) -> str:
    """Join a list as a sentence does."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def _numeral(count: int) -> str:
    return NUMERALS[count] if count < len(NUMERALS) else str(count)


def _joined(values: Iterable[Any]) -> str:
    return ",".join(map(str, values))


def _prose(text: str) -> str:
    """Escape a text, and keep every percent sign with its number."""
    return escape(text).replace(" %", "&nbsp;%")


def _quoted(name: str) -> str:
    """Mark the name of an arm, so that "he" does not read as a pronoun."""
    return f"“{name}”"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">\n'
        f"<table>\n<caption>{escape(table.title)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _glossary(result: ExperimentResult) -> str:
    """Explain the words that the tables use."""
    words = {arm: ARMS[arm] for arm in result.arms if arm in ARMS} | WORDS
    if not result.arms:
        del words["collapsed"], words["seconds"]
    items = "\n".join(f"<dt>{word}</dt><dd>{_prose(text)}</dd>" for word, text in words.items())
    return f"<dl>\n{items}\n</dl>"


def _pictures(pictures: Mapping[str, Path]) -> str:
    if not pictures:
        return (
            "<section>\n<h2>Pictures</h2>\n<p>matplotlib is not installed, so there are none: "
            "<code>pip install 'sae-fast[plot]'</code> adds them.</p>\n</section>"
        )
    return "\n".join(_picture(name, file.read_bytes()) for name, file in pictures.items())


def _picture(name: str, png: bytes) -> str:
    title, alternative, caption = CAPTIONS[name]
    data = base64.b64encode(png).decode("ascii")
    width, height = (pixels * 96 // DPI for pixels in struct.unpack_from(">II", png, 16))
    return (
        f"<section>\n<h2>{escape(title)}</h2>\n<figure>\n"
        f'<div class="card"><img width="{width}" height="{height}" alt="{escape(alternative)}" '
        f'src="data:image/png;base64,{data}"></div>\n'
        f"<figcaption>{_prose(caption)}</figcaption>\n</figure>\n</section>"
    )


def _facts(facts: Mapping[str, Any]) -> str:
    """Write nested settings as a table, a row per value."""
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in _flat(facts)
    )
    return f'<table class="facts">\n<tbody>\n{rows}\n</tbody>\n</table>'


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in facts.items():
        name = prefix + str(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value))
        else:
            yield name, "none" if value is None else str(value)


def _command(result: ExperimentResult) -> str:
    command = command_line(result)
    if command is None:
        return (
            "<p>The data were handed over in Python, so no command line repeats this run; call the "
            "same function with the settings above.</p>"
        )
    sha256 = result.dataset.get("sha256")
    data = f" Data: SHA-256 <code>{escape(str(sha256))}</code>." if sha256 else ""
    return (
        f"<pre>{escape(command)}</pre>\n"
        f"<p>The result does not depend on the number of threads.{data}</p>"
    )
