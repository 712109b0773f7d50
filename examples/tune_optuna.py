# SPDX-License-Identifier: BSD-3-Clause
"""Tune a classifier with Optuna, on threads, processes, Dask or MPI; poor trials are cut short.

All workers take part in one study through a file, where trials report as they train. A search that
was broken off goes on when the command is given again, and so does one that asks for more trials.
"""

import argparse
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState
from sae_fast import DivergenceError
from sae_fast.optimizers import SGD
from sae_fast.sklearn import StackedAutoencoderClassifier
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
OPTIMIZERS = {"adam": "adam", "momentum": SGD(0.9)}


def load_rows():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x, y, stratify=y, random_state=0)


def build_classifier(trial):
    """Return the classifier that a trial asks for."""
    return StackedAutoencoderClassifier(
        units=[trial.suggest_int("units", 16, 128, log=True)] * trial.suggest_int("layers", 1, 2),
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-3, 10, log=True),
        optimizer=OPTIMIZERS[trial.suggest_categorical("optimizer", list(OPTIMIZERS))],
        steps=1000,
        eval_every=25,
        early_stopping=True,
        random_state=0,
        n_threads=1,
    )


def objective(trial):
    """Return the lowest loss on rows that were set aside, whose weights a classifier keeps."""

    def prune(training):
        if training.phase == "fine-tuning":
            trial.report(training.history.mean_loss[-1], training.step)
            if trial.should_prune():
                raise optuna.TrialPruned

    x_train, _, y_train, _ = load_rows()
    classifier = build_classifier(trial).set_params(callbacks=[prune])
    try:
        return min(classifier.fit(x_train, y_train).loss_curve_)
    except DivergenceError as error:  # settings to keep away from, and no reason to end
        raise optuna.TrialPruned from error


def open_study(path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="digits",
        storage=optuna.storages.JournalStorage(JournalFileBackend(path)),
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(constant_liar=True),  # keeps off what others try
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=50),
    )


def work(path, n_trials):
    """Run trials until the study has so many."""
    study = open_study(path)
    if len(study.get_trials(states=ENDED)) < n_trials:
        study.optimize(objective, callbacks=[MaxTrialsCallback(n_trials, ENDED)])


def open_executor(name, workers, scheduler) -> Executor:
    if name == "dask":
        from distributed import Client

        return Client(scheduler).get_executor()
    if name == "mpi":
        from mpi4py.futures import MPIPoolExecutor

        return MPIPoolExecutor()
    return {"threads": ThreadPoolExecutor, "processes": ProcessPoolExecutor}[name](workers)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--executor", choices=["threads", "processes", "dask", "mpi"], default="threads"
    )
    parser.add_argument("--scheduler", help="address of Dask's")
    parser.add_argument("--journal", default="digits.journal", help="the study's file")
    args = parser.parse_args()

    with open_executor(args.executor, args.workers, args.scheduler) as executor:
        list(executor.map(work, *zip(*[(args.journal, args.trials)] * args.workers, strict=True)))

    study = open_study(args.journal)
    ended = study.get_trials(states=ENDED)
    pruned = sum(trial.state == TrialState.PRUNED for trial in ended)
    print(f"{len(ended)} trials, {pruned} of them cut short")
    print(f"best loss: {study.best_value:.3f} with {study.best_params}")
    x_train, x_test, y_train, y_test = load_rows()
    best = build_classifier(study.best_trial).fit(x_train, y_train)
    print(f"test accuracy: {best.score(x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
