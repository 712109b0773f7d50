# SPDX-License-Identifier: BSD-3-Clause
"""The optimizers: one record for each, with its settings, and the names of what it remembers."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_choice, settle_float, unknown_name
from ..base.text import shown
from ..core.networks import new_optimizer
from ..errors import DataError
from .rates import Constant, Rate, check_rate
from .sizes import Sizes

_FORMS = ("tf1", "torch")


class Rule:
    """An update rule: its name, the names of the arrays that it keeps, and its settings."""

    name: ClassVar[str]
    slots: ClassVar[tuple[str, ...]]

    def _options(self) -> dict[str, float]:
        """Return the settings as the core takes them."""
        return vars(self)

    def fitting_rate(
        self, sizes: Sizes, targets: Sizes | None, most: float, batch_size: int
    ) -> float:
        """Return a rate that fits samples and targets; where steps are as large, at most `most`."""
        return sizes.learning_rate(most)


@dataclasses.dataclass(frozen=True)
class Adam(Rule):
    """Adam [1]_: steps along the mean of the gradients over the root of that of their squares.

    Parameters
    ----------
    form : {"tf1", "torch"}
        Where epsilon is added: to the uncorrected √v (TensorFlow 1) or the corrected (PyTorch).
    beta1, beta2 : float
        What is left of the means of gradients and of their squares after a step; less than 1.
    epsilon : float

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> adam = sae_fast.optimizers.Adam("torch", beta1=0.8)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, optimizer=adam)

    References
    ----------
    .. [1] Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    name: ClassVar[str] = "adam"
    slots: ClassVar[tuple[str, ...]] = ("m", "v")

    form: str = "tf1"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Check the settings, and make the numbers Python's own."""
        check_choice("form", self.form, _FORMS)
        settle_float(self, "beta1", share=True)
        settle_float(self, "beta2", share=True)
        settle_float(self, "epsilon", positive=True)

    def _options(self) -> dict[str, float]:
        numbers = {name: getattr(self, name) for name in ("beta1", "beta2", "epsilon")}
        return {**numbers, "corrected_epsilon": self.form == "torch"}


@dataclasses.dataclass(frozen=True)
class AdamW(Rule):
    """Adam in PyTorch's form, with weight decay apart from the gradient [1]_.

    Each step first takes ``w *= 1 - rate weight_decay``, of weights, not of biases. An L2 penalty,
    the ``weight_decay=`` of a training, is part of the gradient as with every optimizer.

    Parameters
    ----------
    weight_decay : float
    beta1, beta2, epsilon : float
        As of :class:`Adam`.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> adamw = sae_fast.optimizers.AdamW(weight_decay=0.1)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, optimizer=adamw)

    References
    ----------
    .. [1] Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    name: ClassVar[str] = "adamw"
    slots: ClassVar[tuple[str, ...]] = ("m", "v")

    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Check the settings, and make them Python's own."""
        settle_float(self, "weight_decay")
        settle_float(self, "beta1", share=True)
        settle_float(self, "beta2", share=True)
        settle_float(self, "epsilon", positive=True)

    def _options(self) -> dict[str, float]:
        return {**vars(self), "corrected_epsilon": True}


@dataclasses.dataclass(frozen=True)
class SGD(Rule):
    """Gradient descent, with momentum [1]_ or without: ``v = momentum v + dw, w -= rate v``.

    Parameters
    ----------
    momentum : float
        What is left of v after a step; less than 1. 0: none.
    nesterov : bool
        Nesterov's form: ``w -= rate (dw + momentum v)``.

    Notes
    -----
    A gradient is as large as samples and batches are. So without a `learning_rate` the rate is
    ``0.3 (1 - momentum) / (batch_size (1 + s))``, s being the mean of ``‖x‖²``.

    Raises
    ------
    DataError
        If an argument is out of its range, or `nesterov` is without momentum.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> sgd = sae_fast.optimizers.SGD(momentum=0.9, nesterov=True)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, optimizer=sgd, learning_rate=1e-4)

    References
    ----------
    .. [1] Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and
       momentum in deep learning", ICML 2013.
    """

    name: ClassVar[str] = "sgd"
    slots: ClassVar[tuple[str, ...]] = ("v",)

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Check the settings, and make the number Python's own."""
        settle_float(self, "momentum", share=True)
        if not isinstance(self.nesterov, bool) or (self.nesterov and not self.momentum):
            raise DataError(
                "nesterov: expected True or False, True with momentum alone, "
                f"got {shown(self.nesterov)}"
            )

    def fitting_rate(
        self, sizes: Sizes, targets: Sizes | None, most: float, batch_size: int
    ) -> float:
        """Return a rate that does not diverge: three times this may (benchmarks/sgd_rate.py)."""
        squares = max(float((own.mean**2 + own.spread**2).sum()) for own in (sizes, targets) if own)
        return 0.3 * (1 - self.momentum) / (batch_size * (1 + squares))


@dataclasses.dataclass(frozen=True)
class RMSprop(Rule):
    """RMSprop [1]_ as PyTorch has it: steps along the gradient over the root of its mean square.

    ``v = alpha v + (1 - alpha) dw², w -= rate dw / (√v + epsilon)``

    Parameters
    ----------
    alpha : float
        What is left of the mean of squares after a step; less than 1.
    epsilon : float

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> rmsprop = sae_fast.optimizers.RMSprop(alpha=0.9)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, optimizer=rmsprop)

    References
    ----------
    .. [1] Tieleman and Hinton, "Lecture 6.5 - rmsprop", Neural networks for machine learning,
       Coursera 2012.
    """

    name: ClassVar[str] = "rmsprop"
    slots: ClassVar[tuple[str, ...]] = ("v",)

    alpha: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Check the settings, and make them Python's own."""
        settle_float(self, "alpha", share=True)
        settle_float(self, "epsilon", positive=True)


RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        Adam,
        AdamW,
        SGD,
        RMSprop,
    )
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An update rule and its rate."""

    rule: Rule
    learning_rate: Rate | None  # None: what fits the data, before these are known

    @classmethod
    def check(
        cls, optimizer: str | Rule, adam: str, learning_rate: Any, prefix: str = ""
    ) -> Optimizer:
        """Check what a user asked for; `adam` is the form of ``optimizer="adam"``.

        prefix: what the names of the arguments begin with.
        """
        check_choice("adam", adam, _FORMS)
        rate = learning_rate
        if rate is not None:
            rate = check_rate(f"{prefix}learning_rate", rate)
        if isinstance(optimizer, Rule) and type(optimizer) in RULES.values():
            rule = optimizer
        elif isinstance(optimizer, str) and optimizer in RULES:
            rule = Adam(adam) if optimizer == "adam" else RULES[optimizer]()
        else:
            more = ", or one from sae_fast.optimizers"
            raise unknown_name(f"{prefix}optimizer", optimizer, list(RULES), more)
        if adam != "tf1" and rule != Adam(adam):
            raise DataError(
                f"adam: expected none beside optimizer={shown(optimizer)}, got {adam!r}"
            )
        return cls(rule, rate)

    def with_rate(self, rate: float) -> Optimizer:
        """Return the same with a constant rate."""
        return dataclasses.replace(self, learning_rate=Constant(rate))

    def until(self, end: int) -> Optimizer:
        """Return the same for a training before whose end so many steps are taken in all."""
        rate = self.learning_rate
        return dataclasses.replace(self, learning_rate=rate and rate.until(end))

    def rates(self, first: int, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rates of so many steps, after `first` others."""
        assert self.learning_rate is not None
        return self.learning_rate.at(np.arange(first, first + n_steps))

    def in_core(self) -> Any:
        """Return the core's own optimizer of this rule."""
        return new_optimizer(self.rule.name, self.rule._options())

    def describe(self) -> dict[str, Any]:
        """Return what identifies it, in JSON's types."""
        rule = {"name": self.rule.name, **vars(self.rule)}
        return {
            "optimizer": rule,
            "learning_rate": self.learning_rate and self.learning_rate.describe(),
        }
