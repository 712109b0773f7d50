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
from ..base.text import shown
from ..core.activations import TopK
from ..errors import DataError, EmptyClusterWarning, warn
from ..models.clusters import Clusters
from ..models.stacked import StackedAutoencoder
from ..training.callbacks import CallbackOption
from ..training.corruptions import Corruption
from ..training.optimizers import Optimizer, Rule
from ..training.rates import RateOption
from .unsupervised import Unsupervised


class DeepEmbeddedClustering(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClusterMixin,  # type: ignore[misc]
    Unsupervised,
):
    """Deep embedded clustering [1]_: codes that fall into clusters, and the clusters of the rows.

    `fit` trains the autoencoders, finds `n_clusters` centers of their codes by k-means, and then
    moves encoders and centers together: each row belongs a little to every cluster, by Student's
    t-distribution over its distances from the centers, and training makes these assignments more
    decided. The targets that it is drawn to are the squared assignments over the clusters' sizes;
    they are over all rows, and renewed each `update_every` minibatches.

    Parameters
    ----------
    n_clusters : int, default 8
    units : int or sequence of int, default (500, 500, 2000, 10)
        Units of each layer; the last is the width of the code. As in the paper.
    n_init : int, default 20
        Starts of k-means, the best of which gives the first centers.
    cluster_steps : int, default 20000
        Most minibatches of clustering; 0 leaves codes and centers as k-means finds them.
    cluster_learning_rate : float or object of :mod:`sae_fast.schedules`, default 0.0001
    cluster_optimizer : str or object of :mod:`sae_fast.optimizers`, default "adam"
    update_every : int, default 140
        Minibatches from one renewal of the targets to the next.
    tol : float, default 0.001
        Clustering ends when the cluster of at most this share of the rows has changed since the
        last renewal.
    steps, epochs, learning_rate, tune_steps, tune_epochs, tune_learning_rate, batch_size, \
    weight_decay, loss, activation, output, optimizer, corruption, dropout, init, standardize, \
    scale, dtype, eval_every, random_state, n_threads, callbacks, verbose
        Of the autoencoders, as of :class:`StackedAutoencoderTransformer`; `batch_size` is of
        clustering too, and `callbacks` see nothing of that. The default `activation` and `output`,
        None, are "relu", but "linear" for the code and for what restores the rows.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n_samples,)
        The cluster of each row of `fit`.
    cluster_centers_ : ndarray of shape (n_clusters, units[-1])
        In the codes, those of ``network_.encode``.
    start_labels_ : ndarray of int, shape (n_samples,)
        What k-means found in the codes before they were moved.
    changes_ : list of float
        For each renewal of the targets, the share of the rows that had changed their cluster.
    n_iter_ : int
        How many there were.
    converged_ : bool
        Whether the last was at most `tol`.
    network_ : StackedAutoencoder
        Its encoders, for rows in their own units; its decoders are as they were before clustering.
    histories_, history_, loss_curve_, n_features_in_, feature_names_in_
        As of :class:`StackedAutoencoderTransformer`.

    References
    ----------
    .. [1] Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis",
       ICML 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_blobs
    >>> from sae_fast.sklearn import DeepEmbeddedClustering
    >>> x, y = make_blobs(500, 20, centers=3, random_state=0)
    >>> dec = DeepEmbeddedClustering(3, units=(50, 5), random_state=0).fit(x)
    >>> dec.converged_, dec.transform(x).shape
    (True, (500, 3))
    >>> bool((dec.predict(x) == dec.labels_).all())
    True
    """

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
        update_every: int = 140,
        tol: float = 1e-3,
        steps: int | Sequence[int] | None = None,
        epochs: int | Sequence[int] | None = None,
        learning_rate: RateOption | Sequence[RateOption] | None = None,
        tune_steps: int = 0,
        tune_epochs: int | None = None,
        tune_learning_rate: RateOption | None = None,
        batch_size: int = 256,
        weight_decay: float = 0.0,
        loss: str | Sequence[str] = "squared_error",
        activation: str | Sequence[str] | None = None,
        output: str | Sequence[str] | None = None,
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

    def _functions(self) -> tuple[Any, Any]:
        rest = ["relu"] * (len(self._units()) - 1)
        activation = [*rest, "linear"] if self.activation is None else self.activation
        return activation, ["linear", *rest] if self.output is None else self.output

    def _build(self, X: Any, of_constants: float, **top: Any) -> StackedAutoencoder:
        for name, least in (("n_clusters", 1), ("n_init", 1), ("update_every", 1)):
            check_int(name, getattr(self, name), least)
        check_int("cluster_steps", self.cluster_steps, 0)
        how = self.cluster_optimizer, "tf1", self.cluster_learning_rate
        rate = Optimizer.check(*how, prefix="cluster_").learning_rate
        if rate is None:
            raise DataError("cluster_learning_rate: expected a number or a schedule, got None")
        rate.check(0, self.cluster_steps)
        if check_float("tol", self.tol, positive=False) > 1:
            raise DataError(f"tol: expected a share from 0 to 1, got {shown(self.tol)}")
        if X.shape[0] < self.n_clusters:
            raise DataError(
                f"n_clusters: expected at most as many as rows, n_samples={X.shape[0]}, got "
                f"{self.n_clusters}"
            )
        activation = self._functions()[0]
        last = activation[-1] if isinstance(activation, (list, tuple)) else activation
        if isinstance(last, TopK):
            raise DataError(f"activation: expected no TopK of the code, got {shown(activation)}")
        return super()._build(X, of_constants, **top)

    def _finish(self, net: StackedAutoencoder, X: Any, weight: Any) -> None:
        codes = net.encode(X, scale=self.scale)
        start = KMeans(self.n_clusters, n_init=self.n_init, random_state=net.seed)
        start.fit(codes, sample_weight=weight)
        self.start_labels_ = start.labels_.astype(np.int64)
        clusters = Clusters(net, start.cluster_centers_)
        found = clusters.refine(
            X,
            steps=self.cluster_steps,
            learning_rate=self.cluster_learning_rate,
            sample_weight=weight,
            update_every=self.update_every,
            tol=self.tol,
            batch_size=self._batch_size(X.shape[0]),
            optimizer=self.cluster_optimizer,
            scale=self.scale,
            progress=bool(self.verbose),
        )
        clusters.copy_to(net)
        self.cluster_centers_, self.labels_ = clusters.centers, found.labels
        self.changes_, self.n_iter_ = found.changes, len(found.changes)
        self.converged_ = found.converged
        sizes = np.bincount(self.labels_, minlength=self.n_clusters)
        if not sizes.all():
            empty = np.flatnonzero(sizes == 0).tolist()
            warn(
                f"n_clusters: clusters {empty} of {self.n_clusters} have no rows; try fewer, or "
                "a smaller cluster_learning_rate",
                EmptyClusterWarning,
            )

    def _clusters(self) -> Clusters:
        check_is_fitted(self)
        return Clusters(self._network, self.cluster_centers_)

    def transform(self, X: Any) -> NDArray[Any]:
        """Return how much of each row belongs to each cluster, shape (n_samples, n_clusters).

        Rows sum to 1.
        """
        _, X = self._fitted(X)
        return self._clusters().assignments(X, scale=self.scale)

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return the cluster of each row, shape (n_samples,): where most of it belongs."""
        labels: NDArray[np.int64] = self.transform(X).argmax(axis=1)
        return labels

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:  # noqa: D105 (scikit-learn's own)
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags
