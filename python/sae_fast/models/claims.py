# SPDX-License-Identifier: BSD-3-Clause
"""Who may train a model, and who sees or changes it as a whole meanwhile."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ..base.threads import Turns
from ..errors import DataError


class Shared(Protocol):
    """What may be on several threads at once."""

    _turns: Turns

    def _trained(self) -> Sequence[Any]: ...


_M = TypeVar("_M", bound=Shared)
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Claim:
    """A method that trains: on its thread, in its process, until it is over."""

    def __init__(self) -> None:
        self.thread, self.process = threading.get_ident(), os.getpid()
        self.over = False

    def take(self, model: Shared) -> Claim:
        """Claim a model; return the claim that holds it, which is this one or was there before.

        Each step is one operation under the GIL. A claim that is over, however it ended, is
        followed by the first that asks, so that all who come find the same one at the end. A forked
        child has none of its parent's threads that train.
        """
        claim = vars(model).setdefault("_claim", self)
        while claim is not self and (claim.over or claim.process != os.getpid()):
            claim = vars(claim).setdefault("next", self)
        if claim is self:
            vars(model)["_claim"] = self
        return claim  # type: ignore[no-any-return]

    @staticmethod
    def of(model: Shared) -> Claim | None:
        """Return the claim that holds a model, if one does."""
        claim: Claim | None = vars(model).get("_claim")
        while claim is not None and (claim.over or claim.process != os.getpid()):
            claim = vars(claim).get("next")
        return claim


def trains(method: Callable[Concatenate[_M, _P], _R]) -> Callable[Concatenate[_M, _P], _R]:
    """Let a method refuse to run while its model, or a part of it, is in training already."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def alone(self: _M, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            signature.bind(self, *args, **kwargs)
        except TypeError as error:  # Python names the class that defines the method
            raise TypeError(f"{type(self).__name__}.{method.__name__}() {error}") from None
        mine = Claim()
        try:
            for model in self._trained():
                claim = mine.take(model)
                if claim is not mine:
                    where = "on another thread"
                    if claim.thread == mine.thread:
                        where = "already, by what called this"
                    raise DataError(
                        f"{method.__name__}: expected a model that is not in training, got one "
                        f"that is being trained {where}"
                    )
            return method(self, *args, **kwargs)
        finally:
            mine.over = True

    return alone


def in_turn(method: Callable[Concatenate[_M, _P], _R]) -> Callable[Concatenate[_M, _P], _R]:
    """Let a method see or change its model as a whole, between two native calls of a training."""

    @functools.wraps(method)
    def wait(self: _M, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._turns.queue, self._turns.lock:
            return method(self, *args, **kwargs)

    return wait
