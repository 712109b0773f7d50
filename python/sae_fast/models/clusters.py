# SPDX-License-Identifier: BSD-3-Clause
"""The encoders of a stack under a layer of cluster centers: deep embedded clustering.

Samples are assigned to centers softly, by Student's t-distribution over their distances in the code
(Xie, Girshick and Farhadi 2016). A training draws the assignments towards targets, which are the
assignments themselves, more decided; both the encoders and the centers move for it. Targets are
over all samples and are renewed now and then, not at each step.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.streams import Purpose
from ..core.inputs import as_targets
from ..core.networks import new_network, predict
from ..training.callbacks import Callback, Training, as_callbacks
from ..training.objective import Renewed
from ..training.optimizers import Optimizer, Rule
from ..training.rates import RateOption
from ..training.request import Request
from .model import Model

if TYPE_CHECKING:
    from .stacked import StackedAutoencoder


def decided(q: NDArray[Any], weight: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Return the targets of assignments q (n_samples, n_clusters): q² over a cluster's size.

    Rows sum to 1. Each cluster counts the same, however large it is; `weight` (n_samples,) is how
    often a sample counts in its size.
    """
    q = q.astype(np.float64)
    size = np.average(q, axis=0, weights=weight)
    p = q * (q / np.where(size > 0, size, 1))
    p /= p.sum(axis=1, keepdims=True)
    return p


class Clusters(Model):
    """Copies of a stack's encoders, and centers of their codes, shape (n_clusters, n_hidden)."""

    _NAME = "Clusters"
    _stream = Purpose.FINETUNE_ORDER, 1
    _warns = False  # the stack's trainings did

    def __init__(self, stack: StackedAutoencoder, centers: NDArray[Any]) -> None:
        self.n_features, self.dtype, self.seed = stack.n_features, stack.dtype, stack.seed
        self.init, self.tied = stack.init, False
        self._depth, self._units, self._scale = stack._depth, stack._units, stack._scale
        self._widths = (*stack.sizes, len(centers))
        self._activations = [*stack._activations[: self._depth], "linear"]
        self._title = f"clustering ({' → '.join(map(str, self._widths))})"
        self.n_threads = stack._asked_threads
        self._network = new_network(self.dtype, self._widths, self._activations, centers=True)
        for layer in range(self._depth):
            self._network.copy_layer(layer, stack._network, layer)
        w = np.ascontiguousarray(centers.T, self.dtype)
        self._network.set_parameters(self._depth, w, np.zeros(len(centers), self.dtype))

    def _names(self) -> list[tuple[str, str]]:
        return [(f"W{layer}", f"b{layer}") for layer in range(1, len(self._widths))]

    @property
    def centers(self) -> NDArray[Any]:
        """The centers, shape (n_clusters, n_hidden)."""
        w, _ = self._network.get_parameters(self._depth)
        centers: NDArray[Any] = np.ascontiguousarray(w.T)
        return centers

    def copy_to(self, stack: StackedAutoencoder) -> None:
        """Let a stack have the encoders, which move away from their decoders."""
        for layer in range(self._depth):
            stack._network.copy_layer(layer, self._network, layer)

    def assignments(self, x: Any, *, scale: float | None = None) -> NDArray[Any]:
        """Return how much of each sample belongs to each cluster, (n_samples, n_clusters)."""
        return self._assignments(self._samples(x, scale))

    def _assignments(self, x: Any) -> NDArray[Any]:
        layers = 0, self._depth + 1
        return predict(self._network, x, self.n_threads, layers=layers, softmax=True)

    def refine(
        self,
        x: Any,
        *,
        steps: int,
        update_every: int,
        tol: float,
        batch_size: int,
        learning_rate: RateOption,
        optimizer: str | Rule,
        sample_weight: Any = None,
        scale: float | None = None,
        progress: bool = False,
    ) -> Refinement:
        """Train encoders and centers, and return how that went.

        It ends when, from one renewal of the targets to the next, the cluster of at most a share
        `tol` of the samples changes, or after all steps. The other arguments are those of
        :meth:`StackedAutoencoder.finetune`.
        """
        targets = Renewed(update_every)
        asked = Request(
            sets={"x": x},
            targets={"targets": targets},
            sample_weight=sample_weight,
            scale=scale,
            loss="divergence",
            weight_decay=0.0,
            dropout=0.0,
            penalties=(),
            optimizer=Optimizer.check(optimizer, "tf1", learning_rate),
            steps=steps,
            epochs=None,
            default_steps=1,
            least=0,
            batch_size=batch_size,
            eval_every=0,
            batches=None,
            continued=False,
            callbacks=as_callbacks(None, progress),
        )
        objective = self._objective(asked)
        sets = self._sets(asked, objective)
        schedule = self._schedule(asked, sets[0].x.n_samples)
        refinement = Refinement(self, targets, tol)
        training = self._training(asked, objective, schedule, sets, refinement)
        self._train(training)
        if not schedule.steps:
            refinement.on_start(training)
        return refinement

    def _check_loss(self, loss: Any) -> str:
        return str(loss)

    def _check_target(self, name: str, y: Any, n_samples: int, loss: str) -> Any:
        return y


@dataclasses.dataclass(eq=False)
class Refinement(Callback):
    """Renews the targets of a training, and ends it when clusters hardly change any more.

    labels: the cluster of each sample (n_samples,) at the latest renewal.
    changes: shares of the samples that changed theirs, one for each renewal but the first.
    """

    clusters: Clusters
    targets: Renewed
    tol: float
    labels: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    changes: list[float] = dataclasses.field(default_factory=list)
    converged: bool = False

    def __post_init__(self) -> None:
        """Come as often as targets are renewed."""
        self.every = self.targets.every

    def on_start(self, training: Training) -> None:
        """Find the first targets."""
        self._renew(training)

    def on_step(self, training: Training) -> None:
        """Find the next, or the end."""
        before = self.labels
        self._renew(training)
        self.changes.append(float(np.mean(self.labels != before)))
        if training.step % self.targets.every == 0 and self.changes[-1] <= self.tol:
            self.converged = True
            training.stop()

    def _renew(self, training: Training) -> None:
        model, samples = self.clusters, training.samples
        q = model._assignments(samples.x)
        self.labels = q.argmax(axis=1)
        p, (n_samples, n_clusters) = decided(q, samples.weight).astype(model.dtype), q.shape
        how = model.dtype, model.n_threads
        self.targets.current = as_targets("targets", p, n_samples, n_clusters, *how)
