# SPDX-License-Identifier: BSD-3-Clause
"""The autoencoders of a stack as one deep one: up through all encoders, down through all decoders.

It is what `StackedAutoencoder.finetune_autoencoder` trains. The layers are the stack's own, which
copies them here and back, so that neither holds the other; a network is there once it is needed.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Sequence
from typing import Any

from ..base.streams import Purpose
from ..core.activations import Function
from ..core.layers import Part
from ..core.networks import Network, new_network
from ..exchange.model_file import to_bytes
from .claims import in_turn
from .model import Model


class Unrolled(Model):
    """All layers of the autoencoders of a stack, in the order in which samples go through them."""

    _stream = Purpose.PRETRAIN_ORDER, 0

    def __init__(self, stack: Model, sizes: Sequence[int], activations: Sequence[Function]) -> None:
        self._stack = weakref.ref(stack)
        self._NAME = stack._NAME  # type: ignore[misc]
        self.n_features, self.dtype, self.seed = stack.n_features, stack.dtype, stack.seed
        self.init, self.tied, self._turns = stack.init, stack.tied, stack._turns
        self._widths = (*sizes, *sizes[-2::-1])
        self._activations, self._depth = activations, stack._depth
        self._restoring: int = len(activations) - 1
        self._decoder = str(activations[-1])
        self._title = f"tuning ({' → '.join(map(str, (sizes[0], sizes[-1], sizes[0])))})"

    @functools.cached_property
    def _network(self) -> Network:  # type: ignore[override]
        return new_network(self.dtype, self._widths, self._activations, tied=self.tied)

    def _names(self) -> list[tuple[str, str]]:
        return [(f"W{layer}", f"b{layer}") for layer in range(1, len(self._widths))]

    def _whole(self) -> Model:
        stack = self._stack()
        assert stack is not None
        return stack

    def _describe(self) -> dict[str, Any]:
        return self._whole()._describe()

    @in_turn
    def _bytes(self) -> bytes:
        return to_bytes(self._whole())

    def _part(self, part: str | None) -> Part:
        return self._whole()._part(part)

    def __getattr__(self, name: str) -> Any:
        """Return what callbacks may want to know of the stack."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._whole(), name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Let pickles and copies be of the stack, as files are."""
        return copy.copy, (self._whole(),)
