# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn estimators beside others: classification and anomaly detection on bundled data.

`pip install '.[sklearn]' pyod torch`, then `python benchmarks/estimators.py --output FILE.md`
writes a page of tables; without pyod, its row is left out. All systems get the same splits, in
turn; times are of one fit (and, for anomalies, its scores), on all threads that the process may
use.
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
from sae_fast.sklearn import StackedAutoencoderClassifier, StackedAutoencoderTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

DATA = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}
CODE = 8  # width of every code in anomaly detection


def timed(f: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    value = f(*arguments)
    return value, time.perf_counter() - started


# Classification


def classifiers(seed: int) -> dict[str, Any]:
    return {
        "sae_fast": StackedAutoencoderClassifier(random_state=seed),
        "MLPClassifier": MLPClassifier(random_state=seed, max_iter=1000),
    }


def classify(names: list[str], repeats: int) -> list[list[str]]:
    """Give a table: for each data set and system, the score over five folds and the time to fit."""
    rows = []
    for name in names:
        x, y = DATA[name](return_X_y=True)
        scores: dict[str, list[float]] = {}
        times: dict[str, list[float]] = {}
        for repeat in range(repeats):
            folds = StratifiedKFold(5, shuffle=True, random_state=repeat)
            for kept, aside in folds.split(x, y):
                for system, classifier in classifiers(repeat).items():
                    model = make_pipeline(StandardScaler(), classifier)
                    _, seconds = timed(model.fit, x[kept], y[kept])
                    times.setdefault(system, []).append(seconds)
                    scores.setdefault(system, []).append(model.score(x[aside], y[aside]))
        ours, theirs = (statistics.median(times[s]) for s in ("sae_fast", "MLPClassifier"))
        for system in scores:
            own = scores[system]
            rows.append(
                [
                    name if system == "sae_fast" else "",
                    system,
                    f"{np.mean(own):.4f} ± {np.std(own):.4f}",
                    f"{1000 * statistics.median(times[system]):.0f}",
                    "" if system == "sae_fast" else f"{theirs / ours:.1f}",
                ]
            )
    return rows


# Anomaly detection


def score_ours(x: Any, x_test: Any, seed: int) -> Any:
    model = StackedAutoencoderTransformer(CODE, steps=3000, learning_rate=3e-3, random_state=seed)
    return model.fit(x).score_samples(x_test)


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

Accuracy over five folds of scikit-learn's bundled data sets, {repeats} times with other folds:
mean and standard deviation over all folds. `StackedAutoencoderClassifier()` and
`MLPClassifier(max_iter=1000)` behind a `StandardScaler`, other settings left as they are; both have
one hidden layer of 100 units. Time is the median of one fit, pretraining included.

{classification}
## Anomaly detection

The digits, with one class held out: a detector sees three quarters of the other nine and then
scores what is left of them and all of the tenth. ROC-AUC over {repeats} splits, for each class held
out and the mean of all; values scaled to 0 ... 1.
`StackedAutoencoderTransformer({code}, steps=3000, learning_rate=3e-3).score_samples` beside
the reconstruction error of `PCA({code})`, `IsolationForest()` and pyod's `AutoEncoder()` with all
settings left as they are. Time is the median of one fit and its scores.

{detection}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="Markdown page to write; else to stdout")
    parser.add_argument("--short", action="store_true", help="only try whether it runs")
    options = parser.parse_args()
    data, detectors = list(DATA), list(DETECTORS)
    if options.short:
        options.repeats, data = 1, ["wine"]
    if importlib.util.find_spec("pyod") is None:
        detectors.remove("pyod AutoEncoder")
        print("left out: pyod AutoEncoder (pyod is not installed)", file=sys.stderr)
    page = PAGE.format(
        sklearn=sklearn.__version__,
        sae_fast=sae_fast.__version__,
        threads=sae_fast.info()["threads"],
        repeats=options.repeats,
        code=CODE,
        classification=table(
            ["data", "classifier", "accuracy", "ms to fit", "times ours"],
            classify(data, options.repeats),
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
