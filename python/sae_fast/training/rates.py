# SPDX-License-Identifier: BSD-3-Clause
"""Learning rates: each a function of how many steps have been taken before.

The loop asks for the rates of a stretch of steps at a time, just before it takes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_float, check_int, settle_float
from ..base.text import shown
from ..errors import DataError

#: What ``learning_rate=`` takes.
RateOption: TypeAlias = "float | Rate | Callable[[int], Any]"

#: Steps whose rates are asked for before a training starts.
_MOST_ASKED = 100_000

_Rates: TypeAlias = NDArray[np.float64]


class Rate:
    """A learning rate as a function of the steps taken before, which are 0 at the first step."""

    peak: float | None = None  # the highest, where it is known

    def __call__(self, step: int) -> float:
        """Return the rate of the step before which `step` have been taken."""
        return float(self.at(np.array([check_int("step", step, 0)]))[0])

    def at(self, steps: NDArray[np.int64]) -> _Rates:
        """Return the rates of some steps."""
        raise NotImplementedError

    def until(self, end: int) -> Rate:
        """Return the rate of a training before whose end so many steps are taken in all."""
        return self

    def check(self, first: int, n_steps: int) -> None:
        """Raise DataError if a training of so many steps, after `first` others, cannot have it."""
        self.until(first + n_steps).at(np.arange(first, first + min(n_steps, _MOST_ASKED)))

    def describe(self) -> Any:
        """Return what identifies it, in JSON's types."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class _Function(Rate):
    """A user's function of the step, which is called once for each: it may count its calls."""

    function: Callable[[int], Any]
    name: str  # of the argument
    _known: dict[int, float] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def at(self, steps: NDArray[np.int64]) -> _Rates:
        known = self._known
        rates = {
            step: known[step]
            if step in known
            else check_float(f"{self.name}({step})", self.function(step), positive=False)
            for step in steps.tolist()
        }
        if not rates.keys() <= known.keys():  # the latest stretch is all that is kept
            known.clear()
            known.update(rates)
        return np.array(list(rates.values()))

    def describe(self) -> Any:
        named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return {"function": f"{named.__module__}.{named.__qualname__}"}


@dataclasses.dataclass(frozen=True)
class Schedule(Rate):
    """A rate that rises on a line, over `warmup` steps, and then goes its way."""

    name: ClassVar[str]

    rate: float
    warmup: int = dataclasses.field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the numbers, and make them Python's own."""
        settle_float(self, "rate", positive=True)
        self._settle_int("warmup", 0)

    def _settle_int(self, name: str, minimum: int) -> None:
        object.__setattr__(self, name, check_int(name, getattr(self, name), minimum))

    @property
    def peak(self) -> float:  # type: ignore[override]  # noqa: D102
        return self.rate

    def at(self, steps: NDArray[np.int64]) -> _Rates:  # noqa: D102
        rates = self._after(np.maximum(steps - self.warmup, 0).astype(np.float64))
        rising = self.rate * (steps + 1) / (self.warmup + 1)  # none is of rate 0, and in vain
        return np.where(steps < self.warmup, rising, rates)

    def _after(self, t: _Rates) -> _Rates:
        """Return the rates after t steps beyond the warm-up."""
        raise NotImplementedError

    def describe(self) -> Any:  # noqa: D102
        return {"name": self.name, **vars(self)}


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at each step, after the warm-up.

    Parameters
    ----------
    rate : float
    warmup : int, default 0
        Steps over which it rises on a line: ``rate (t + 1) / (warmup + 1)`` after t steps.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import sae_fast
    >>> rate = sae_fast.schedules.Constant(0.01, warmup=99)
    >>> rate(0), rate(49), rate(1000)
    (0.0001, 0.005, 0.01)
    """

    name: ClassVar[str] = "constant"

    def _after(self, t: _Rates) -> _Rates:
        return np.full(t.shape, self.rate)

    def describe(self) -> Any:  # noqa: D102
        return super().describe() if self.warmup else self.rate


@dataclasses.dataclass(frozen=True)
class Step(Schedule):
    """A rate that falls in steps: ``rate factor^⌊t / every⌋``, t steps after the warm-up.

    Parameters
    ----------
    rate : float
    every : int
        Steps between two falls.
    factor : float, default 0.1
        What is left after each; at most 1.
    warmup : int, default 0
        As in :class:`Constant`.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import sae_fast
    >>> rate = sae_fast.schedules.Step(0.01, every=1000, factor=0.5)
    >>> rate(0), rate(999), rate(1000), rate(2000)
    (0.01, 0.01, 0.005, 0.0025)
    """

    name: ClassVar[str] = "step"

    every: int = dataclasses.field(kw_only=True)
    factor: float = dataclasses.field(default=0.1, kw_only=True)

    def __post_init__(self) -> None:
        """Check the numbers, and make them Python's own."""
        super().__post_init__()
        self._settle_int("every", 1)
        settle_float(self, "factor", positive=True)
        if self.factor > 1:
            raise DataError(f"factor: expected at most 1, got {shown(self.factor)}")

    def _after(self, t: _Rates) -> _Rates:
        return self.rate * self.factor ** np.floor(t / self.every)


@dataclasses.dataclass(frozen=True)
class Exponential(Step):
    """A rate that falls steadily: ``rate factor^(t / every)``, t steps after the warm-up.

    Parameters
    ----------
    rate : float
    every : int
        Steps after which `factor` of it is left.
    factor : float, default 0.1
        At most 1.
    warmup : int, default 0
        As in :class:`Constant`.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import sae_fast
    >>> rate = sae_fast.schedules.Exponential(0.01, every=1000, factor=0.25)
    >>> rate(0), rate(500), rate(1000)
    (0.01, 0.005, 0.0025)
    """

    name: ClassVar[str] = "exponential"

    def _after(self, t: _Rates) -> _Rates:
        return self.rate * self.factor ** (t / self.every)


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """A rate that falls along half a cosine [1]_, and stays at its end.

    ``final + (rate - final) (1 + cos(π t / T)) / 2``, t of T steps after the warm-up.

    Parameters
    ----------
    rate : float
    steps : int, optional
        After how many it is at its end, those of the warm-up included. None: where the training
        ends, steps included that ``continued=True`` goes on from.
    final : float, default 0
        Where it ends; at most `rate`.
    warmup : int, default 0
        As in :class:`Constant`.

    Raises
    ------
    DataError
        If an argument is out of its range, or no steps are left after the warm-up.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> rate = sae_fast.schedules.Cosine(0.01, steps=1000)
    >>> rate(0), round(rate(500), 6), rate(1000)
    (0.01, 0.005, 0.0)
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> falling = sae_fast.schedules.Cosine(0.01, warmup=5)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, learning_rate=falling)

    References
    ----------
    .. [1] Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
    """

    name: ClassVar[str] = "cosine"

    steps: int | None = dataclasses.field(default=None, kw_only=True)
    final: float = dataclasses.field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the numbers, and make them Python's own."""
        super().__post_init__()
        settle_float(self, "final")
        if self.final > self.rate:
            raise DataError(f"final: expected at most {self.rate}, got {shown(self.final)}")
        if self.steps is not None:
            self._settle_int("steps", 1)
            if self.warmup >= self.steps:
                raise DataError(
                    f"warmup: expected less than the {self.steps} steps of a cosine, "
                    f"got {self.warmup}"
                )

    def until(self, end: int) -> Rate:  # noqa: D102
        return self if self.steps is not None else dataclasses.replace(self, steps=end)

    def _after(self, t: _Rates) -> _Rates:
        if self.steps is None:
            raise DataError("steps: expected a number outside of a training, got None")
        share = np.minimum(t / (self.steps - self.warmup), 1)
        fallen: _Rates = self.final + (self.rate - self.final) * (1 + np.cos(np.pi * share)) / 2
        return fallen


#: All kinds; what is derived from one is a function of the step, since it may be called another.
SCHEDULES = (Constant, Step, Exponential, Cosine)


def check_rate(name: str, rate: object) -> Rate:
    """Return what a user asked for: a number, a schedule, a function of the step; or DataError."""
    if type(rate) in (_Function, *SCHEDULES):
        return cast("Rate", rate)
    if callable(rate) and not isinstance(rate, type):
        return _Function(rate, name)
    if isinstance(rate, (str, type)):
        raise DataError(
            f"{name}: expected a number, an object of sae_fast.schedules or a function of the "
            f"step, got {shown(rate)}"
        )
    return Constant(check_float(name, rate, positive=True))
