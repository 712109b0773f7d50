# SPDX-License-Identifier: BSD-3-Clause
"""The optimizers: one record for each, with its settings, and the names of what it remembers."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_choice, check_float, settle_float
from ..base.text import shown
from ..core.networks import new_optimizer
from ..errors import DataError

_FORMS = ("tf1", "torch")


class Rule:
    """An update rule: its name, the names of the arrays that it keeps, and its settings."""

    name: ClassVar[str]
    slots: ClassVar[tuple[str, ...]]

    def _options(self) -> dict[str, float]:
        """Return the settings as the core takes them."""
        return vars(self)


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
class SGD(Rule):
    """Gradient descent, with momentum [1]_ or without: ``v = momentum v + dw, w -= rate v``.

    Parameters
    ----------
    momentum : float
        What is left of v after a step; less than 1. 0: none.
    nesterov : bool
        Nesterov's form: ``w -= rate (dw + momentum v)``.

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


RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        Adam,
        SGD,
    )
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An update rule and its rate."""

    rule: Rule
    learning_rate: float | None  # None: what fits the data, before these are known

    @classmethod
    def check(cls, optimizer: str | Rule, adam: str, learning_rate: float | None) -> Optimizer:
        """Check what a user asked for; `adam` is the form of ``optimizer="adam"``."""
        check_choice("adam", adam, _FORMS)
        rate = learning_rate
        if rate is not None:
            rate = check_float("learning_rate", rate, positive=True)
        if isinstance(optimizer, Rule) and type(optimizer) in RULES.values():
            rule = optimizer
        elif isinstance(optimizer, str) and optimizer in RULES:
            rule = Adam(adam) if optimizer == "adam" else RULES[optimizer]()
        else:
            raise DataError(
                f"optimizer: expected one of {', '.join(RULES)}, or one from sae_fast.optimizers, "
                f"got {shown(optimizer)}"
            )
        if adam != "tf1" and rule != Adam(adam):
            raise DataError(
                f"adam: expected none beside optimizer={shown(optimizer)}, got {adam!r}"
            )
        return cls(rule, rate)

    def rates(self, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rates of so many steps."""
        return np.full(n_steps, self.learning_rate)

    def in_core(self) -> Any:
        """Return the core's own optimizer of this rule."""
        return new_optimizer(self.rule.name, self.rule._options())

    def describe(self) -> dict[str, Any]:
        """Return what identifies it, in JSON's types."""
        rule = {"name": self.rule.name, **vars(self.rule)}
        return {"optimizer": rule, "learning_rate": self.learning_rate}
