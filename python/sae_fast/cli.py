# SPDX-License-Identifier: BSD-3-Clause
"""The command line: `sae-fast run`, `reconstruct`, `study`, `info`.

Options are the keyword arguments of the functions behind them, so nothing is decided here. Exit
status: 0 done, 1 failed, 2 usage: what the options alone, without any file, show to be wrong. What
signals do is in `__main__`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .base.text import Described
from .core.build import VERSION
from .core.environment import info
from .datasets.mnist import user_folder
from .errors import CheckpointError, DataError, OutputError, SaeFastError
from .experiment.pictures import PICTURES
from .experiment.run import run_experiment, run_reconstruction
from .experiment.settings import (
    COMMANDS,
    CheckpointedSettings,
    Settings,
    flag,
    options,
    written,
)
from .experiment.studies.save import SETTINGS, StudyResult
from .experiment.studies.study import run_study
from .plot.axes import has_matplotlib
from .training.checkpoint import NAME, PREVIOUS
from .training.distributed import latest, leads

#: What each command calls, a line about it, and what its help says.
_EXPERIMENTS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "run": (
        run_experiment,
        "compare a pretrained network with the same network without pretraining",
        "Pretrains a network layer by layer with autoencoders, fine-tunes it, and trains the same "
        "network from random weights alone: two arms of a comparison, pretrained and normal.",
    ),
    "reconstruct": (
        run_reconstruction,
        "train one autoencoder and show its reconstructions beside a PCA's",
        "Trains one autoencoder with weight decay and shows ten images, their reconstructions, and "
        "those of a PCA with as many components.",
    ),
    "study": (
        run_study,
        "run the comparison with many seeds, arms and settings, and say what may be concluded",
        "Runs arms with many seeds and settings, one thread a run, and compares them in pairs by "
        "statistics. Each run has a file in DIR, so that a study that was broken off goes on, and "
        "is never computed twice.",
    ),
}

#: Where each leaves its results, if nothing else is said: apart, since either replaces its own.
_OUTPUTS = {
    "run": "sae-fast-out",
    "reconstruct": "sae-fast-reconstruct",
    "study": "sae-fast-study",
}


def _type(option: dataclasses.Field[Any]) -> Callable[[str], Any]:
    """Return what turns an option's text into its value, checked: a bad one is a usage error."""

    def convert(text: str) -> Any:
        try:
            value = option.metadata["read"](text)
        except ValueError:
            value = text  # its check says what was expected
        try:
            return option.metadata["check"](option.name, value)
        except DataError as error:
            message = str(error).removeprefix(option.name).removeprefix(": ")
            raise argparse.ArgumentTypeError(message) from None

    return convert


def _add_options(parser: argparse.ArgumentParser, kind: type[Settings]) -> None:
    """Add an option for each setting of an experiment, in groups."""
    groups: dict[str, Any] = {}
    defaults = {"output": _OUTPUTS[kind.command]}  # a command without a trace is of little use
    parser.set_defaults(**defaults)
    for option in options(kind):
        title, words = option.metadata["group"], option.metadata["words"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        default = defaults.get(option.name, option.default)
        if default is False:
            groups[title].add_argument(flag(option.name), action="store_true", help=words)
            continue
        shown = "" if default is None else f"(default: {written(default)})"
        groups[title].add_argument(
            flag(option.name),
            type=_type(option),
            action="append" if option.metadata["repeated"] else "store",
            metavar=option.metadata["metavar"],
            help=f"{words} {shown}".strip(),
        )


class _CommandParser(argparse.ArgumentParser):
    """Refuses what it does not know itself, so that the usage shown is the command's own."""

    def parse_known_args(self, *args: Any) -> tuple[Any, list[str]]:  # type: ignore[override]
        found, unknown = super().parse_known_args(*args)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sae-fast",
        description="Trains stacked autoencoders: the experiment of an article, and its parts.",
        epilog="Exit status: 0 done, 1 failed, 2 usage, 130 interrupted, 143 terminated.",
    )
    parser.add_argument("--version", action="version", version=f"sae-fast {VERSION}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_CommandParser
    )

    for name, (experiment, line, description) in _EXPERIMENTS.items():
        command = commands.add_parser(
            name,
            help=line,
            description=description,
            argument_default=argparse.SUPPRESS,  # only what is given, so that a resumed run knows
        )
        _add_options(command, COMMANDS[name])
        command.set_defaults(experiment=experiment)

    about = commands.add_parser(
        "info",
        help="version, instruction set, BLAS, threads, data found: what a bug report needs",
        description="Prints what a bug report needs.",
    )
    about.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _print(text: str, saved: str = "") -> None:
    """Print at once, or raise OutputError, which says what is `saved` all the same."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"standard output cannot be written to: {reason}{saved}") from error


def _print_info(*, as_json: bool) -> None:
    facts = info()
    if as_json:
        _print(json.dumps(facts, indent=1))
        return
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item or 'missing'}" for key, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        lines.append(f"{name.replace('_', ' '):16}{'not found' if value is None else value}")
    _print("\n".join(lines))


def _run(command: str, experiment: Callable[..., Any], given: dict[str, Any]) -> None:
    folder = given["output"]
    place = "" if folder == _OUTPUTS[command] else f" --output {shlex.quote(folder)}"
    resuming = f"`sae-fast {command} --resume{place}`"
    try:
        Path.home()
    except RuntimeError:  # of a user without a home; matplotlib has to keep its fonts somewhere
        os.environ.setdefault("MPLCONFIGDIR", str(user_folder() / "matplotlib"))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _advise(command, message)
            result = experiment(**given)
    except OutputError as error:
        if isinstance(error.result, Described) and not given.get("quiet"):
            with contextlib.suppress(OSError):
                print(error.result.summary())  # all that is left of it
        raise
    except CheckpointError as error:
        raise CheckpointError(str(error).replace("resume=True", resuming)) from error
    except KeyboardInterrupt as stop:
        if Path(folder, SETTINGS).exists():  # of a study
            stop.args = (f"{resuming} goes on",)
            raise
        kept = given.get("checkpoint_every") or given.get("resume")
        if kept and any(Path(folder, name).exists() for name in (NAME, PREVIOUS)):
            stop.args = (f"{resuming} goes on",)
        elif not stop.args:
            stop.args = ("nothing was saved",)
            if not kept and issubclass(COMMANDS[command], CheckpointedSettings):
                stop.args += ("with --checkpoint-every N the run could be resumed",)
        raise
    if not leads(latest()):
        return
    if isinstance(result, StudyResult) and result.missing:
        where = _what_is_missing(result, folder, resuming)
        if not given.get("quiet"):
            _print(where)
        return
    if given.get("quiet"):
        return
    drawn = any(Path(folder, f"{name}.png").exists() for name in PICTURES)
    where = f"results{', pictures' * drawn} and report.html are in {folder}"
    missing = "" if has_matplotlib() else "; no pictures: pip install 'sae-fast[plot]'"
    _print(f"{result.summary()}\n\n{where}{missing}", f"; {where}")


def _what_is_missing(study: StudyResult, folder: str, resuming: str) -> str:
    """Say how a study that is not whole goes on; SaeFastError if runs could not be computed."""
    n_runs, n_missing = len(study.runs), len(study.missing)
    if failures := study.failures:
        raise SaeFastError(
            f"{len(failures):,} of {n_runs + n_missing:,} runs failed; {failures[0]}; {resuming} "
            "tries them again"
        )
    return (
        f"{n_runs:,} of {n_runs + n_missing:,} runs are in {folder}; the process that finds all "
        f"there writes the results, and so does {resuming}"
    )


def _complain(command: str, error: object) -> None:
    """Say in a line what is wrong, with settings by the names that options have."""
    words = " ".join(str(error).split()) or type(error).__name__
    if command in COMMANDS:
        names = [option.name for option in options(COMMANDS[command])]
        words = re.sub(_named(names), lambda found: flag(found[1]) if found[1] else found[0], words)
    session = latest()
    where = f"{session}: " if session is not None and session.size > 1 else ""
    print(f"sae-fast: {where}{words}", file=sys.stderr)


def _advise(command: str, warning: object) -> None:
    """Say a warning, once of all processes."""
    if leads():
        _complain(command, warning)


def _named(names: Sequence[str]) -> str:
    """Return what finds settings as group 1; what is quoted, in a path, or what came is no name."""
    quoted = r"""(?<!\w)(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`)(?!\w)"""
    every, long = "|".join(names), "|".join(name for name in names if "_" in name)
    differs = rf"(?:{every})(?= [^;]* where it has )"
    about = rf"(?<!\bgot )(?:(?:{long})(?![\w/\\-])|(?:{every})(?=(?:, \w+)*[:=]))"
    return rf"{quoted}|(?<![\w/\\.-])({differs}|{about})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's, and return its exit status."""
    given = vars(_parser().parse_args(argv))
    command = given.pop("command")
    try:
        if command == "info":
            _print_info(as_json=given["json"])
            return 0
        experiment = given.pop("experiment")
        if not given.get("resume"):  # then others come from the checkpoint
            try:
                COMMANDS[command](**given)
            except DataError as error:
                _complain(command, error)
                return 2
        _run(command, experiment, given)
    except BrokenPipeError:  # who read what is printed has left
        return 0
    except (SaeFastError, OSError, MemoryError) as error:
        _complain(command, error)
        return 1
    return 0
