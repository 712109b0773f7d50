# SPDX-License-Identifier: BSD-3-Clause
"""The study: which runs are missing, who computes them, and what all of them say.

A run that is in its file is not computed again, whoever asks: so a study that was killed goes on,
more seeds extend it, and shards meet in one folder without a word to each other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ...base.progress import Progress
from ...core.environment import info
from ...datasets import Dataset
from ...errors import CheckpointError, DataError, OutputError, SaeFastWarning, warn
from ..data import check_batch_size, check_classes_differ, describe_data, load_data
from ..save import claimed_output
from ..settings import StudySettings, resumable
from .executors import Failure, run_tasks
from .grid import Task, Variant, list_pairs, list_tasks, list_variants, settings_of, share_of
from .pools import Pool, open_pool
from .runs import (
    FOLDER,
    Context,
    Run,
    clear_leftovers,
    compute_run,
    file_of,
    read_run,
    run_of,
    write_run,
)
from .save import (
    SETTINGS,
    StudyResult,
    advice_on_runs,
    check_folder,
    check_same,
    read_settings,
    write_settings,
)


class RunFileWarning(SaeFastWarning):
    """A run's file is not what it should be, and the run is computed again."""


def _kept_in(folder: Path) -> Mapping[str, Any]:
    kept = read_settings(folder)
    if not kept:
        hint = advice_on_runs(folder) or "without resume, and with all its settings, it begins"
        raise DataError(
            f"resume: expected a folder that holds a study, got {str(folder)!r} without "
            f"{SETTINGS}: {hint}"
        )
    return kept


@resumable(_kept_in)
def run_study(
    *,
    dataset: str | Dataset = StudySettings.dataset,
    data_dir: str | os.PathLike[str] | None = StudySettings.data_dir,
    seeds: int = StudySettings.seeds,
    seed: int = StudySettings.seed,
    grid: Mapping[str, Sequence[Any]] | None = StudySettings.grid,
    hidden: Sequence[int] = StudySettings.hidden,
    arms: Sequence[str] = StudySettings.arms,
    pretrain_steps: int | Sequence[int] = StudySettings.pretrain_steps,
    tune_steps: int = StudySettings.tune_steps,
    finetune_steps: int = StudySettings.finetune_steps,
    activation: str | Sequence[str] = StudySettings.activation,
    decoder: str = StudySettings.decoder,
    loss: str = StudySettings.loss,
    corruption: str | None = StudySettings.corruption,
    batch_size: int | None = StudySettings.batch_size,
    optimizer: str = StudySettings.optimizer,
    learning_rate: float | str | None = StudySettings.learning_rate,
    eval_every: int = StudySettings.eval_every,
    executor: str | Executor = StudySettings.executor,
    threads: int | None = StudySettings.threads,
    scheduler: str | None = StudySettings.scheduler,
    shard: str | tuple[int, int] | None = StudySettings.shard,
    output: str | os.PathLike[str] | None = StudySettings.output,
    resume: bool = StudySettings.resume,
    quiet: bool = StudySettings.quiet,
    offline: bool = StudySettings.offline,
) -> StudyResult:
    """Run the comparison with many seeds, arms and settings, and say what may be concluded.

    What ``sae-fast study`` does; the keyword arguments are its options. Each run is one arm with
    one seed at one point of the grid, on one thread, with the bits of that arm in
    :func:`run_experiment`; as many run at a time as there are threads. Runs of one seed are
    compared in pairs.

    Parameters
    ----------
    seeds : int
        Runs of each arm, with the seeds `seed`, `seed` + 1 and so on.
    seed : int
    grid : mapping of str to sequence, optional
        Settings and the values that each takes: every arm is run with every seed at every
        combination of them. Any of `hidden`, `pretrain_steps`, `tune_steps`, `finetune_steps`,
        `activation`, `decoder`, `loss`, `corruption`, `batch_size`, `optimizer`, `learning_rate`
        and `eval_every`. An arm without pretraining is run once for all values of settings that
        only pretraining has.
    arms : sequence of {"pretrained", "normal", "he"}
    executor : {"threads", "processes", "dask", "mpi"} or concurrent.futures.Executor
        Who computes the runs.
    threads : int, optional
        Runs at a time, by threads or processes. Default: as many as the process may use.
    scheduler : str, optional
        Address of a Dask scheduler.
    shard : (int, int) or str, optional
        ``(3, 16)`` or ``"3/16"``: only the third of sixteen parts of the runs. Whichever process
        finds all runs in `output` writes the results.
    output : path-like, optional
        Folder of a file for each run, and of the results. Default: none, nothing is written.
    resume : bool
        Go on with the study in `output`, with its settings where none are given: what it has
        computed is read. More `seeds`, `arms` and values of the `grid` extend it; what else is
        given has to be as it was.
    dataset, data_dir, hidden, pretrain_steps, tune_steps, finetune_steps, activation, decoder, \
    loss, corruption, batch_size, optimizer, learning_rate, eval_every, quiet, offline
        As in :func:`run_experiment`.

    Returns
    -------
    StudyResult

    Raises
    ------
    DataError
        If an argument does not fit, or is not that of the study in `output`.
    DatasetUnavailableError
        If the data set is not there and cannot be downloaded.
    CheckpointError
        If there is a study in `output` and it is not resumed, or its settings cannot be read.
    OutputError
        If `output` cannot be written, or holds files that no ``sae-fast study`` has written.

    Examples
    --------
    >>> import sae_fast
    >>> data = sae_fast.datasets.load_strokes(n_train=300, n_test=100)
    >>> study = sae_fast.run_study(
    ...     dataset=data, hidden=[9, 5], arms=["normal", "he"], seeds=2, finetune_steps=60,
    ...     grid={"learning_rate": [1e-3, 3e-3]}, threads=1, quiet=True
    ... )
    >>> list(study.arms)
    ['normal, learning_rate=0.001', 'he, learning_rate=0.001', 'normal, learning_rate=0.003', \
'he, learning_rate=0.003']
    >>> [run.seed for run in study.runs]
    [0, 1, 0, 1, 0, 1, 0, 1]
    """
    settings = StudySettings(**locals())
    own = executor if isinstance(executor, Executor) else settings.executor
    if settings.output is None and (settings.resume or settings.shard):
        name = "resume" if settings.resume else "shard"
        raise DataError(f"{name}: expected output, the folder of the study, got none")
    with contextlib.ExitStack() as held:  # all that can be refused is, before data are loaded
        pool = open_pool(own, settings.threads, settings.scheduler)
        held.callback(pool.close, soon=True)
        folder, kept = None, None
        if settings.output is not None:
            part = "-{}-of-{}".format(*settings.shard) if settings.shard else ""
            claimed = claimed_output(settings.output, check_folder, part)
            folder = held.enter_context(claimed)
            kept = _kept(folder, settings)
            if kept is not None:
                given = {name: one for name, one in _same(settings).items() if one is not None}
                check_same(kept, given, folder)
        data, settings = load_data(settings, dataset)
        check_classes_differ(data)
        for run in list_variants(settings).values():
            check_batch_size(run, data)
        if folder is not None:
            _open(folder, kept, settings, data)
        return _study(settings, pool, folder, data, read=kept is not None)


def _study(
    settings: StudySettings, pool: Pool, folder: Path | None, data: Dataset, *, read: bool
) -> StudyResult:
    """Return the result of a study, the folder of which is open, if it has one to `read`."""
    tasks = list_tasks(settings)
    runs = _read(folder, tasks, data, show=read and not settings.quiet)
    errors: dict[Task, str] = {}
    for task, run_or_error in _compute(settings, pool, folder, data, tasks, runs):
        if isinstance(run_or_error, Run):
            runs[task] = run_or_error
        else:
            errors[task] = run_or_error
    if settings.shard:
        rest = [task for task in tasks if task not in runs]
        runs |= _read(folder, rest, data)  # what others have computed meanwhile
    result = _result(settings, data, tasks, runs, errors)
    if folder is not None and not result.missing:
        clear_leftovers(folder)
    if folder is not None and (not result.missing or not settings.shard):
        try:
            result.save(folder)
        except OutputError as error:
            error.result = result
            raise
    return result


def _kept(folder: Path, settings: StudySettings) -> Mapping[str, Any] | None:
    """Return the settings that a folder holds of a study that this one may go on with."""
    kept = read_settings(folder)
    if kept is None or settings.resume or settings.shard:
        return kept
    runs = folder / FOLDER
    if runs.is_dir() and any(runs.iterdir()):
        raise CheckpointError(
            f"output: expected a new folder, or resume=True to go on with the study in "
            f"{str(folder)!r}"
        )
    return None  # of a study that was refused, or ended before its first run did


def _same(settings: StudySettings) -> dict[str, Any]:
    """Return the settings that have to be those of the study in the folder."""
    return settings.identity() | ({} if settings.resume else settings.extent())


def _open(
    folder: Path, kept: Mapping[str, Any] | None, settings: StudySettings, data: Dataset
) -> None:
    """Let a folder hold the settings of a study from now on; DataError if it has others."""
    data_too = {"data": data.sha256}
    if kept is not None:
        check_same(kept, _same(settings) | data_too, folder)
    try:
        write_settings(folder, {**settings.kept(), **settings.identity(), **data_too})
    except OSError as error:
        raise OutputError(f"output: cannot write to {str(folder)!r}: {error}") from error


def _read(
    folder: Path | None, tasks: Sequence[Task], data: Dataset, *, show: bool = False
) -> dict[Task, Run]:
    """Read the runs that are in their files; of a file that is not right, warn."""
    found: dict[Task, Run] = {}
    if folder is None:
        return found
    with Progress("what is there", len(tasks), show=show) as progress:
        for task in tasks:
            path = file_of(folder, task, data)
            try:
                run = read_run(path, task, data)
            except DataError as error:
                warn(f"output: {str(path)!r} is {error}; the run is computed again", RunFileWarning)
            except OSError as error:
                raise OutputError(f"output: cannot read {str(path)!r}: {error}") from error
            else:
                if run is not None:
                    found[task] = run
            progress.note(f"{len(found):,} of {len(tasks):,} runs")
            progress.advance(1)
    return found


def _compute(
    settings: StudySettings,
    pool: Pool,
    folder: Path | None,
    data: Dataset,
    tasks: Sequence[Task],
    there: Mapping[Task, Run],
) -> Iterator[tuple[Task, Run | str]]:
    """Compute the runs of this share that are not there; yield each, or why there is none."""
    share = list(share_of(list(tasks), settings.shard))
    todo = [task for task in share if task not in there]
    steps = {task: sum(task.settings.stages()) for task in share}
    context = Context(data)
    show = not settings.quiet
    with contextlib.ExitStack() as held:
        progress = held.enter_context(Progress("study", sum(steps.values()), show=show))
        progress.skip(sum(steps[task] for task in share if task in there))
        done = len(share) - len(todo)
        progress.note(f"{done:,} of {len(share):,} runs")
        if todo and settings.executor == "threads":
            _ = context.inputs  # once, before threads ask for them
        found = run_tasks(todo, compute_run, context, executor=pool)
        held.enter_context(contextlib.closing(found))
        for index, outcome in found:
            task = todo[index]
            if isinstance(outcome, Failure):
                yield task, outcome.error
            else:
                if folder is not None:
                    _write(file_of(folder, task, data), outcome)
                yield task, run_of(task, outcome, data)
            done += 1
            progress.note(f"{done:,} of {len(share):,} runs")
            progress.advance(steps[task])


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        write_run(path, document)
    except OSError as error:
        if path.is_file():  # somebody else has computed the same run
            return
        raise OutputError(f"output: cannot write {str(path)!r}: {error}") from error


def _result(
    settings: StudySettings,
    data: Dataset,
    tasks: Sequence[Task],
    runs: Mapping[Task, Run],
    errors: Mapping[Task, str],
) -> StudyResult:
    """Put the result together, in the order of the tasks, whatever that of their ends was."""
    samples: dict[Variant, list[Run]] = {variant: [] for variant in list_variants(settings)}
    missing = []
    for task in tasks:
        if task in runs:
            samples[task.variant].append(runs[task])
        else:
            where = {"arm": task.variant.arm, "seed": task.seed}
            about = {"settings": settings_of(task.variant), "error": errors.get(task)}
            missing.append({**where, **about})
    return StudyResult(
        dataset=describe_data(data),
        config=settings.config(),
        samples=samples,
        compared=list_pairs(settings),
        missing=missing,
        environment={name: fact for name, fact in info().items() if name != "executable"},
    )
