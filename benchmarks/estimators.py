# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn estimators beside others, on bundled data.

`pip install '.[sklearn]' pyod torch`, then `python benchmarks/estimators.py --output FILE.md`
writes a page of tables on classification, regression and anomaly detection; without pyod, its row
is left out. All systems get the same splits, in turn; times are of one fit (and, for anomalies, its
scores), on all threads that the process may use.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sae_fast
import sklearn
from machine import describe, facts
from sae_fast.sklearn import (
    StackedAutoencoderClassifier,
    StackedAutoencoderOutlierDetector,
    StackedAutoencoderRegressor,
)
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_linnerud,
    load_wine,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

CLASSES = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}
TARGETS = {"diabetes": load_diabetes, "linnerud": load_linnerud}
FEW = 4  # rows of a rare class
CODE = 8  # width of every code in anomaly detection


def timed(f: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    value = f(*arguments)
    return value, time.perf_counter() - started


# Classification and regression


def classifiers(seed: int) -> dict[str, Any]:
    return {
        "sae_fast": StackedAutoencoderClassifier(random_state=seed),
        "MLPClassifier": MLPClassifier(random_state=seed, max_iter=1000),
    }


def regressors(seed: int) -> dict[str, Any]:
    theirs = MLPRegressor(random_state=seed, max_iter=1000)
    return {
        "sae_fast": StackedAutoencoderRegressor(random_state=seed),
        "MLPRegressor": theirs,
        "MLPRegressor, y scaled": TransformedTargetRegressor(theirs, transformer=StandardScaler()),
    }


def cross_validate(
    data: dict[str, Callable[..., Any]],
    systems: Callable[[int], Any],
    folds: Any,
    score: Callable[..., float],
    repeats: int,
) -> list[list[str]]:
    """Give a table: for each data set and system, the score of five folds' predictions, and times.

    All predictions together are scored: folds of four rows have no R² of their own.
    """
    rows = []
    for name, load in data.items():
        x, y = load(return_X_y=True)
        scores: dict[str, list[float]] = {}
        times: dict[str, list[float]] = {}
        for repeat in range(repeats):
            predicted = {system: np.empty(y.shape) for system in systems(repeat)}
            for kept, aside in folds(5, shuffle=True, random_state=repeat).split(x, y):
                for system, estimator in systems(repeat).items():
                    model = make_pipeline(StandardScaler(), estimator)
                    _, seconds = timed(model.fit, x[kept], y[kept])
                    times.setdefault(system, []).append(seconds)
                    predicted[system][aside] = model.predict(x[aside])
            for system, found in predicted.items():
                scores.setdefault(system, []).append(score(y, found))
        medians = {system: statistics.median(own) for system, own in times.items()}
        for system, own in scores.items():
            rows.append(
                [
                    name if system == "sae_fast" else "",
                    system,
                    f"{np.mean(own):.4f} ± {np.std(own):.4f}",
                    f"{1000 * medians[system]:.0f}",
                    "" if system == "sae_fast" else f"{medians[system] / medians['sae_fast']:.1f}",
                ]
            )
    return rows


def weigh(splits: int) -> list[list[str]]:
    """Give a table: for each classifier, balanced accuracy where half of the classes are rare."""
    x, y = load_digits(return_X_y=True)
    scores: dict[str, list[float]] = {}
    for split in range(splits):
        kept, aside = train_test_split(
            np.arange(len(y)), test_size=0.5, stratify=y, random_state=split
        )
        rest = [np.flatnonzero(y[kept] == digit)[FEW:] for digit in range(5, 10)]
        kept = np.delete(kept, np.concatenate(rest))
        for system, classifier in {
            "sae_fast": StackedAutoencoderClassifier(random_state=split),
            'sae_fast, `class_weight="balanced"`': StackedAutoencoderClassifier(
                random_state=split, class_weight="balanced"
            ),
            "MLPClassifier": MLPClassifier(random_state=split, max_iter=1000),
            'LogisticRegression, `class_weight="balanced"`': LogisticRegression(
                max_iter=5000, class_weight="balanced"
            ),
        }.items():
            found = make_pipeline(StandardScaler(), classifier).fit(x[kept], y[kept])
            score = balanced_accuracy_score(y[aside], found.predict(x[aside]))
            scores.setdefault(system, []).append(score)
    return [[system, f"{np.mean(own):.3f} ± {np.std(own):.3f}"] for system, own in scores.items()]


# Anomaly detection


def score_ours(x: Any, x_test: Any, seed: int) -> Any:
    return -StackedAutoencoderOutlierDetector(CODE, random_state=seed).fit(x).score_samples(x_test)


def score_forest(x: Any, x_test: Any, seed: int) -> Any:
    return -IsolationForest(random_state=seed, n_jobs=-1).fit(x).score_samples(x_test)


def score_pca(x: Any, x_test: Any, seed: int) -> Any:
    pca = PCA(CODE, random_state=seed).fit(x)
    return ((x_test - pca.inverse_transform(pca.transform(x_test))) ** 2).mean(axis=1)


def score_pyod(x: Any, x_test: Any, seed: int) -> Any:
    from pyod.models.auto_encoder import AutoEncoder

    model = AutoEncoder(random_state=seed, verbose=0)
    model.fit(x)
    return model.decision_function(x_test)


DETECTORS = {
    "sae_fast": score_ours,
    "IsolationForest": score_forest,
    "PCA": score_pca,
    "pyod AutoEncoder": score_pyod,
}


def detect(names: list[str], repeats: int) -> list[list[str]]:
    """Give a table: for each system, ROC-AUC with each digit held out, and the time."""
    x, y = load_digits(return_X_y=True)
    aucs: dict[str, list[list[float]]] = {name: [] for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        for digit in range(10):
            normal, aside = train_test_split(
                np.flatnonzero(y != digit), test_size=0.25, random_state=repeat
            )
            test = np.concatenate([aside, np.flatnonzero(y == digit)])
            scaler = MinMaxScaler().fit(x[normal])
            inside, outside = scaler.transform(x[normal]), scaler.transform(x[test])
            for name in names:
                scores, seconds = timed(DETECTORS[name], inside, outside, repeat)
                aucs[name].append(roc_auc_score(y[test] == digit, scores))
                times[name].append(seconds)
    ours = statistics.median(times["sae_fast"])
    return [
        [
            name,
            f"{np.mean(aucs[name]):.3f}",
            *(f"{np.mean(aucs[name][digit::10]):.2f}" for digit in range(10)),
            f"{1000 * statistics.median(times[name]):.0f}",
            "" if name == "sae_fast" else f"{statistics.median(times[name]) / ours:.1f}",
        ]
        for name in names
    ]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


PAGE = """# The estimators beside others

Made by `python benchmarks/estimators.py --output docs/estimators.md`, with scikit-learn {sklearn},
sae_fast {sae_fast} and {threads} threads.

## Classification

Accuracy of the predictions of five folds of scikit-learn's bundled data sets, {repeats} times with
other folds: mean and standard deviation of these times. `StackedAutoencoderClassifier()` and
`MLPClassifier(max_iter=1000)` behind a `StandardScaler`, other settings left as they are; both have
one hidden layer of 100 units. Time is the median of one fit, pretraining included.

{classification}
### Rare classes

Half of the digits to learn from, the other half to predict, but of each class from 5 up only {few}
rows to learn from. Balanced accuracy: the mean of the share of each class that is found, over
{splits} splits.

{rare}
## Regression

R² of the predictions of five folds, {repeats} times with other folds: mean and standard deviation
of these times. Linnerud has 20 rows and three targets, of whose R² the mean is taken; what is below
0 is worse than the mean of the targets. `StackedAutoencoderRegressor()` and
`MLPRegressor(max_iter=1000)` behind a `StandardScaler`, other settings left as they are. Ours
standardizes the targets; `MLPRegressor` stands there without, and with a
`TransformedTargetRegressor` around it that does the same.

{regression}
## Anomaly detection

The digits, with one class held out: a detector sees three quarters of the other nine and then
scores what is left of them and all of the tenth. ROC-AUC over {repeats} splits, for each class held
out and the mean of all; values scaled to 0 ... 1.
`StackedAutoencoderOutlierDetector({code})` beside the reconstruction error of `PCA({code})`,
`IsolationForest()` and pyod's `AutoEncoder()`, all other settings left as they are. Time is the
median of one fit and its scores.

{detection}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="Markdown page to write; else to stdout")
    parser.add_argument("--short", action="store_true", help="only try whether it runs")
    options = parser.parse_args()
    classes, targets, detectors = CLASSES, TARGETS, list(DETECTORS)
    splits = 5
    if options.short:
        options.repeats, splits = 1, 1
        classes, targets = {"wine": load_wine}, {"linnerud": load_linnerud}
    print(describe(facts()), file=sys.stderr)
    if importlib.util.find_spec("pyod") is None:
        detectors.remove("pyod AutoEncoder")
        print("left out: pyod AutoEncoder (pyod is not installed)", file=sys.stderr)
    page = PAGE.format(
        sklearn=sklearn.__version__,
        sae_fast=sae_fast.__version__,
        threads=sae_fast.info()["threads"],
        repeats=options.repeats,
        code=CODE,
        few=FEW,
        splits=splits,
        classification=table(
            ["data", "classifier", "accuracy", "ms to fit", "times ours"],
            cross_validate(classes, classifiers, StratifiedKFold, accuracy_score, options.repeats),
        ),
        rare=table(["classifier", "balanced accuracy"], weigh(splits)),
        regression=table(
            ["data", "regressor", "R²", "ms to fit", "times ours"],
            cross_validate(targets, regressors, KFold, r2_score, options.repeats),
        ),
        detection=table(
            ["detector", "ROC-AUC", *map(str, range(10)), "ms", "times ours"],
            detect(detectors, options.repeats),
        ),
    )
    if options.output:
        options.output.write_text(page, encoding="utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
