# SPDX-License-Identifier: BSD-3-Clause
"""What the defaults make of many kinds of data: scores beside others, and units that are dead.

`pip install '.[sklearn]'`, then `python benchmarks/defaults.py --output FILE.md` writes a page with
its tables. All data come from scikit-learn's bundled sets and from generators; nothing is scaled
or cleaned beforehand, which is the point. Every system gets the same rows, seed by seed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sae_fast
import scipy.sparse
import sklearn
from sae_fast.sklearn import StackedAutoencoderClassifier, StackedAutoencoderTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

UNITS = 100
Data = tuple[Any, Any]  # x (n_samples, n_features), y (n_samples,)


# Kinds of data


def counts(n_words: int, seed: int, n_rows: int = 900, n_classes: int = 6) -> Data:
    """Draw documents: words by Zipf's law, of which some are three times as likely in a class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n_rows)
    likely = np.tile(1 / np.arange(5, n_words + 5), (n_classes, 1))
    likely *= np.where(rng.random(likely.shape) < 0.04, 3, 1)
    likely /= likely.sum(axis=1, keepdims=True)
    lengths = rng.integers(50, 250, n_rows)
    rows = [rng.multinomial(n, likely[label]) for n, label in zip(lengths, y, strict=True)]
    return scipy.sparse.csr_matrix(np.array(rows, np.float32)), y


def tf_idf(n_words: int, seed: int) -> Data:
    x, y = counts(n_words, seed)
    return TfidfTransformer().fit_transform(x), y


def genes(seed: int, n_genes: int = 5000, n_rows: int = 225, n_classes: int = 8) -> Data:
    """Draw the logarithms of expressions: many are 0, 150 of 5,000 differ between classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n_rows)
    level = np.tile(rng.gamma(2, 1, n_genes), (n_classes, 1))
    level[:, :150] += rng.normal(0, 1.5, (n_classes, 150))
    x = rng.normal(level[y], 1.2)
    return np.maximum(x, 0).astype(np.float32), y


def genes_to_1(seed: int) -> Data:
    x, y = genes(seed)
    return x / np.maximum(x.max(axis=0), 1e-6), y


def digits(times: float, plus: float = 0.0) -> Data:
    x, y = load_digits(return_X_y=True)
    return x * times + plus, y


def with_constants() -> Data:
    x, y = digits(1 / 16)
    return np.hstack([x, np.full((len(x), 40), 1000.0), np.zeros((len(x), 40))]), y


def one_hot(seed: int, n_columns: int = 12, n_values: int = 40, n_rows: int = 1500) -> Data:
    """Draw categories whose frequencies differ between two classes, a column for each value."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n_rows)
    likely = rng.dirichlet(np.full(n_values, 1.5), (n_columns, 2))
    values = [
        [rng.choice(n_values, p=likely[column, label]) for column in range(n_columns)]
        for label in y
    ]
    return np.eye(n_values)[np.array(values)].reshape(n_rows, -1), y


def timestamps(seed: int) -> Data:
    """Give the wines beside two columns of seconds since 1970, which say nothing."""
    x, y = load_wine(return_X_y=True)
    made = 1.7e9 + 3e7 * np.random.default_rng(seed).random((len(x), 2))
    return np.hstack([made, x]), y


def gaussian(seed: int) -> Data:
    return make_classification(  # type: ignore[no-any-return]
        1500, 40, n_informative=15, n_classes=4, class_sep=1.5, random_state=seed
    )


KINDS: dict[str, Callable[[int], Data]] = {
    "word counts, 5,000 words": lambda seed: counts(5000, seed),
    "word counts, 20,000 words": lambda seed: counts(20_000, seed),
    "tf-idf, 5,000 words": lambda seed: tf_idf(5000, seed),
    "tf-idf, 35,000 words": lambda seed: tf_idf(35_000, seed),
    "genes, logarithms": genes,
    "genes in [0, 1]": genes_to_1,
    "digits / 16": lambda seed: digits(1 / 16),
    "digits, 0 to 16": lambda seed: digits(1),
    "digits × 10⁻⁶": lambda seed: digits(1e-6),
    "digits / 16 + 300": lambda seed: digits(1 / 16, 300),
    "digits / 16, 80 constant columns": lambda seed: with_constants(),
    "one-hot, 12 of 40": one_hot,
    "wine, raw": lambda seed: load_wine(return_X_y=True),
    "breast cancer, raw": lambda seed: load_breast_cancer(return_X_y=True),
    "wine beside timestamps": timestamps,
    "four Gaussian classes": gaussian,
}
