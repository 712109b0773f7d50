# SPDX-License-Identifier: BSD-3-Clause
"""The settings of both experiments, checked once: a frozen record for each, a field per setting.

A field knows its default, its check and its words for the command line. Signatures, options,
`config` in ``result.json`` and the command in the report all come from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, get_args

from ..base.checks import check_choice, check_float, check_int, check_path, check_sizes, check_width
from ..base.threads import resolve_threads
from ..datasets import Dataset
from ..datasets.catalog import Name
from ..errors import DataError

DATASETS: tuple[str, ...] = get_args(Name)
DTYPE = "float32"


class Arm(NamedTuple):
    """How the hidden layers of an arm begin."""

    init: str  # of its network
    pretrained: bool
    words: str


ARMS = {
    "pretrained": Arm("normal", True, "hidden layers trained one by one as autoencoders first"),
    "normal": Arm("normal", False, "hidden weights drawn from N(0, 0.01²)"),
    "he": Arm("he", False, "hidden weights drawn from N(0, 2/n_in)"),
}


def _check_dataset(name: str, value: object) -> str:
    if isinstance(value, Dataset):
        return "(a Dataset object)"  # no command line repeats it
    return check_choice(name, value, DATASETS)


def _check_folder(name: str, value: object) -> str | None:
    return None if value is None else str(check_path(name, value))


def _check_threads(name: str, value: int | None) -> int:
    return resolve_threads(value, name)


def _check_flag(name: str, value: object) -> bool:
    if not isinstance(value, int) or value not in (0, 1):
        raise DataError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def _check_arms(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise DataError(f"{name}: expected a sequence of {', '.join(ARMS)}, got {value!r}")
    return tuple(dict.fromkeys(check_choice(name, arm, tuple(ARMS)) for arm in value))


def _read_widths(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _setting(
    default: Any,
    check: Callable[[str, Any], Any],
    group: str,
    *,
    read: Callable[[str], Any] = str,
    metavar: str = "N",
    words: str = "",
    free: bool = False,
) -> Any:
    """Describe a setting.

    Parameters
    ----------
    default
    check : callable
        Takes name and value; returns the value as the record holds it, or raises DataError.
    group : str
        Heading of the option in the command's help.
    read : callable
        Gives a value to check from a text; ValueError if it cannot.
    metavar, words : str
        What stands for the value in the command's help, and what explains it.
    free : bool
        It may differ where a run is resumed: it changes nothing, or is the data, which are compared
        themselves.
    """
    about = {"check": check, "group": group, "read": read, "metavar": metavar}
    return dataclasses.field(default=default, metadata={**about, "words": words, "free": free})


_count = partial(check_int, minimum=1)
_count_or_none = partial(check_int, minimum=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that both experiments have; each field as its check returns it."""

    command: ClassVar[str]

    dataset: str = _setting(
        "auto",
        _check_dataset,
        "data",
        metavar=f"{{{','.join(DATASETS)}}}",
        words="auto: MNIST from --data-dir, $SAE_FAST_DATA_DIR, the cache or a download, else the "
        "embedded strokes; idx: any data set in MNIST's format from --data-dir",
        free=True,
    )
    data_dir: str | None = _setting(
        None,
        _check_folder,
        "data",
        metavar="DIR",
        words="folder with IDX files, plain or .gz",
        free=True,
    )
    offline: bool = _setting(False, _check_flag, "data", words="open no socket", free=True)
    batch_size: int = _setting(100, _count, "training", read=int)
    learning_rate: float = _setting(
        1e-3,
        partial(check_float, positive=True),
        "training",
        read=float,
        metavar="RATE",
        words="of Adam",
    )
    eval_every: int = _setting(
        100,
        _count_or_none,
        "training",
        read=int,
        words="steps between evaluations; 0: only at the end of each phase",
    )
    seed: int = _setting(0, _count_or_none, "training", read=int)
    threads: int = _setting(
        None,
        _check_threads,
        "training",
        read=int,
        words="no influence on the result (default: what the process may use)",
        free=True,
    )
    output: str | None = _setting(
        None,
        _check_folder,
        "output",
        metavar="DIR",
        words="for result.json, pictures, models and report.html, in the place of an earlier run's",
    )
    checkpoint_every: int = _setting(
        0,
        _count_or_none,
        "output",
        read=int,
        words="steps between two checkpoints in DIR, the last two of which are kept; 0: none",
    )
    resume: bool = _setting(
        False,
        _check_flag,
        "output",
        words="go on from the checkpoint in DIR, with the same settings and data",
    )
    quiet: bool = _setting(
        False, _check_flag, "output", words="no progress bars and no summary, only errors"
    )

    def __post_init__(self) -> None:
        """Check every setting, by the name that its user knows."""
        for option in dataclasses.fields(self):
            value = option.metadata["check"](option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    def config(self) -> dict[str, Any]:
        """Return what goes into ``result.json``: all but where and how results are shown."""
        values = {
            option.name: getattr(self, option.name)
            for option in options(type(self))
            if option.metadata["group"] != "output"
        }
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
        return {**plain, "dtype": DTYPE}

    def identity(self) -> dict[str, Any]:
        """Return the part of `config` that a run has in common with what it is resumed from."""
        free = {option.name for option in options(type(self)) if option.metadata["free"]}
        return {name: value for name, value in self.config().items() if name not in free}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """The settings of `run_experiment`."""

    command: ClassVar[str] = "run"

    hidden: tuple[int, ...] = _setting(
        (100, 50, 25, 12, 5, 5),
        check_sizes,
        "network and arms",
        read=_read_widths,
        metavar="N,N,...",
        words="units of each hidden layer",
    )
    arms: tuple[str, ...] = _setting(
        ("pretrained", "normal"),
        _check_arms,
        "network and arms",
        read=lambda text: text.split(","),
        metavar="ARM,ARM,...",
        words="; ".join(f"{name}: {arm.words}" for name, arm in ARMS.items()),
    )
    pretrain_steps: int = _setting(
        3000, _count, "network and arms", read=int, words="for each layer"
    )
    finetune_steps: int = _setting(
        30000, _count, "network and arms", read=int, words="for each arm"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructSettings(Settings):
    """The settings of `run_reconstruction`."""

    command: ClassVar[str] = "reconstruct"

    units: int = _setting(100, check_width, "autoencoder", read=int, words="width of the code")
    steps: int = _setting(1000, _count, "autoencoder", read=int)
    weight_decay: float = _setting(
        0.1,
        partial(check_float, positive=False),
        "autoencoder",
        read=float,
        metavar="LAMBDA",
        words="L2 penalty on the weights",
    )


COMMANDS: dict[str, type[Settings]] = {
    kind.command: kind for kind in (RunSettings, ReconstructSettings)
}


def options(kind: type[Settings]) -> list[dataclasses.Field[Any]]:
    """Return the fields of a record, its own before those that both have."""
    shared = {option.name for option in dataclasses.fields(Settings)}
    return sorted(dataclasses.fields(kind), key=lambda option: option.name in shared)


def flag(name: str) -> str:
    """Write the name of a setting as an option."""
    return "--" + name.replace("_", "-")


def written(value: object) -> str:
    """Write the value of a setting as the command line reads it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
