# SPDX-License-Identifier: BSD-3-Clause
"""The settings of every experiment, checked once: a frozen record for each, a field per setting.

A field knows its default, its check and its words for the command line. Signatures, options,
`config` in ``result.json`` and the command in the report all come from here.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial, wraps
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar, get_args

from ..base.checks import (
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_path,
    check_sizes,
    check_width,
    per_layer,
)
from ..base.text import shown
from ..base.threads import resolve_threads
from ..core.activations import ACTIVATIONS
from ..datasets import Dataset
from ..datasets.catalog import Name, check_source
from ..errors import DataError
from ..training.corruptions import CORRUPTIONS, Corruption
from ..training.distributed import TIMEOUT, current
from ..training.objective import losses_of
from ..training.optimizers import RULES, SGD
from ..training.schedule import DEFAULT_BATCH_SIZE
from ..training.sizes import LEARNING_RATE

_P = ParamSpec("_P")
_R = TypeVar("_R")

DATASETS: tuple[str, ...] = get_args(Name)
DTYPE = "float32"
AUTO, NONE = "auto", "none"
_GIVEN = "(a Dataset object)"  # no command line repeats it
_OWN_EXECUTOR = "(an Executor object)"  # nor this
EXECUTORS = ("threads", "processes", "dask", "mpi")

#: Decoders, each with the losses that take it.
_DECODERS = {decoder: losses_of(decoder) for decoder in ("linear", "sigmoid")}
_LOSSES = list(dict.fromkeys(loss for losses in _DECODERS.values() for loss in losses))


def _restored_by(decoder: str) -> list[str]:
    """Return the activations all of whose codes a decoder can give."""
    low, high = ACTIVATIONS[decoder].low, ACTIVATIONS[decoder].high
    return [name for name, codes in ACTIVATIONS.items() if low <= codes.low and codes.high <= high]


class Arm(NamedTuple):
    """How the hidden layers of an arm begin."""

    init: str  # of its network
    pretrained: bool
    words: str


#: Settings that have no influence on an arm without pretraining.
OF_PRETRAINING = ("pretrain_steps", "tune_steps", "corruption", "loss", "decoder")
ARMS = {
    "pretrained": Arm("normal", True, "hidden layers trained one by one as autoencoders first"),
    "normal": Arm("normal", False, "random hidden weights alone, normally distributed N(0, 0.01²)"),
    "he": Arm("he", False, "random hidden weights alone, N(0, 2/n_in), as He and others have them"),
}


def _check_dataset(name: str, value: object) -> str:
    if isinstance(value, Dataset) or value == _GIVEN:
        return _GIVEN
    return check_choice(name, value, DATASETS)


def _check_folder(name: str, value: object) -> str | None:
    return None if value is None else str(check_path(name, value))


def _check_arms(name: str, value: object) -> tuple[str, ...]:
    value = [value] if isinstance(value, str) else value  # ("normal") is no tuple in Python
    if not isinstance(value, Sequence) or not value:
        raise DataError(f"{name}: expected a sequence of {', '.join(ARMS)}, got {shown(value)}")
    return tuple(dict.fromkeys(check_choice(name, arm, tuple(ARMS)) for arm in value))


def _check_steps(name: str, value: Any) -> int | tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return check_int(name, value, 0)
    return tuple(check_int(f"{name}[{at}]", one, 0) for at, one in enumerate(value))


def _check_activation(name: str, value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return check_choice(name, value, list(ACTIVATIONS))
    return tuple(check_choice(name, one, list(ACTIVATIONS)) for one in value)


def _check_rate(name: str, value: Any) -> float | str | None:
    by_name = value is None or (isinstance(value, str) and value == AUTO)
    return value if by_name else check_float(name, value, positive=True)


def _noise(name: str, text: Any) -> Corruption | None:
    """Return the noise of a name, or of a name and its first setting, such as ``masking:0.25``."""
    kind, colon, amount = text.partition(":") if isinstance(text, str) else (text, "", "")
    if check_choice(name, kind, known := [NONE, *CORRUPTIONS]) == NONE:
        check_choice(name, text, known)  # nothing stands behind it
        return None
    try:
        value = [float(amount)] if colon else []
    except ValueError:
        raise DataError(f"{name}: expected a number after {kind}:, got {amount!r}") from None
    try:
        return CORRUPTIONS[kind](*value)
    except DataError as error:
        raise DataError(f"{name}: expected {kind}:VALUE to fit, got {error}") from None


def _named(noise: Any) -> str:
    """Write a noise as `_noise` reads it."""
    first = next(field for field in dataclasses.fields(noise) if not field.kw_only)
    return f"{noise.name}:{getattr(noise, first.name)}"


def _check_noise(name: str, value: Any) -> str:
    noise = _noise(name, NONE if value is None else value)
    return NONE if noise is None else _named(noise)


def _check_executor(name: str, value: object) -> str:
    if isinstance(value, Executor) or value == _OWN_EXECUTOR:
        return _OWN_EXECUTOR
    return check_choice(name, value, EXECUTORS)


def _check_address(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise DataError(f"{name}: expected the address of a scheduler, got {shown(value)}")
    return value


def _check_shard(name: str, value: Any) -> tuple[int, int] | None:
    """Return the number of a part and how many there are, of "3/16" or such a pair."""
    if value is None:
        return None
    part = value.split("/") if isinstance(value, str) else value
    try:
        index, count = (int(one) if isinstance(value, str) else one for one in part)
        count = check_int(name, count, 1)
        return check_int(name, index, 1, count), count
    except (ValueError, TypeError):  # DataError is one
        raise DataError(
            f"{name}: expected I/N, the part of all runs with I from 1 to N, got {shown(value)}"
        ) from None


def _check_grid(name: str, value: Any) -> dict[str, tuple[Any, ...]]:
    """Return the values of each setting, of a mapping or of several of them."""
    known = {option.name: option for option in StudySettings.varied()}
    parts = [value or {}] if value is None or isinstance(value, Mapping) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(one, Mapping) for one in parts):
        raise DataError(
            f"{name}: expected values for any of {', '.join(known)}, got {shown(value)}"
        )
    grid: dict[str, tuple[Any, ...]] = {}
    for key, values in (item for part in parts for item in part.items()):
        option = known[check_choice(name, key, list(known))]
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise DataError(f"{name}: {key}: expected a list of values, got {shown(values)}")
        if None in values:  # whose meaning depends on others
            raise DataError(f"{name}: {key}: expected values, got None")
        checked = (option.metadata["check"](f"{name}: {key}", one) for one in values)
        grid[key] = tuple(dict.fromkeys([*grid.get(key, ()), *checked]))
    return grid


def _read_grid(text: str) -> dict[str, list[Any]]:
    """Read ``OPTION=VALUE,VALUE``; what a value has for each layer stands between slashes."""
    name, equals, values = text.partition("=")
    name = name.removeprefix("--").replace("-", "_")
    option = {option.name: option for option in StudySettings.varied()}.get(name)
    if not equals or option is None:
        raise ValueError
    read = option.metadata["read"]

    def value(part: str) -> Any:
        try:
            return read(part.replace("/", ","))
        except ValueError:
            return part  # its check says what was expected

    return {name: [value(part) for part in values.split(",")]}


def _setting(
    default: Any,
    check: Callable[[str, Any], Any],
    words: str = "",
    *,
    group: str,
    read: Callable[[str], Any] = int,
    metavar: str = "N",
    free: bool = False,
    repeated: bool = False,
) -> Any:
    """Describe a setting.

    `check` takes name and value, and returns the value as the record holds it. For the command line
    there are `words` under the heading `group`, and `read` for a text (ValueError if it cannot).
    What is `free` may differ where a run is resumed: it changes nothing that has been computed, or
    is the data, which are compared themselves. What is `repeated` may be given several times.
    """
    about = {"check": check, "words": words, "group": group, "read": read, "metavar": metavar}
    about |= {"free": free, "repeated": repeated}
    return dataclasses.field(default=default, metadata=about)


def _as_in(kind: type[Any], name: str, *, default: Any = ..., **about: Any) -> Any:
    """Describe a setting as another record does, but for what is said here."""
    option = next(option for option in dataclasses.fields(kind) if option.name == name)
    value = option.default if default is ... else default
    return dataclasses.field(default=value, metadata={**option.metadata, **about})


_count = partial(check_int, minimum=1)
_count_or_none = partial(check_int, minimum=0)

_data = partial(_setting, group="data", read=str, metavar="DIR", free=True)
_training = partial(_setting, group="training")
_output = partial(_setting, group="output")
_network = partial(_setting, group="network and arms")
_autoencoder = partial(_setting, group="autoencoder")
_study = partial(_setting, group="study", free=True)
_execution = partial(_setting, group="execution", read=str, free=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that all experiments have; each field as its check returns it."""

    command: ClassVar[str]

    activation: str | tuple[str, ...] = _autoencoder(
        "relu",
        _check_activation,
        f"of all hidden layers, or one for each: {', '.join(ACTIVATIONS)}",
        read=lambda text: text.split(",") if "," in text else text,
        metavar="NAME[,NAME,...]",
    )
    decoder: str = _autoencoder(
        "linear",
        partial(check_choice, choices=list(_DECODERS)),
        "activation of what decoders give; sigmoid: from 0 to 1, as pixels are",
        read=str,
        metavar=f"{{{','.join(_DECODERS)}}}",
    )
    loss: str = _autoencoder(
        "squared_error",
        partial(check_choice, choices=_LOSSES),
        f"of reconstructions: {', '.join(_DECODERS['linear'])}; with --decoder sigmoid "
        f"{', '.join(loss for loss in _LOSSES if loss not in _DECODERS['linear'])} too",
        read=str,
        metavar="NAME",
    )
    corruption: str = _autoencoder(
        NONE,
        _check_noise,
        "noise on what is read, a share of features or a standard deviation: "
        + ", ".join(_named(kind()) for kind in CORRUPTIONS.values()),
        read=str,
        metavar="NAME[:VALUE]",
    )
    dataset: str = _data(
        "auto",
        _check_dataset,
        "auto: MNIST from --data-dir, $SAE_FAST_DATA_DIR, the cache or a download, else strokes; "
        "strokes: digits that the package draws itself; "
        "idx: any data set in MNIST's format from --data-dir",
        metavar=f"{{{','.join(DATASETS)}}}",
    )
    data_dir: str | None = _data(None, _check_folder, "folder with IDX files, plain or .gz")
    offline: bool = _data(False, check_bool, "never use the network")
    batch_size: int | None = _training(
        None,
        lambda name, value: None if value is None else _count(name, value),
        f"(default: {DEFAULT_BATCH_SIZE}, or all training samples if there are fewer)",
    )
    optimizer: str = _training(
        "adam",
        partial(check_choice, choices=list(RULES)),
        "of every training",
        read=str,
        metavar=f"{{{','.join(RULES)}}}",
    )
    learning_rate: float | str | None = _training(
        None,
        _check_rate,
        f"{AUTO}: what fits the samples (default: {LEARNING_RATE}; of sgd: {AUTO})",
        read=lambda text: text if text == AUTO else float(text),
        metavar="RATE",
    )
    eval_every: int = _training(
        100, _count_or_none, "steps between evaluations; 0: only at the end of each phase"
    )
    seed: int = _training(0, _count_or_none, "of weights, noise and the order of samples")
    threads: int | None = _training(
        None,
        lambda name, value: None if value is None else resolve_threads(value, name),
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
    resume: bool = _output(
        False, check_bool, "go on from the checkpoint in DIR, with its settings and data"
    )
    quiet: bool = _output(False, check_bool, "no progress and no summary, only errors")

    def __post_init__(self) -> None:
        """Check every setting, by the name that its user knows."""
        for option in dataclasses.fields(self):
            value = option.metadata["check"](option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, value)
        if self.learning_rate is None:
            rate = AUTO if self.optimizer == SGD.name else LEARNING_RATE
            object.__setattr__(self, "learning_rate", rate)
        check_source(self.dataset, self.data_dir)
        codes = self._per_layer("activation")
        self._check_fit(codes[:-1])

    def _per_layer(self, name: str) -> list[Any]:
        """Return the values of a setting that hidden layers have; all equal, it holds one."""
        values = per_layer(name, getattr(self, name), self.n_layers)
        if len(set(values)) == 1:  # one spelling of the same
            object.__setattr__(self, name, values[0])
        return values

    @property
    def n_layers(self) -> int:
        """Hidden layers, each of which an autoencoder learns."""
        return 1

    def _check_fit(self, restored: list[str]) -> None:
        """Check that decoder and loss fit each other, and the codes that decoders restore."""
        fits = self.loss in _DECODERS[self.decoder]
        if fits and {*restored} <= {*_restored_by(self.decoder)}:
            return
        among = "" if not restored else f" and activation {written(self.activation)}"
        name, others = ("decoder", "loss") if fits else ("loss", "decoder")
        together = []
        for decoder, losses in _DECODERS.items():
            codes = _restored_by(decoder)
            free = len(codes) == len(ACTIVATIONS)
            which = "any activation" if free else f"activation {', '.join(codes)}"
            below = f", {which} below the last layer" if restored else ""
            together.append(f"decoder {decoder}{below}, loss {', '.join(losses)}")
        raise DataError(
            f"{name}: expected one that fits {others} {getattr(self, others)}{among}, got "
            f"{getattr(self, name)!r}; what fits together: {'; or '.join(together)}"
        )

    def config(self) -> dict[str, Any]:
        """Return what goes into ``result.json``: all but where and how results are shown."""
        values = {
            option.name: getattr(self, option.name)
            for option in options(type(self))
            if option.metadata["group"] not in ("output", "execution")
        }
        return {**{name: listed(value) for name, value in values.items()}, "dtype": DTYPE}

    def identity(self) -> dict[str, Any]:
        """Return the part of `config` that a run has in common with what it is resumed from."""
        free = {option.name for option in options(type(self)) if option.metadata["free"]}
        return {name: value for name, value in self.config().items() if name not in free}

    def kept(self) -> dict[str, Any]:
        """Return what else a checkpoint keeps: what a resumed run takes over if it is given none.

        And how many trainings the run has, `trainings`.
        """
        free = [
            option.name
            for option in options(type(self))
            if option.metadata["free"] and option.metadata["group"] != "execution"
        ]
        values = {name: getattr(self, name) for name in free if name != "threads"}
        if self.dataset not in DATASETS:  # no name can bring it back
            del values["dataset"]
        if self.data_dir is not None:
            values["data_dir"] = str(Path(self.data_dir).absolute())
        return {**values, "trainings": len(self.stages())}

    def stages(self) -> list[int]:
        """Return the steps of each training of the run."""
        raise NotImplementedError

    def shared(self) -> dict[str, Any]:
        """Return what every training of the run takes."""
        shared = {name: getattr(self, name) for name in ("batch_size", "eval_every", "optimizer")}
        rate = None if self.learning_rate == AUTO else self.learning_rate
        return {**shared, "learning_rate": rate}

    def restoring(self) -> dict[str, Any]:
        """Return what a training takes beside that if it is of what autoencoders restore."""
        return {"loss": self.loss, "corruption": _noise("corruption", self.corruption)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointedSettings(Settings):
    """What a single run has beside these."""

    checkpoint_every: int = _output(
        0,
        _count_or_none,
        "steps between two checkpoints in DIR, the last two of which are kept; 0: none",
        free=True,
    )
    distributed: bool = _training(
        False,
        check_bool,
        "share each step out among the processes that mpiexec has started: the same result for any "
        "number of them, but not that of a run without",
    )
    distributed_timeout: float = _execution(
        TIMEOUT,
        partial(check_float, positive=True),
        "that a process waits for the others before it ends them all",
        read=float,
        metavar="SECONDS",
    )

    def __post_init__(self) -> None:
        """Check that a time to wait for others is given where there are others."""
        super().__post_init__()
        if self.distributed_timeout != TIMEOUT and not self.distributed and current() is None:
            raise DataError(
                f"distributed_timeout: expected {TIMEOUT:g} without distributed, got "
                f"{shown(self.distributed_timeout)}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(Settings):
    """What a comparison of networks has beside those that all have."""

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
    pretrain_steps: int | tuple[int, ...] = _network(
        3000,
        _check_steps,
        "for each layer, or one number for each; 0: the layer keeps its initial weights",
        read=lambda text: [int(part) for part in text.split(",")] if "," in text else int(text),
        metavar="N[,N,...]",
    )
    tune_steps: int = _network(
        0, _count_or_none, "after pretraining, for all layers as one autoencoder; 0: none"
    )
    finetune_steps: int = _network(
        30000, _count, "for each arm; more of them extend a run that is resumed", free=True
    )

    def __post_init__(self) -> None:
        """Check that each layer has its steps of pretraining."""
        super().__post_init__()
        self._per_layer("pretrain_steps")

    @property
    def n_layers(self) -> int:  # noqa: D102
        return len(self.hidden)

    def _check_fit(self, restored: list[str]) -> None:
        """Check that nothing is asked of autoencoders if there are none."""
        if not any(ARMS[arm].pretrained for arm in self.arms):
            of_none = {name: getattr(NetworkSettings, name) for name in OF_PRETRAINING[1:]}
            given = {name: getattr(self, name) for name in of_none}
            odd = [name for name in given if given[name] != of_none[name]]
            if odd:
                raise DataError(
                    f"{', '.join(odd)}: expected "
                    f"{', '.join(shown(of_none[name]) for name in odd)} without the arm "
                    f"pretrained, got {', '.join(shown(given[name]) for name in odd)}"
                )
        super()._check_fit(restored)

    def stages(self) -> list[int]:  # noqa: D102
        layers = per_layer("pretrain_steps", self.pretrain_steps, self.n_layers)
        layers = [steps for steps in [*layers, self.tune_steps] if steps]
        n_pretrained = sum(ARMS[arm].pretrained for arm in self.arms)
        return n_pretrained * layers + len(self.arms) * [self.finetune_steps]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(NetworkSettings, CheckpointedSettings):
    """The settings of `run_experiment`."""

    command: ClassVar[str] = "run"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructSettings(CheckpointedSettings):
    """The settings of `run_reconstruction`."""

    command: ClassVar[str] = "reconstruct"

    units: int = _autoencoder(100, check_width, "width of the code")
    steps: int = _autoencoder(1000, _count, "more of them extend a run that is resumed", free=True)
    weight_decay: float = _autoencoder(
        0.1,
        partial(check_float, positive=False),
        "L2 penalty on the weights",
        read=float,
        metavar="LAMBDA",
    )

    def stages(self) -> list[int]:  # noqa: D102
        return [self.steps]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudySettings(NetworkSettings):
    """The settings of `run_study`. What is `free` extends a study; all else has to stay."""

    command: ClassVar[str] = "study"

    seeds: int = _study(20, _count, "runs of each arm, one for each seed")
    grid: Mapping[str, tuple[Any, ...]] = _study(
        None,
        _check_grid,
        "an option of `sae-fast run` and its values, each tried with every arm and seed; several "
        "times for several options. What a value has for each layer stands between slashes: --grid "
        "hidden=100/50,30",
        read=_read_grid,
        metavar="OPTION=A,B",
        repeated=True,
    )
    arms: tuple[str, ...] = _as_in(NetworkSettings, "arms", default=tuple(ARMS), free=True)
    finetune_steps: int = _as_in(
        NetworkSettings, "finetune_steps", words="for each run", free=False
    )
    seed: int = _as_in(Settings, "seed", words="the first; each next one is 1 more", free=True)
    executor: str = _execution(
        "threads",
        _check_executor,
        "who computes the runs, each with one thread: threads of this process, processes of this "
        "machine, a Dask cluster, or the processes that mpiexec has started",
        metavar=f"{{{','.join(EXECUTORS)}}}",
    )
    threads: int | None = _as_in(
        Settings,
        "threads",
        words="runs at a time (default: what the process may use; with dask and mpi, all workers)",
        group="execution",
    )
    scheduler: str | None = _execution(
        None, _check_address, "of Dask's scheduler, such as tcp://host:8786", metavar="ADDRESS"
    )
    shard: tuple[int, int] | None = _execution(
        None,
        _check_shard,
        "only the I-th of N parts of the runs; other processes compute the others into the same "
        "folder, and who finds all there writes the results",
        metavar="I/N",
    )
    output: str | None = _as_in(
        Settings, "output", words="for a file of each run, study.json, tables and report.html"
    )
    resume: bool = _as_in(
        Settings,
        "resume",
        words="go on with the study in DIR, with its settings and data; more seeds, arms or values "
        "of the grid extend it",
    )

    def __post_init__(self) -> None:
        """Check what fits together, at every point of the grid."""
        given = self.learning_rate
        super().__post_init__()
        object.__setattr__(self, "learning_rate", given)  # optimizers of the grid have their own
        if self.scheduler is not None and self.executor != "dask":
            raise DataError(
                f"scheduler: expected none with executor {self.executor!r}, got {self.scheduler!r}"
            )
        for point in self.points():
            for arm in self.arms:
                try:
                    self.of_run(arm, point)
                except DataError as error:
                    where = ", ".join(
                        f"{option_name(name)}={in_grid(value)}" for name, value in point.items()
                    )
                    raise DataError(f"grid: expected what fits, got {where}; {error}") from None

    @classmethod
    def varied(cls) -> list[dataclasses.Field[Any]]:
        """Return the settings that a grid may have."""
        return [
            option
            for option in options(cls)
            if not option.metadata["free"] and option.metadata["group"] != "output"
        ]

    def extent(self) -> dict[str, Any]:
        """Return what says which runs a study has, and may be more when it is resumed."""
        config = self.config()
        return {name: config[name] for name in ("seed", "seeds", "arms", "grid")}

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each point of the grid; one without any if there is no grid."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def of_run(self, arm: str, point: Mapping[str, Any]) -> RunSettings:
        """Return the settings of a run of an arm: those of pretraining only if the arm has one.

        So runs that cannot differ have equal settings.
        """
        values = {option.name: getattr(self, option.name) for option in self.varied()}
        values.update(point)
        if not ARMS[arm].pretrained:
            for name in OF_PRETRAINING:
                values[name] = getattr(NetworkSettings, name)
        return RunSettings(**values, arms=(arm,), seed=self.seed, threads=1)

    def stages(self) -> list[int]:  # noqa: D102
        steps = [sum(self.of_run(a, p).stages()) for a in self.arms for p in self.points()]
        return self.seeds * steps


COMMANDS: dict[str, type[Settings]] = {
    kind.command: kind for kind in (RunSettings, ReconstructSettings, StudySettings)
}


def options(kind: type[Settings]) -> list[dataclasses.Field[Any]]:
    """Return the fields of a record, its own before those that others have."""
    shared = {option.name for option in dataclasses.fields(CheckpointedSettings)}
    return sorted(dataclasses.fields(kind), key=lambda option: option.name in shared)


def resumable(
    kept_in: Callable[[Path], Mapping[str, Any]],
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Let what resumes have the settings that its folder keeps, where it is given none."""

    def decorate(command: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(command)
        def run(*args: _P.args, **given: _P.kwargs) -> _R:
            if given.get("resume") and given.get("output") is not None:
                kept = kept_in(check_path("output", given["output"]))
                for name in inspect.signature(command).parameters.keys() & kept.keys():
                    given.setdefault(name, kept[name])
            return command(*args, **given)

        return run

    return decorate


def flag(name: str) -> str:
    """Write the name of a setting as an option."""
    return f"--{option_name(name)}"


def option_name(name: str) -> str:
    """Write the name of a setting as people read it, and as --grid has it."""
    return name.replace("_", "-")


def listed(value: Any) -> Any:
    """Turn tuples into lists, as JSON has them."""
    if isinstance(value, dict):
        return {name: listed(one) for name, one in value.items()}
    return [listed(one) for one in value] if isinstance(value, tuple) else value


def written_grid(grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """Write a grid as the command line's --grid reads it, each time that it is given."""
    return [f"{option_name(name)}={','.join(map(in_grid, each))}" for name, each in grid.items()]


def in_grid(value: object) -> str:
    """Write one value of a setting as the command line's --grid reads it."""
    return written(value).replace(",", "/")


def written(value: object) -> str:
    """Write the value of a setting as the command line reads it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
