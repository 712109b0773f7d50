# SPDX-License-Identifier: BSD-3-Clause
"""The article's two experiments: the comparison of arms, and one autoencoder's reconstructions.

Part B (`run_experiment`) pretrains a stack, fine-tunes it, and trains the same network without
pretraining beside it; part A (`run_reconstruction`) trains a single autoencoder. Times start when
the data is in memory.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..base.checks import (
    check_choice,
    check_float,
    check_int,
    check_path,
    check_seed,
    check_sizes,
    check_width,
)
from ..base.pca import PCA
from ..base.threads import resolve_threads
from ..core.environment import info
from ..core.inputs import as_input
from ..datasets import Dataset
from ..errors import DataError
from ..models.autoencoder import Autoencoder
from ..models.stacked import StackedAutoencoder
from ..training.callbacks import Callback, Training
from ..training.checkpoint import RunCheckpoint
from ..training.history import History
from .results import (
    ArmResult,
    ExperimentResult,
    LayerResult,
    Reconstructions,
    check_output,
)

ARMS = ("pretrained", "normal", "he")
DATASETS = ("auto", "mnist", "strokes", "idx")
HIDDEN = (100, 50, 25, 12, 5, 5)

#: Samples shown in the picture of reconstructions: the first of the training set.
N_SHOWN = 10
#: Samples shown in the picture of codes: the first of the test set.
N_CODES = 2000


def run_experiment(
    *,
    dataset: str | Dataset = "auto",
    data_dir: str | os.PathLike[str] | None = None,
    hidden: Sequence[int] = HIDDEN,
    arms: Sequence[str] = ("pretrained", "normal"),
    pretrain_steps: int = 3000,
    finetune_steps: int = 30000,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    eval_every: int = 100,
    seed: int = 0,
    threads: int | None = None,
    output: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 0,
    resume: bool = False,
    quiet: bool = False,
    offline: bool = False,
) -> ExperimentResult:
    """Compare a pretrained network with the same network trained from random weights.

    What ``sae-fast run`` does; the keyword arguments are its options.

    Parameters
    ----------
    dataset : {"auto", "mnist", "strokes", "idx"} or Dataset
        See :func:`sae_fast.datasets.load`.
    data_dir : path-like, optional
        Folder with IDX files.
    hidden : sequence of int
        Units of each hidden layer.
    arms : sequence of {"pretrained", "normal", "he"}
        ``pretrained``: layer by layer, then fine-tuned; ``normal``: fine-tuned from N(0, 0.01²);
        ``he``: fine-tuned from N(0, 2/n_in). They share the softmax layer's initial values, the
        draws behind all others and the order of the fine-tuning batches.
    pretrain_steps, finetune_steps : int
        For each layer; for each arm.
    batch_size : int
    learning_rate : float
    eval_every : int
        Steps between evaluations; 0: only at the end of each phase.
    seed : int
    threads : int, optional
        Default: as many as the process may use. No influence on any result.
    output : path-like, optional
        Folder for `ExperimentResult.save`; checked before training starts. Default: none, nothing
        is written.
    checkpoint_every : int
        Steps between two checkpoints in `output`, of which the last two are kept; 0: none.
    resume : bool
        Go on from the checkpoint in `output`. The results are those of a run without a break.
    quiet : bool
        No progress bars on stderr.
    offline : bool
        Open no socket.

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
        If a checkpoint cannot be written or would be replaced by a run that does not resume from
        it, or there is none of this run to resume from.
    OutputError
        If `output` cannot be written.
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
    hidden = check_sizes("hidden", hidden)
    if isinstance(arms, str) or not arms:
        raise DataError(f"arms: expected a sequence of {', '.join(ARMS)}, got {arms!r}")
    arms = tuple(dict.fromkeys(check_choice("arms", arm, ARMS) for arm in arms))
    config = {
        "dataset": _dataset_name(dataset),
        "data_dir": None if data_dir is None else str(check_path("data_dir", data_dir)),
        "hidden": list(hidden),
        "arms": list(arms),
        "pretrain_steps": check_int("pretrain_steps", pretrain_steps, 1),
        "finetune_steps": check_int("finetune_steps", finetune_steps, 1),
        **_common_config(batch_size, learning_rate, eval_every, seed, threads, offline),
    }
    data = _load(dataset, data_dir, offline=offline, quiet=quiet)
    _check_batch_size(batch_size, data)
    if output is not None:
        check_output(output)
    every = check_int("checkpoint_every", checkpoint_every, 0)
    checkpoint = _checkpoint(output, config, data, every, resume)

    started = time.perf_counter()
    n_threads = config["threads"]
    x, x_test = _inputs(data, n_threads)
    cancelled = threading.Event()
    training: dict[str, Any] = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "eval_every": eval_every,
        "callbacks": [*checkpoint, _Cancellation(cancelled)],
        "progress": not quiet,
        "scale": data.scale,
    }
    models = {
        arm: StackedAutoencoder(
            [data.x_train.shape[1], *hidden],
            data.n_classes,
            seed=seed,
            init="he" if arm == "he" else "normal",
            n_threads=n_threads,
        )
        for arm in arms
    }

    def finetune(arm: str) -> ArmResult:
        history = models[arm].finetune(
            x,
            data.y_train,
            steps=finetune_steps,
            eval_set=(x_test, data.y_test),
            title=f"fine-tuning, {arm}",
            **training,
        )
        dead_units = models[arm].count_dead_units(x_test)
        return ArmResult(history.steps, history.loss, history.accuracy, dead_units, history.seconds)

    pretraining: list[LayerResult] = []
    if "pretrained" in models:
        net = models["pretrained"]
        histories = net.pretrain(x, steps=pretrain_steps, **training)
        pretraining = _layer_results(net.sizes, histories, net.count_dead_units(x))
    results = _train_together(finetune, models, n_threads, cancelled)
    seconds = time.perf_counter() - started

    result = ExperimentResult(
        "run", _describe(data), config, pretraining, results, seconds, info(), models=models
    )
    result.first_weights = {arm: net.parameters["W1"] for arm, net in models.items()}
    result.y_test = data.y_test
    result.predictions = {arm: net.predict(x_test) for arm, net in models.items()}
    if "pretrained" in models:
        net = models["pretrained"]
        codes = x_test
        for autoencoder in net.autoencoders:
            codes = autoencoder.encode(codes)
        result.codes = {
            "pretrained": codes[:N_CODES],
            "pretrained, then fine-tuned": net.encode(x_test)[:N_CODES],
        }
        result.reconstructions = _reconstructions(
            data, x, [("first autoencoder", net.autoencoders[0]), ("whole stack", net)]
        )
    if output is not None:
        result.save(output)
    return result


def run_reconstruction(
    *,
    dataset: str | Dataset = "auto",
    data_dir: str | os.PathLike[str] | None = None,
    units: int = 100,
    steps: int = 1000,
    weight_decay: float = 0.1,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    eval_every: int = 100,
    seed: int = 0,
    threads: int | None = None,
    output: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 0,
    resume: bool = False,
    quiet: bool = False,
    offline: bool = False,
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
    dataset, data_dir, batch_size, learning_rate, eval_every, seed, threads, output, \
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
    config = {
        "dataset": _dataset_name(dataset),
        "data_dir": None if data_dir is None else str(check_path("data_dir", data_dir)),
        "units": check_width("units", units),
        "steps": check_int("steps", steps, 1),
        "weight_decay": check_float("weight_decay", weight_decay, positive=False),
        **_common_config(batch_size, learning_rate, eval_every, seed, threads, offline),
    }
    data = _load(dataset, data_dir, offline=offline, quiet=quiet)
    _check_batch_size(batch_size, data)
    if output is not None:
        check_output(output)
    every = check_int("checkpoint_every", checkpoint_every, 0)
    checkpoint = _checkpoint(output, config, data, every, resume)

    started = time.perf_counter()
    x, x_test = _inputs(data, config["threads"])
    autoencoder = Autoencoder(
        data.x_train.shape[1],
        units,
        weight_decay=weight_decay,
        seed=seed,
        n_threads=config["threads"],
    )
    history = autoencoder.fit(
        x,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        eval_every=eval_every,
        scale=data.scale,
        callbacks=checkpoint,
        progress=not quiet,
    )
    sizes = (autoencoder.n_features, units)
    pretraining = _layer_results(sizes, [history], [autoencoder.count_dead_units(x)])
    seconds = time.perf_counter() - started

    result = ExperimentResult(
        "reconstruct",
        _describe(data),
        config,
        pretraining,
        {},
        seconds,
        info(),
        _reconstructions(data, x, [("autoencoder", autoencoder)]),
        {"autoencoder": autoencoder.parameters["W_enc"]},
        {"autoencoder": autoencoder},
        y_test=data.y_test,
        codes={f"autoencoder ({units} units)": autoencoder.encode(x_test)[:N_CODES]},
    )
    if output is not None:
        result.save(output)
    return result


def _checkpoint(
    output: str | os.PathLike[str] | None,
    config: Mapping[str, Any],
    data: Dataset,
    every: int,
    resume: bool,
) -> list[Callback]:
    """Return the callback that keeps a run, if it is to be kept or taken up again."""
    if not every and not resume:
        return []
    if output is None:
        name = "checkpoint_every" if every else "resume"
        raise DataError(f"{name}: expected output, the folder of checkpoints, got none")
    free = ("dataset", "data_dir", "threads", "offline")  # what has no influence, or is the data
    run = {name: value for name, value in config.items() if name not in free}
    run["data"] = data.sha256
    checkpoint = RunCheckpoint(output, every, resume=False, run=run)
    if resume:
        checkpoint.load()
    else:
        checkpoint.refuse_to_replace()
    return [checkpoint]


class _Cancellation(Callback):
    """Ends a training on a thread that Ctrl-C does not reach, once `cancelled` is set."""

    def __init__(self, cancelled: threading.Event) -> None:
        self._cancelled = cancelled

    def on_step(self, training: Training) -> None:
        """Raise."""
        if self._cancelled.is_set():
            raise CancelledError


def _dataset_name(dataset: str | Dataset) -> str:
    if isinstance(dataset, Dataset):
        return "(a Dataset object)"  # no command line repeats it
    return check_choice("dataset", dataset, DATASETS)


def _common_config(
    batch_size: int,
    learning_rate: float,
    eval_every: int,
    seed: int,
    threads: int | None,
    offline: bool,
) -> dict[str, Any]:
    """Check the settings that both experiments have; `threads` as it will be used."""
    return {
        "batch_size": check_int("batch_size", batch_size, 1),
        "learning_rate": check_float("learning_rate", learning_rate, positive=True),
        "eval_every": check_int("eval_every", eval_every, 0),
        "seed": check_seed(seed),
        "threads": resolve_threads(threads),
        "offline": offline,
        "dtype": "float32",
    }


def _load(
    dataset: str | Dataset,
    data_dir: str | os.PathLike[str] | None,
    *,
    offline: bool,
    quiet: bool,
) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    return datasets.load(cast(Any, dataset), data_dir, offline=offline, progress=not quiet)


def _check_batch_size(batch_size: int, data: Dataset) -> None:
    if batch_size > len(data.x_train):
        raise DataError(
            f"batch_size: expected at most the {len(data.x_train)} training samples, "
            f"got {batch_size}"
        )


def _inputs(data: Dataset, n_threads: int) -> tuple[Any, Any]:
    """Prepare training and test samples once, for all trainings and evaluations."""
    return tuple(
        as_input(name, x, x.shape[1], dtype="float32", n_threads=n_threads, scale=data.scale)
        for name, x in (("x_train", data.x_train), ("x_test", data.x_test))
    )


def _describe(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "n_train": len(data.x_train),
        "n_test": len(data.x_test),
        "sha256": data.sha256,
    }


def _train_together(
    train: Callable[[str], ArmResult],
    models: Mapping[str, StackedAutoencoder],
    n_threads: int,
    cancelled: threading.Event,
) -> dict[str, ArmResult]:
    """Train the arms side by side, as many as there are threads; who remains gets what is free.

    A small network makes better use of two cores by two trainings than by two threads of one.
    """
    n_workers = min(len(models), n_threads)
    with ThreadPoolExecutor(n_workers) as pool:
        try:
            futures = {arm: pool.submit(train, arm) for arm in models}
            waiting = set(futures.values())
            while waiting:
                for net in models.values():
                    net.n_threads = n_threads // min(n_workers, len(waiting))
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:  # an arm's error, or Ctrl-C
            cancelled.set()
            pool.shutdown(cancel_futures=True)  # each ends at its next step
            raise
    for net in models.values():
        net.n_threads = n_threads
    return {arm: future.result() for arm, future in futures.items()}


def _layer_results(
    sizes: Sequence[int], histories: Sequence[History], dead_units: Sequence[int]
) -> list[LayerResult]:
    return [
        LayerResult(layer + 1, sizes[layer], sizes[layer + 1], h.steps, h.loss, dead, h.seconds)
        for layer, (h, dead) in enumerate(zip(histories, dead_units, strict=True))
    ]


def _reconstructions(
    data: Dataset, x: Any, models: Sequence[tuple[str, Autoencoder | StackedAutoencoder]]
) -> Reconstructions:
    """Show the first training samples through each model, and through a PCA of the same width."""
    scale = 1.0 if data.scale is None else data.scale
    shown = data.x_train[:N_SHOWN]
    pca = PCA(data.x_train, scale)
    rows: list[tuple[str, NDArray[np.float32], float]] = []
    for label, model in models:
        images = model.reconstruct(shown, scale=data.scale)
        error = model.reconstruction_error(x)
        rows.append((f"{label} ({model.n_hidden} units)", images, error))
        n_components = min(model.n_hidden, x.n_features)
        pca_label = f"PCA ({n_components} components)"
        if all(pca_label != row[0] for row in rows):
            pca_images = pca.reconstruct(shown, n_components)
            rows.append((pca_label, pca_images, pca.mean_squared_error(n_components)))
    return Reconstructions(np.multiply(shown, scale, dtype=np.float32), rows, data.image_shape)
