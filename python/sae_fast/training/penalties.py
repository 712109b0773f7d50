# SPDX-License-Identifier: BSD-3-Clause
"""What is added to a training's loss beside weight decay: one record for each penalty."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from ..base.checks import check_held, settle_float
from ..base.text import shown
from ..core.activations import Function
from ..errors import DataError


class Penalty:
    """A penalty: its name, whether it is on codes, and its settings, all of them numbers."""

    name: ClassVar[str]
    on_codes: ClassVar[bool] = False
    whole_batch: ClassVar[bool] = False  # whether it is more than the sum of what samples give

    def _options(self) -> dict[str, float]:
        """Return what the core takes, by its names."""
        (number,) = vars(self).values()
        return {self.name: number}

    def _check(self, encoder: Sequence[Function]) -> None:
        """Raise DataError if it does not fit an encoder with these activations."""

    def describe(self) -> dict[str, Any]:
        """Return what identifies it, in JSON's types."""
        return {"name": self.name, **vars(self)}


@dataclasses.dataclass(frozen=True)
class _Strength(Penalty):
    strength: float

    def __post_init__(self) -> None:
        """Check the number, and make it Python's own."""
        settle_float(self, "strength")


class L1(_Strength):
    """``strength * sum |w|`` over all weights, biases aside [1]_: many become small.

    Its derivative, ``strength * sign(w)``, is 0 where a weight is 0. Steps do not end at 0 exactly.

    Parameters
    ----------
    strength : float
        At least 0. A batch's loss is a sum over its samples, and this is added to it once.

    Raises
    ------
    DataError
        If it is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> few = sae_fast.penalties.L1(0.1)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, penalties=[few])

    References
    ----------
    .. [1] Tibshirani, "Regression shrinkage and selection via the lasso", Journal of the
       Royal Statistical Society B 58, 1996.
    """

    name: ClassVar[str] = "l1"


@dataclasses.dataclass(frozen=True)
class MaxNorm(Penalty):
    """After each step, the weights into a hidden unit are scaled to a norm of at most `norm` [1]_.

    That bounds each column of ``W_enc`` or, in a stack, of all layers but the last: of the softmax,
    or of the decoder that gives the samples back. It adds nothing to the loss.

    Parameters
    ----------
    norm : float
        More than 0.

    Raises
    ------
    DataError
        If it is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> ae = sae_fast.Autoencoder(8, 3, dtype="float64")
    >>> history = ae.fit(x, steps=50, penalties=[sae_fast.penalties.MaxNorm(0.5)])
    >>> bool(np.linalg.norm(ae.parameters["W_enc"], axis=0).max() <= 0.5 + 1e-12)
    True

    References
    ----------
    .. [1] Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: a simple
       way to prevent neural networks from overfitting", JMLR 15, 2014.
    """

    name: ClassVar[str] = "max_norm"

    norm: float

    def __post_init__(self) -> None:
        """Check the number, and make it Python's own."""
        settle_float(self, "norm", positive=True)


class CodeL1(_Strength):
    """``strength * sum |code|`` over samples and units: few units are far from 0 at a time [1]_.

    Parameters
    ----------
    strength : float
        At least 0.

    Raises
    ------
    DataError
        If it is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> sparse = sae_fast.penalties.CodeL1(0.1)
    >>> history = sae_fast.Autoencoder(8, 12).fit(x, steps=50, penalties=[sparse])

    References
    ----------
    .. [1] Glorot, Bordes and Bengio, "Deep sparse rectifier neural networks", AISTATS 2011.
    """

    name: ClassVar[str] = "code_l1"
    on_codes: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class KLSparsity(Penalty):
    """Each unit of a sigmoid code is to be at `target` on the mean over the batch [1]_.

    ``strength * n * sum over units of target log(target / mean) + (1 - target) log((1 - target) /
    (1 - mean))``, where n is the number of samples and `mean` that of a unit's activations, over
    the batch in training, over the whole set in an evaluation, clipped to [1e-10, 1 - 1e-10]. The
    paper adds it once to a mean over samples; losses being sums over samples here, it counts once
    for each.

    Parameters
    ----------
    strength : float
        At least 0.
    target : float
        Between 0 and 1.

    Raises
    ------
    DataError
        If an argument is out of its range, or the code is of another activation.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> sparse = sae_fast.penalties.KLSparsity(3, target=0.1)
    >>> ae = sae_fast.Autoencoder(8, 12, activation="sigmoid")
    >>> history = ae.fit(x, steps=50, penalties=[sparse])

    References
    ----------
    .. [1] Ng, "Sparse autoencoder", CS294A lecture notes, Stanford University, 2011.
    """

    name: ClassVar[str] = "kl_sparsity"
    on_codes: ClassVar[bool] = True
    whole_batch: ClassVar[bool] = True

    strength: float
    target: float = 0.05

    def __post_init__(self) -> None:
        """Check the numbers, and make them Python's own."""
        settle_float(self, "strength")
        settle_float(self, "target", positive=True, share=True)

    def _options(self) -> dict[str, float]:
        return {"kl_sparsity": self.strength, "kl_target": self.target}

    def _check(self, encoder: Sequence[Function]) -> None:
        if encoder[-1] != "sigmoid":
            raise DataError(
                f"penalties: expected a code of activation 'sigmoid' for {self}, got one of "
                f"{encoder[-1]!r}"
            )


class Contractive(_Strength):
    """Codes are to change little with the samples [1]_: the norm of their derivatives is added.

    ``strength * sum over samples and units of f'(z)² |w|²``, w being the weights into the unit and
    f its activation: the squared norm of the Jacobian of the code, in closed form for an encoder of
    one layer. Where f has no curvature (relu, leaky_relu, linear), it is a weight decay of the
    units that are on.

    Parameters
    ----------
    strength : float
        At least 0.

    Raises
    ------
    DataError
        If it is out of its range, or there are several layers to the code.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> ae = sae_fast.Autoencoder(8, 12, activation="sigmoid")
    >>> history = ae.fit(x, steps=50, penalties=[sae_fast.penalties.Contractive(0.1)])

    References
    ----------
    .. [1] Rifai, Vincent, Muller, Glorot and Bengio, "Contractive auto-encoders: explicit
       invariance during feature extraction", ICML 2011.
    """

    name: ClassVar[str] = "contractive"
    whole_batch: ClassVar[bool] = True
    on_codes: ClassVar[bool] = True

    def _check(self, encoder: Sequence[Function]) -> None:
        if len(encoder) > 1:
            raise DataError(
                f"penalties: expected one layer to the code for {self}, got {len(encoder)}"
            )


#: All of them, a line each.
PENALTIES: dict[str, type[Penalty]] = {
    kind.name: kind
    for kind in (
        L1,
        MaxNorm,
        CodeL1,
        KLSparsity,
        Contractive,
    )
}


def check_penalties(
    penalties: object, dtype: str, *encoders: Sequence[Function]
) -> tuple[Penalty, ...]:
    """Return what a user asked for; DataError if it is none, or none for this precision.

    encoders: of each autoencoder in the training, the activations up to its code; none: no codes.
    """
    names = ", ".join(kind.__name__ for kind in PENALTIES.values())
    known = f"objects of sae_fast.penalties ({names})"
    if not isinstance(penalties, list | tuple):
        raise DataError(f"penalties: expected a list of {known}, got {shown(penalties)}")
    for penalty in penalties:
        if not isinstance(penalty, Penalty) or type(penalty) not in PENALTIES.values():
            raise DataError(f"penalties: expected {known}, got {shown(penalty)}")
        check_held("penalties", penalty, penalty._options().values(), dtype)
        if penalty.on_codes and not encoders:
            raise DataError(
                f"penalties: expected L1 or MaxNorm, which are on weights, got {penalty}, which is "
                "on the codes of an autoencoder"
            )
        for encoder in encoders:
            penalty._check(encoder)
    kinds = [type(penalty).__name__ for penalty in penalties]
    twice = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]
    if twice:
        raise DataError(f"penalties: expected one {twice[0]}, got {kinds.count(twice[0])}")
    return tuple(penalties)
