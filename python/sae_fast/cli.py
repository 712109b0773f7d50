# SPDX-License-Identifier: BSD-3-Clause
"""The command line: `sae-fast run`, `sae-fast reconstruct`, `sae-fast info`.

Options are the keyword arguments of the functions behind them, so nothing is decided here. Exit
status: 0 done, 1 the run failed, 2 usage. What signals do is in `__main__`.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from . import __version__
from .base.checks import MOST_UNITS, check_float, check_int, check_width
from .base.threads import MOST_THREADS
from .core.environment import info
from .errors import DataError, SaeFastError
from .experiment.results import ExperimentResult
from .experiment.run import ARMS, DATASETS, HIDDEN, run_experiment, run_reconstruction


def _checked(check: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[str], Any]:
    """Turn a check of an argument into an argparse type, so that a bad value is a usage error."""
    number = int if check is check_int else float

    def convert(text: str) -> Any:
        try:
            return check("value", number(text), *args, **kwargs)
        except DataError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix("value: ")) from None

    convert.__name__ = "integer" if number is int else "number"
    return convert


_positive = _checked(check_int, 1)
_natural = _checked(check_int, 0)


def _widths(text: str) -> list[int]:
    try:
        return [check_width("value", int(part)) for part in text.split(",")]
    except (ValueError, DataError):
        raise argparse.ArgumentTypeError(
            f"expected integers from 1 to {MOST_UNITS} with commas between, got {text!r}"
        ) from None


def _arms(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ARMS:
            raise argparse.ArgumentTypeError(f"expected any of {', '.join(ARMS)}, got {name!r}")
    return names


def _add_common(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument(
        "--dataset",
        choices=DATASETS,
        default="auto",
        help="auto: MNIST from --data-dir, $SAE_FAST_DATA_DIR, the cache or a download, else the "
        "embedded strokes; idx: any data set in MNIST's format from --data-dir (default: auto)",
    )
    data.add_argument("--data-dir", metavar="DIR", help="folder with IDX files, plain or .gz")
    data.add_argument("--offline", action="store_true", help="open no socket")
    training = parser.add_argument_group("training")
    training.add_argument("--batch-size", type=_positive, default=100, metavar="N")
    training.add_argument(
        "--learning-rate",
        type=_checked(check_float, positive=True),
        default=1e-3,
        metavar="RATE",
        help="of Adam (default: 0.001)",
    )
    training.add_argument(
        "--eval-every",
        type=_natural,
        default=100,
        metavar="N",
        help="steps between evaluations; 0: only at the end of each phase (default: 100)",
    )
    training.add_argument("--seed", type=_natural, default=0, metavar="N", help="default: 0")
    training.add_argument(
        "--threads",
        type=_checked(check_int, 1, MOST_THREADS),
        metavar="N",
        help="no influence on the result (default: what the process may use)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output",
        default="sae-fast-out",
        metavar="DIR",
        help="for result.json, pictures, models and report.html, in the place of an earlier run's "
        "(default: sae-fast-out)",
    )
    output.add_argument(
        "--checkpoint-every",
        type=_natural,
        default=0,
        metavar="N",
        help="steps between two checkpoints in DIR, the last two of which are kept (default: none)",
    )
    output.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in DIR, with the same settings and data",
    )
    output.add_argument(
        "--quiet", action="store_true", help="no progress bars and no summary, only errors"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sae-fast",
        description="Trains stacked autoencoders: the experiment of an article, and its parts.",
        epilog="Exit status: 0 done, 1 failed, 2 usage, 130 interrupted, 143 terminated.",
    )
    parser.add_argument("--version", action="version", version=f"sae-fast {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="compare a pretrained network with the same network without pretraining",
        description="Pretrains a network layer by layer with autoencoders, fine-tunes it, and "
        "trains the same network from random weights beside it.",
    )
    network = run.add_argument_group("network and arms")
    network.add_argument(
        "--hidden",
        type=_widths,
        default=list(HIDDEN),
        metavar="N,N,...",
        help=f"units of each hidden layer (default: {','.join(map(str, HIDDEN))})",
    )
    network.add_argument(
        "--arms",
        type=_arms,
        default=["pretrained", "normal"],
        metavar="ARM,ARM,...",
        help="any of pretrained; normal: from N(0, 0.01^2); he: from N(0, 2/n_in) "
        "(default: pretrained,normal)",
    )
    network.add_argument(
        "--pretrain-steps", type=_positive, default=3000, metavar="N", help="per layer (3000)"
    )
    network.add_argument(
        "--finetune-steps", type=_positive, default=30000, metavar="N", help="per arm (30000)"
    )
    _add_common(run)
    run.set_defaults(experiment=run_experiment)

    reconstruct = commands.add_parser(
        "reconstruct",
        help="train one autoencoder and show its reconstructions beside a PCA's",
        description="Trains one autoencoder with weight decay and shows what is left of ten "
        "images after compression, beside a PCA with as many components.",
    )
    network = reconstruct.add_argument_group("autoencoder")
    network.add_argument(
        "--units",
        type=_checked(check_int, 1, MOST_UNITS),
        default=100,
        metavar="N",
        help="width of the code (100)",
    )
    network.add_argument("--steps", type=_positive, default=1000, metavar="N", help="(1000)")
    network.add_argument(
        "--weight-decay",
        type=_checked(check_float, positive=False),
        default=0.1,
        metavar="LAMBDA",
        help="L2 penalty on the weights (0.1)",
    )
    _add_common(reconstruct)
    reconstruct.set_defaults(experiment=run_reconstruction)

    about = commands.add_parser(
        "info",
        help="version, instruction set, BLAS, threads, data found: what a bug report needs",
        description="Prints what a bug report needs.",
    )
    about.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _print_info(*, as_json: bool) -> None:
    facts = info()
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item or 'missing'}" for key, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{name.replace('_', ' '):16}{'not found' if value is None else value}")


def _run(options: argparse.Namespace) -> None:
    settings = vars(options)
    experiment: Callable[..., ExperimentResult] = settings.pop("experiment")
    del settings["command"]
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(
            f"sae-fast: {message}", file=sys.stderr
        )
        result = experiment(**settings)
    if not options.quiet:
        print(result.summary())
        print(f"\nresults, pictures and report.html are in {options.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the process's arguments.
    """
    options = _parser().parse_args(argv)
    try:
        if options.command == "info":
            _print_info(as_json=options.json)
        else:
            _run(options)
    except (SaeFastError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"sae-fast: {reason}", file=sys.stderr)
        return 1
    return 0
