# SPDX-License-Identifier: BSD-3-Clause
"""A network with a layer of classes or targets on top, or without: fine-tuning and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..base.checks import check_choice, check_classes, check_labels, check_width
from ..base.text import shown
from ..core.inputs import as_targets, labels_of
from ..core.networks import classify, evaluate, predict
from ..errors import DataError
from ..training.callbacks import CallbackOption
from ..training.history import History
from ..training.objective import HEADS, SOFTMAX, check_loss, check_targets, losses_of
from ..training.optimizers import Rule
from ..training.penalties import Penalty
from ..training.rates import RateOption
from ..training.request import Request
from .claims import trains
from .model import Model
from .parameters import ReadOnly

if TYPE_CHECKING:
    pass


def _check_head(n_classes: Any, n_targets: Any, head: Any) -> str | None:
    """Return what the layer on top applies, None if there is none, or raise DataError."""
    if n_classes is not None and n_targets is not None:
        raise DataError(
            f"n_targets: expected None beside n_classes={n_classes}, got {shown(n_targets)}"
        )
    if n_classes is None and n_targets is None:
        if head is not None:
            raise DataError(f"head: expected None without classes or targets, got {shown(head)}")
        return None
    heads = (SOFTMAX,) if n_targets is None else HEADS
    return check_choice("head", heads[0] if head is None else head, heads)


class Headed(Model):
    """Base of :class:`StackedAutoencoder`: what it is to those who know classes or targets."""

    n_classes = ReadOnly["int | None"]()
    n_targets = ReadOnly["int | None"]()
    head = ReadOnly["str | None"]()
    _classes: list[int] | list[str] | None = None

    def _set_head(self, n_classes: Any, n_targets: Any, head: Any) -> None:
        self.n_classes = None if n_classes is None else check_width("n_classes", n_classes, 2)
        self.n_targets = None if n_targets is None else check_width("n_targets", n_targets)
        self.head = _check_head(n_classes, n_targets, head)

    @property
    def classes(self) -> list[int] | list[str] | None:
        """What the classes are called, one name each; None if they have no names.

        Assignable with `n_classes` different int or str; DataError if it is something else. It
        travels with the network; `predict` returns numbers all the same.
        """
        return None if self._classes is None else self._classes.copy()

    @classes.setter
    def classes(self, classes: Sequence[int] | Sequence[str] | None) -> None:
        if classes is not None:
            classes = check_classes("classes", classes, self._check_classes())
        self._classes = classes

    def _check_classes(self) -> int:
        """Return the number of classes, or raise DataError if there is no softmax layer."""
        if self.n_classes is None:
            raise DataError("n_classes: expected a network with classes, got n_classes=None")
        return self.n_classes

    def _check_head(self) -> str:
        """Return what the layer on top applies, or raise DataError if there is none."""
        if self.head is None:
            raise DataError(
                "n_classes: expected a network with classes or targets, got n_classes=None, "
                "n_targets=None"
            )
        return self.head

    def _check_loss(self, loss: str | None) -> str:
        head = self._check_head()
        return losses_of(head, head=True)[0] if loss is None else check_loss(loss, head, head=True)

    def _check_target(self, name: str, y: Any, n_samples: int, loss: str) -> Any:
        """Return what outputs are compared with: labels, or an input of targets."""
        if self.n_targets is None:
            y = labels_of(y)
            return check_labels(name, y, n_samples, self._check_classes())
        how = self.n_targets, self.dtype, self.n_threads
        targets = as_targets(name, y, n_samples, *how)
        check_targets(name, targets, loss, self.n_threads, self._check_head())
        return targets

    @trains
    def finetune(
        self,
        x: Any,
        y: Any,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: RateOption | None = None,
        weight_decay: float = 0.0,
        sample_weight: Any = None,
        eval_every: int = 100,
        eval_set: tuple[Any, Any] | None = None,
        batches: Any = None,
        scale: float | None = None,
        continued: bool = False,
        callbacks: Sequence[CallbackOption] | None = None,
        progress: bool = False,
        loss: str | None = None,
        optimizer: str | Rule = "adam",
        adam: str = "tf1",
        dropout: float | Sequence[float] = 0.0,
        penalties: Sequence[Penalty] = (),
        title: str = "fine-tuning",
    ) -> History:
        """Train the whole network on samples with classes or targets, from its current parameters.

        Parameters
        ----------
        x, epochs, batch_size, learning_rate, sample_weight, batches, scale, continued, \
        callbacks, progress, optimizer, adam
            As in :meth:`Autoencoder.fit`.
        y : array_like of int, shape (n_samples,), or of numbers, shape (n_samples, n_targets)
            Classes from 0 to n_classes - 1; or targets, which may be sparse, or 1-D if
            ``n_targets=1``. A source of classes is read as a whole, one of targets like `x`.
        steps : int, default 30000 (or the length of `batches`)
        weight_decay : float
            L2 penalty on all weights; not part of the loss that is measured on `eval_set`.
        eval_every : int
            Steps between two evaluations on `eval_set`; 0: only at the end.
        eval_set : (x, y), optional
            What to measure loss and accuracy on; without it there is no curve.
        loss : str, optional
            With classes "article", ``-log(clip(p, 1e-10, 1))``, whose gradient is zero below the
            clip, or "cross_entropy", the stable form. With targets as in :meth:`Autoencoder.fit`:
            "squared_error", "huber", "absolute_error" or, with ``head="softplus"``, "poisson"; with
            ``head="sigmoid"`` "binary_cross_entropy". None: the first of each.
        dropout : float or sequence of float
            Of all hidden layers, or of each, as in :meth:`Autoencoder.fit`.
        penalties : list of objects of :mod:`sae_fast.penalties`
            Those on weights: :class:`~sae_fast.penalties.L1`, :class:`~sae_fast.penalties.MaxNorm`.
        title : str
            What the progress bar and errors call this training.

        Returns
        -------
        History
            Loss and, of classes and labels, accuracy on `eval_set` at each evaluation: the share
            that is right. `History.mean_loss` is per sample.

        Raises
        ------
        DataError
            If an argument does not fit; nothing has changed then.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite. The model is then as it was at the
            last evaluation before.
        """
        self._check_head()
        if not isinstance(title, str):
            raise DataError(f"title: expected a str, got {title!r}")
        return self._train_on(Request.of(locals(), default_steps=30000))

    def predict_proba(self, x: Any, *, scale: float | None = None, out: Any = None) -> NDArray[Any]:
        """Return the probability of each class, shape (n_samples, n_classes).

        With ``head="sigmoid"``: of each label, shape (n_samples, n_targets).

        As in :meth:`encode`, the last bits of a row may depend on the rows beside it where layers
        are wide.

        Parameters
        ----------
        x : array_like, frame, SciPy sparse matrix or DataSource, shape (n_samples, n_features)
        scale : float, optional
            Of uint8 samples. None: that of the latest training.
        out : ndarray or path-like, optional
            Where to put the result: an array of its shape, or a path that ends in .npy, as in
            :meth:`encode`. A file that is there is replaced when all is written.

        Raises
        ------
        DataError
            If `x` or `out` does not fit, or `x` has a row whose logits are beyond what `dtype`
            holds, or the network gives no probabilities.
        OSError
            If the file cannot be written, or is no regular one.
        """
        head = self._check_head()
        if head not in (SOFTMAX, "sigmoid"):
            raise DataError(
                f"predict_proba: expected a network with classes or head='sigmoid', got {head!r}"
            )
        return self._outputs(x, scale, out)

    def predict(self, x: Any, *, scale: float | None = None, out: Any = None) -> NDArray[Any]:
        """Return the most probable class of each sample, shape (n_samples,), or its targets.

        Targets have the shape (n_samples, n_targets): numbers, or 0 and 1 with ``head="sigmoid"``.

        Parameters
        ----------
        x : array_like, frame, SciPy sparse matrix or DataSource, shape (n_samples, n_features)
        scale : float, optional
            Of uint8 samples. None: that of the latest training.
        out : ndarray or path-like, optional
            Where to put the result: an array of its shape, or a path that ends in .npy, as in
            :meth:`encode`. A file that is there is replaced when all is written.

        Raises
        ------
        DataError
            If `x` or `out` does not fit, or `x` has a row whose logits are beyond what `dtype`
            holds.
        OSError
            If the file cannot be written, or is no regular one.
        """
        head = self._check_head()
        if head == SOFTMAX:
            self._check_trained([self])
            return classify(self._network, self._samples(x, scale, out=out), self.n_threads, out)
        return self._outputs(x, scale, out, labels=head == "sigmoid")

    def _outputs(
        self, x: Any, scale: float | None, out: Any, *, labels: bool = False
    ) -> NDArray[Any]:
        """Return what the layer on top gives, shape (n_samples, n_classes or n_targets)."""
        self._check_trained([self])
        data, layers = self._samples(x, scale, out=out), (0, self._depth + 1)
        how = {"layers": layers, "softmax": self.head == SOFTMAX, "labels": labels, "out": out}
        return predict(self._network, data, self.n_threads, **how)

    def evaluate(
        self, x: Any, y: Any, *, scale: float | None = None, loss: str | None = None
    ) -> tuple[float, float]:
        """Return the loss summed over the samples, and the share of classes that are right.

        `y` and `loss` are as in :meth:`finetune`; the share is that of labels where each sample has
        several, and NaN in a regression.
        """
        loss = self._check_loss(loss)
        self._check_trained([self])
        data = self._samples(x, scale)
        target = self._check_target("y", y, data.n_samples, loss)
        return evaluate(self._network, data, target, self.n_threads, loss=loss)
