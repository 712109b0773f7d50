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

import numpy as np

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
    "normal": Arm("normal", False, "random hidden weights alone, normally distributed N(0, 0.01²)"),
    "he": Arm("he", False, "random hidden weights alone, N(0, 2/n_in), as He and others have them"),
}


def _check_dataset(name: str, value: object) -> str:
    if isinstance(value, Dataset):
        return "(a Dataset object)"  # no command line repeats it
    return check_choice(name, value, DATASETS)


def _check_folder(name: str, value: object) -> str | None:
    return None if value is None else str(check_path(name, value))


def _check_flag(name: str, value: object) -> bool:
    if not isinstance(value, int | np.bool_) or value not in (0, 1):
        raise DataError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def _check_arms(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise DataError(f"{name}: expected a sequence of {', '.join(ARMS)}, got {value!r}")
    return tuple(dict.fromkeys(check_choice(name, arm, tuple(ARMS)) for arm in value))


def _setting(
    default: Any,
    check: Callable[[str, Any], Any],
    words: str = "",
    *,
    group: str,
    read: Callable[[str], Any] = int,
    metavar: str = "N",
    free: bool = False,
) -> Any:
    """Describe a setting.

    `check` takes name and value, and returns the value as the record holds it. For the command line
    there are `words` under the heading `group`, and `read` for a text (ValueError if it cannot).
    What is `free` may differ where a run is resumed: it changes nothing, or is the data, which are
    compared themselves.
    """
    about = {"check": check, "words": words, "group": group, "read": read, "metavar": metavar}
    return dataclasses.field(default=default, metadata={**about, "free": free})


_count = partial(check_int, minimum=1)
_count_or_none = partial(check_int, minimum=0)

_data = partial(_setting, group="data", read=str, metavar="DIR", free=True)
_training = partial(_setting, group="training")
_output = partial(_setting, group="output")
_network = partial(_setting, group="network and arms")
_autoencoder = partial(_setting, group="autoencoder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that both experiments have; each field as its check returns it."""

    command: ClassVar[str]

    dataset: str = _data(
        "auto",
        _check_dataset,
        "auto: MNIST from --data-dir, $SAE_FAST_DATA_DIR, the cache or a download, else strokes; "
        "strokes: digits that the package draws itself; "
        "idx: any data set in MNIST's format from --data-dir",
        metavar=f"{{{','.join(DATASETS)}}}",
    )
    data_dir: str | None = _data(None, _check_folder, "folder with IDX files, plain or .gz")
    offline: bool = _data(False, _check_flag, "open no socket")
    batch_size: int = _training(100, _count)
    learning_rate: float = _training(
        1e-3, partial(check_float, positive=True), "of Adam", read=float, metavar="RATE"
    )
    eval_every: int = _training(
        100, _count_or_none, "steps between evaluations; 0: only at the end of each phase"
    )
    seed: int = _training(0, _count_or_none)
    threads: int = _training(
        None,
        lambda name, value: resolve_threads(value, name),
        "no influence on the result (default: what the process may use)",
        free=True,
    )
    output: str | None = _output(
        None,
        _check_folder,
        "for result.json, pictures, models and report.html, in the place of an earlier run's",
        read=str,
        metavar="DIR",
    )
    checkpoint_every: int = _output(
        0,
        _count_or_none,
        "steps between two checkpoints in DIR, the last two of which are kept; 0: none",
    )
    resume: bool = _output(
        False, _check_flag, "go on from the checkpoint in DIR, with the same settings and data"
    )
    quiet: bool = _output(False, _check_flag, "no progress bars and no summary, only errors")

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

    hidden: tuple[int, ...] = _network(
        (100, 50, 25, 12, 5, 5),
        check_sizes,
        "units of each hidden layer",
        read=lambda text: [int(part) for part in text.split(",")],
        metavar="N,N,...",
    )
    arms: tuple[str, ...] = _network(
        ("pretrained", "normal"),
        _check_arms,
        "networks to compare; " + "; ".join(f"{name}: {arm.words}" for name, arm in ARMS.items()),
        read=lambda text: text.split(","),
        metavar="ARM,ARM,...",
    )
    pretrain_steps: int = _network(3000, _count, "for each layer")
    finetune_steps: int = _network(30000, _count, "for each arm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructSettings(Settings):
    """The settings of `run_reconstruction`."""

    command: ClassVar[str] = "reconstruct"

    units: int = _autoencoder(100, check_width, "width of the code")
    steps: int = _autoencoder(1000, _count)
    weight_decay: float = _autoencoder(
        0.1,
        partial(check_float, positive=False),
        "L2 penalty on the weights",
        read=float,
        metavar="LAMBDA",
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
