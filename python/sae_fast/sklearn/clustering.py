# SPDX-License-Identifier: BSD-3-Clause
"""Clusters of rows, found in codes that are learned for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.utils.validation import check_is_fitted

from ..base.checks import check_float, check_int
from ..errors import DataError, EmptyClusterWarning, warn
from ..models.clusters import Clusters
from ..models.stacked import StackedAutoencoder
from ..training.callbacks import CallbackOption
from ..training.corruptions import Corruption
from ..training.optimizers import Rule
from ..training.rates import RateOption
from .unsupervised import Unsupervised


class DeepEmbeddedClustering(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClusterMixin,  # type: ignore[misc]
    Unsupervised,
):
    """DOC."""

    _part = "encoder"

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        units: int | Sequence[int] = (500, 500, 2000, 10),
        n_init: int = 20,
        cluster_steps: int = 20_000,
        cluster_learning_rate: RateOption = 1e-4,
        cluster_optimizer: str | Rule = "adam",
        cluster_batch_size: int = 256,
        update_every: int = 140,
        tol: float = 1e-3,
        steps: int | Sequence[int] | None = None,
        epochs: int | Sequence[int] | None = None,
        learning_rate: RateOption | Sequence[RateOption] | None = None,
        tune_steps: int | None = None,
        tune_epochs: int | None = None,
        tune_learning_rate: RateOption | None = None,
        batch_size: int = 100,
        weight_decay: float = 0.0,
        loss: str | Sequence[str] = "squared_error",
        activation: str | Sequence[str] = "relu",
        output: str | Sequence[str] = "linear",
        optimizer: str | Rule = "adam",
        corruption: str | Corruption | None = None,
        dropout: float | Sequence[float] = 0.0,
        init: str = "data",
        standardize: bool = True,
        scale: float | None = None,
        dtype: str = "float32",
        eval_every: int | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        callbacks: Sequence[CallbackOption] | None = None,
        verbose: bool = False,
    ) -> None:
        self._keep(locals())

    def _finish(self, net: StackedAutoencoder, X: Any) -> None:
        codes = net.encode(X, scale=self.scale)
        start = KMeans(self.n_clusters, n_init=self.n_init, random_state=net.seed).fit(codes)
        self.start_labels_ = start.labels_
        clusters = Clusters(net, start.cluster_centers_)
        n_samples = X.shape[0]
        found = clusters.refine(
            X,
            steps=self.cluster_steps,
            update_every=self.update_every,
            tol=self.tol,
            batch_size=min(self.cluster_batch_size, n_samples),
            learning_rate=self.cluster_learning_rate,
            optimizer=self.cluster_optimizer,
            weight_decay=0.0,
            sample_weight=None,
            scale=self.scale,
            callbacks=None,
            progress=bool(self.verbose),
        )
        clusters.copy_to(net)
        self.cluster_centers_ = clusters.centers
        self.labels_ = found.labels
        self.changes_ = found.changes
        self.n_iter_ = len(found.changes)
        self.converged_ = found.converged
