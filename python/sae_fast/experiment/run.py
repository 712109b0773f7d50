# SPDX-License-Identifier: BSD-3-Clause
"""The article's two experiments: the comparison of arms, and one autoencoder's reconstructions.

Part B (`run_experiment`) pretrains a stack, fine-tunes it, and trains the same network without
pretraining beside it; part A (`run_reconstruction`) trains a single autoencoder. Times start when
the data is in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..base.checks import per_layer
from ..base.pca import PCA
from ..base.progress import Progress
from ..base.threads import resolve_threads
from ..core.environment import info
from ..datasets import Dataset
from ..errors import DataError, OutputError
from ..models.autoencoder import Autoencoder
from ..models.stacked import StackedAutoencoder
from ..plot.axes import has_matplotlib
from ..training.callbacks import Callback, ProgressBar, Training
from ..training.checkpoint import RunCheckpoint, read_latest
from ..training.distributed import Session, current, leads
from .arms import ArmOutcome, ArmTraining, layer_results, prepare_inputs, train_side_by_side
from .data import check_classes_differ, describe_data, load_data
from .pictures import PICTURES
from .results import LayerResult, Reconstructions
from .save import ExperimentResult, check_output, claimed_output
from .settings import CheckpointedSettings, ReconstructSettings, RunSettings, resumable

#: Samples shown in the picture of reconstructions: the first of the training set.
N_SHOWN = 10
#: Samples shown in the picture of codes: the first of the test set.
N_CODES = 2000
#: Steps that take about as long as a picture.
_PICTURE_STEPS = 1500

_S = TypeVar("_S", bound=CheckpointedSettings)
_Shown: TypeAlias = tuple[str, Autoencoder | StackedAutoencoder]  # a model, and what it is called
_Row: TypeAlias = tuple[str, NDArray[np.float32], float]  # of reconstructions


@resumable(lambda folder: read_latest(folder)[1][0])
def run_experiment(
    *,
    dataset: str | Dataset = RunSettings.dataset,
    data_dir: str | os.PathLike[str] | None = RunSettings.data_dir,
    hidden: Sequence[int] = RunSettings.hidden,
    arms: Sequence[str] = RunSettings.arms,
    pretrain_steps: int | Sequence[int] = RunSettings.pretrain_steps,
    tune_steps: int = RunSettings.tune_steps,
    finetune_steps: int = RunSettings.finetune_steps,
    activation: str | Sequence[str] = RunSettings.activation,
    decoder: str = RunSettings.decoder,
    loss: str = RunSettings.loss,
    corruption: str | None = RunSettings.corruption,
    batch_size: int | None = RunSettings.batch_size,
    optimizer: str = RunSettings.optimizer,
    learning_rate: float | str | None = RunSettings.learning_rate,
    eval_every: int = RunSettings.eval_every,
    seed: int = RunSettings.seed,
    threads: int | None = RunSettings.threads,
    output: str | os.PathLike[str] | None = RunSettings.output,
    distributed: bool = RunSettings.distributed,
    distributed_timeout: float = RunSettings.distributed_timeout,
    checkpoint_every: int = RunSettings.checkpoint_every,
    resume: bool = RunSettings.resume,
    quiet: bool = RunSettings.quiet,
    offline: bool = RunSettings.offline,
) -> ExperimentResult:
    """Compare a pretrained network with the same network trained from random weights.

    What ``sae-fast run`` does; the keyword arguments are its options.

    Parameters
    ----------
    dataset : {"auto", "mnist", "strokes", "idx"} or Dataset
        See :func:`sae_fast.datasets.load`.
    data_dir : path-like, optional
        Folder with IDX files; nothing else is taken then.
    hidden : sequence of int
        Units of each hidden layer.
    arms : sequence of {"pretrained", "normal", "he"}
        The networks to compare. ``pretrained``: layer by layer, then fine-tuned; ``normal``:
        fine-tuned from random weights alone, normally distributed N(0, 0.01²); ``he``: from
        N(0, 2/n_in). They share the softmax layer's initial values, the
        draws behind all others and the order of the fine-tuning batches.
    pretrain_steps : int or sequence of int
        For all layers, or for each. A layer of 0 steps enters fine-tuning with the weights that it
        has in the arm ``normal``, and the layers above it learn from the codes that these give. If
        all have 0, and `tune_steps` is 0, the two arms are the same, bit for bit.
    finetune_steps : int
        For each arm.
    tune_steps : int
        Between them, for all layers of the pretrained network as one autoencoder
        (:meth:`StackedAutoencoder.finetune_autoencoder`); 0: none.
    activation : str or sequence of str
        Of all hidden layers, or one for each; of :data:`sae_fast.activations.NAMES`.
        ``["sigmoid"] * 3 + ["linear"]`` has a linear code.
    decoder : {"linear", "sigmoid"}
        Activation of what the decoders give. The one of the first autoencoder restores samples, the
        others codes, so that "sigmoid" needs codes from 0 to 1 of all hidden layers but the last:
        those of ``activation="sigmoid"``.
    loss : str
        Of reconstructions, as in :meth:`Autoencoder.fit`. "binary_cross_entropy" and "poisson" need
        ``decoder="sigmoid"``.
    corruption : str, optional
        Noise on what autoencoders read: "masking", "gaussian", "salt_and_pepper" or "swap" of
        :mod:`sae_fast.corruptions`, or one with the value of its first argument, "masking:0.25".
        None, or "none": no noise.
    batch_size : int, default 100, or all training samples if there are fewer
    optimizer : {"adam", "adamw", "sgd", "rmsprop"}
        Of every training.
    learning_rate : float or "auto", default 0.001, or "auto" of "sgd"
        "auto": what fits the samples, as in :meth:`Autoencoder.fit`.
    eval_every : int
        Steps between evaluations; 0: only at the end of each phase.
    seed : int
    threads : int, optional
        Default: as many as the process may use, or ``OMP_NUM_THREADS`` if that is fewer. No
        influence on any result.
    output : path-like, optional
        Folder for `ExperimentResult.save`; checked before training starts. Default: none, nothing
        is written.
    distributed : bool
        Share each step out among the processes that ``mpiexec`` has started, as in a
        :func:`sae_fast.distributed.session`, whose order of sums and errors are those of the run.
        The first process alone writes and shows. True where such a session is open. An error ends
        all processes, one of an argument that does not fit among them, unless it is caught within a
        session that the program has opened around this.
    distributed_timeout : float
        Seconds that a process waits for the others before it ends them all.
    checkpoint_every : int
        Steps between two checkpoints in `output`, of which the last two are kept; 0: none.
    resume : bool
        Go on from the checkpoint in `output`, with its settings where none are given. The results
        are those of a run without a break. More `finetune_steps` extend a run, also one that has
        ended; what else is given has to be as it was.
    quiet : bool
        No progress on stderr.
    offline : bool
        Never use the network.

    Returns
    -------
    ExperimentResult

    Raises
    ------
    DataError
        If an argument does not fit.
    DatasetUnavailableError
        If the data set is not there and cannot be downloaded.
    CheckpointError
        If a checkpoint cannot be written, `output` holds that of a run that has not ended and
        `resume` is False, or there is none of this run to resume from.
    OutputError
        If `output` cannot be written, holds files that no ``sae-fast run`` has written, or another
        run is using it.
    DivergenceError
        If a loss or a parameter becomes NaN or infinite.

    Examples
    --------
    >>> import sae_fast
    >>> data = sae_fast.datasets.load_strokes(n_train=500, n_test=100)
    >>> result = sae_fast.run_experiment(
    ...     dataset=data, hidden=[20, 10], pretrain_steps=50, finetune_steps=100, quiet=True
    ... )
    >>> list(result.arms)
    ['pretrained', 'normal']
    """
    with _Run(RunSettings(**locals()), dataset) as run:
        return _compare(run, run.settings)


def _compare(run: _Run[RunSettings], settings: RunSettings) -> ExperimentResult:
    check_classes_differ(run.data)
    outcomes = _trained(run, settings)
    seconds = time.perf_counter() - run.started
    models = {arm: outcome.model for arm, outcome in outcomes.items()}
    for net in models.values():
        net.n_threads = run.threads
    pretrained = outcomes.get("pretrained")
    codes: dict[str, NDArray[np.float32]] = {}
    shown: list[_Shown] = []
    pretraining: list[LayerResult] = []
    tuning = None
    if pretrained is not None:
        net, pretraining, tuning = pretrained.model, pretrained.pretraining, pretrained.tuning
        stack = pretrained.untuned or net
        shown = [("first autoencoder", stack.autoencoders[0]), ("whole stack", stack)]
        codes = {"pretrained": _restored_from(stack, run.inputs[1])}
        if tuning is not None:
            shown.append(("tuned stack", net))
            codes["pretrained, then tuned"] = _restored_from(net, run.inputs[1])
        codes[f"{list(codes)[-1]}, then fine-tuned"] = net.encode(run.inputs[1])
    return run.result(
        shown,
        codes,
        seconds=seconds,
        pretraining=pretraining,
        tuning=tuning,
        arms={arm: outcome.arm for arm, outcome in outcomes.items()},
        models=models,
        first_weights={arm: net.parameters["W1"] for arm, net in models.items()},
        predictions={
            arm: run.data.named(net.predict(run.inputs[1])) for arm, net in models.items()
        },
    )


def _trained(run: _Run[RunSettings], settings: RunSettings) -> dict[str, ArmOutcome]:
    shared = settings, run.data, run.inputs, run.threads, run.callbacks
    begun = {arm: ArmTraining(arm, *shared) for arm in settings.arms}
    for arm in begun.values():  # pretraining makes good use of all threads, fine-tuning of one
        arm.pretrain()
    return train_side_by_side(
        lambda name, share: begun[name].finetune(share), settings.arms, run.threads
    )


def _restored_from(net: StackedAutoencoder, x: Any) -> Any:
    """Return the codes of a stack's autoencoders, which fine-tuning has not changed."""
    for autoencoder in net.autoencoders:
        x = autoencoder.encode(x)
    return x


@resumable(lambda folder: read_latest(folder)[1][0])
def run_reconstruction(
    *,
    dataset: str | Dataset = ReconstructSettings.dataset,
    data_dir: str | os.PathLike[str] | None = ReconstructSettings.data_dir,
    units: int = ReconstructSettings.units,
    steps: int = ReconstructSettings.steps,
    weight_decay: float = ReconstructSettings.weight_decay,
    activation: str | Sequence[str] = ReconstructSettings.activation,
    decoder: str = ReconstructSettings.decoder,
    loss: str = ReconstructSettings.loss,
    corruption: str | None = ReconstructSettings.corruption,
    batch_size: int | None = ReconstructSettings.batch_size,
    optimizer: str = ReconstructSettings.optimizer,
    learning_rate: float | str | None = ReconstructSettings.learning_rate,
    eval_every: int = ReconstructSettings.eval_every,
    seed: int = ReconstructSettings.seed,
    threads: int | None = ReconstructSettings.threads,
    output: str | os.PathLike[str] | None = ReconstructSettings.output,
    distributed: bool = ReconstructSettings.distributed,
    distributed_timeout: float = ReconstructSettings.distributed_timeout,
    checkpoint_every: int = ReconstructSettings.checkpoint_every,
    resume: bool = ReconstructSettings.resume,
    quiet: bool = ReconstructSettings.quiet,
    offline: bool = ReconstructSettings.offline,
) -> ExperimentResult:
    """Train one autoencoder and show what is left of a few samples, beside a PCA of its width.

    What ``sae-fast reconstruct`` does; the keyword arguments are its options.

    Parameters
    ----------
    units : int
        Width of the code, and number of principal components.
    steps : int
    weight_decay : float
        L2 penalty on the weights.
    dataset, data_dir, activation, decoder, loss, corruption, batch_size, optimizer, \
    learning_rate, eval_every, seed, threads, output, distributed, distributed_timeout, \
    checkpoint_every, resume, quiet, offline
        As in :func:`run_experiment`.

    Returns
    -------
    ExperimentResult
        With the autoencoder in `pretraining` and `models`, and no arms.

    Raises
    ------
    DataError, DatasetUnavailableError, OutputError, DivergenceError
        As in :func:`run_experiment`.

    Examples
    --------
    >>> import sae_fast
    >>> data = sae_fast.datasets.load_strokes(n_train=500, n_test=100)
    >>> result = sae_fast.run_reconstruction(dataset=data, units=20, steps=50, quiet=True)
    >>> [label for label, _, _ in result.reconstructions.rows]
    ['autoencoder (20 units)', 'PCA (20 components)']
    """
    with _Run(ReconstructSettings(**locals()), dataset) as run:
        settings = run.settings
        (function,) = per_layer("activation", settings.activation, 1)
        autoencoder = Autoencoder(
            run.inputs[0].n_features,
            settings.units,
            weight_decay=settings.weight_decay,
            activation=function,
            output=settings.decoder,
            init="normal",
            seed=settings.seed,
            n_threads=run.threads,
        )
        autoencoder._warns = False  # the report says what there is to say
        history = autoencoder.fit(
            run.inputs[0],
            steps=settings.steps,
            **settings.shared(),
            **settings.restoring(),
            scale=run.data.scale,
            callbacks=run.callbacks,
        )
        seconds = time.perf_counter() - run.started
        sizes = (autoencoder.n_features, settings.units)
        dead_units = autoencoder.count_dead_units(run.inputs[0])
        return run.result(
            [("autoencoder", autoencoder)],
            {f"autoencoder ({settings.units} units)": autoencoder.encode(run.inputs[1])},
            seconds=seconds,
            pretraining=layer_results(sizes, [history], [dead_units]),
            arms={},
            models={"autoencoder": autoencoder},
            first_weights={"autoencoder": autoencoder.parameters["W_enc"]},
        )


class _Stages(ProgressBar):
    """Counts the trainings of a run, and shows how long all of them and the pictures will take."""

    def __init__(self, steps: list[int], pictures: int) -> None:
        self._n_stages = len(steps) + 1
        self._begun = itertools.count(1)
        self._lock = threading.Lock()  # of arms side by side
        self._pictures = pictures
        self._whole = Progress("whole run", sum(steps) + pictures)

    def _numbered(self, title: str) -> str:
        return f"{next(self._begun)} of {self._n_stages}, {title}"

    def _title(self, training: Training) -> str:
        with self._lock:
            self._whole.skip(training.step)
        return self._numbered(training.title)

    def on_step(self, training: Training) -> None:
        """Move both bars."""
        before = training.state[self].done
        super().on_step(training)
        with self._lock:
            self._whole.advance(training.step - before)

    @contextlib.contextmanager
    def results(self) -> Iterator[Callable[[], None]]:
        """Show the last stage, after the trainings; give what is to be called after each step."""
        title = "results and pictures" if self._pictures else "results"
        n_steps = len(PICTURES) + 1 if self._pictures else 1
        with Progress(self._numbered(title), n_steps) as progress:

            def advance() -> None:
                progress.advance(1)
                self._whole.advance(self._pictures // n_steps)

            yield advance
            while progress.done < n_steps:  # where pictures could not be drawn
                advance()

    def close(self) -> None:
        """Leave it as it stands."""
        self._whole.close()


class _Run(Generic[_S]):
    """What both experiments do before their training, and after it."""

    def __init__(self, settings: _S, dataset: str | Dataset) -> None:
        with contextlib.ExitStack() as held:
            if settings.distributed and current() is None:
                held.enter_context(Session(None, settings.distributed_timeout))
            distributed, quiet = current() is not None, settings.quiet or not leads()
            self.threads = threads = resolve_threads(settings.threads)
            settings = dataclasses.replace(
                settings, distributed=distributed, quiet=quiet, threads=threads
            )
            if settings.output is not None and leads():
                check = partial(check_output, command=settings.command)
                held.enter_context(claimed_output(settings.output, check))
            self.data, self.settings = data, settings = load_data(settings, dataset)
            self.callbacks = self._checkpoint()
            self._stages: _Stages | None = None
            if not settings.quiet:
                drawn = settings.output is not None and has_matplotlib()
                pictures = (len(PICTURES) + 1) * _PICTURE_STEPS if drawn else 0
                self._stages = _Stages(settings.stages(), pictures)
                self.callbacks.append(self._stages)
                held.callback(self._stages.close)
            self.started = time.perf_counter()
            self.inputs = prepare_inputs(data, threads)
            self._held = held.pop_all()

    def __enter__(self) -> _Run[_S]:
        return self

    def __exit__(self, *error: Any) -> None:
        self._held.__exit__(*error)

    def _checkpoint(self) -> list[Callback]:
        """Return the callback that keeps the run, if it is to be kept or taken up again.

        No run leaves its results beside another's checkpoint: one that has ended is removed, one
        that could go on refused.
        """
        settings, every = self.settings, self.settings.checkpoint_every
        keeps = every or settings.resume
        if settings.output is None:
            if keeps:
                name = "checkpoint_every" if every else "resume"
                raise DataError(f"{name}: expected output, the folder of checkpoints, got none")
            return []
        if not keeps:
            if leads():
                RunCheckpoint(settings.output, 0, resume=False).replace()
            return []
        kept = settings.kept()
        run = {**kept, **settings.identity(), "data": self.data.sha256}
        checkpoint = RunCheckpoint(settings.output, every, resume=False, run=run)
        if settings.resume:
            checkpoint.load(free=kept, defaults=type(settings)().identity())
        elif leads():
            checkpoint.replace()
        return [checkpoint]

    def result(
        self, shown: Sequence[_Shown], codes: dict[str, NDArray[np.float32]], **found: Any
    ) -> ExperimentResult:
        """Put the result together, with reconstructions of what is to be shown, and save it."""
        settings, shows = self.settings, bool(shown) and leads()
        stage = self._stages.results() if self._stages else contextlib.nullcontext(lambda: None)
        with stage as after_each:
            data, codes = self.data, {name: rows[:N_CODES].copy() for name, rows in codes.items()}
            restored = _restored(data, self.inputs[0], shown) if shows else []
            del self.inputs  # their memory is the PCA's now
            result = ExperimentResult(
                command=settings.command,
                dataset=describe_data(data),
                config=settings.config(),
                environment={name: fact for name, fact in info().items() if name != "executable"},
                reconstructions=_beside_pca(data, restored, shown) if shows else None,
                resumed=settings.resume,
                y_test=data.named(data.y_test),
                codes=codes,
                **found,
            )
            del data, self.data  # and that of the samples the pictures'
            after_each()
            if settings.output is not None and leads():
                try:
                    result._save(settings.output, after_each)
                except OutputError as error:
                    error.result = result
                    raise
        return result


def _restored(data: Dataset, x: Any, models: Sequence[_Shown]) -> list[_Row]:
    """Return the first training samples through each model, and its error over all of them."""
    shown = data.x_train[:N_SHOWN]
    return [
        (
            f"{label} ({model.n_hidden} units)",
            model.reconstruct(shown, scale=data.scale),
            model.reconstruction_error(x),
        )
        for label, model in models
    ]


def _beside_pca(data: Dataset, restored: list[_Row], models: Sequence[_Shown]) -> Reconstructions:
    """Put a PCA of the same width after each model."""
    scale = 1.0 if data.scale is None else data.scale
    shown = data.x_train[:N_SHOWN]
    pca = PCA(data.x_train, scale)
    rows: list[_Row] = []
    for row, (_, model) in zip(restored, models, strict=True):
        rows.append(row)
        n_components = min(model.n_hidden, data.x_train.shape[1])
        pca_label = f"PCA ({n_components} components)"
        if all(pca_label != row[0] for row in rows):
            pca_images = pca.reconstruct(shown, n_components)
            rows.append((pca_label, pca_images, pca.mean_squared_error(n_components)))
    return Reconstructions(np.multiply(shown, scale, dtype=np.float32), rows, data.image_shape)
