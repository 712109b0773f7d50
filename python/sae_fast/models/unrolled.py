# SPDX-License-Identifier: BSD-3-Clause
"""The autoencoders of a stack as one deep one: up through all encoders, down through all decoders.

It is what `StackedAutoencoder.finetune_autoencoder` trains. The layers are the stack's own, which
it copies from and back to, so that neither holds the other; its network is there once it is needed.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from ..base.streams import Purpose
from ..core.networks import Network, new_network
from ..exchange.model_file import to_bytes
from ..training.callbacks import Callback, Training
from .model import Model, in_turn

if TYPE_CHECKING:
    from .stacked import StackedAutoencoder


class Unrolled(Model):
    """All layers of the autoencoders of a stack, in the order in which samples go through them."""

    _stream = Purpose.PRETRAIN_ORDER, 0
    _stack: Any  # returns whose layers these are, while they are trained

    def __init__(self, net: StackedAutoencoder) -> None:
        autoencoders = net.autoencoders
        self.n_features, self._depth = net.n_features, len(autoencoders)
        self.dtype, self.seed, self.init = net.dtype, net.seed, net.init
        self._NAME = net._NAME  # type: ignore[misc]
        self._widths = (*net.sizes, *net.sizes[-2::-1])
        encoders = [autoencoder.activation for autoencoder in autoencoders]
        self._activations = [*encoders, *(one.output for one in reversed(autoencoders))]
        self._restoring = len(self._activations) - 1
        self._turns = net._turns

    @functools.cached_property
    def _network(self) -> Network:  # type: ignore[override]
        return new_network(self.dtype, self._widths, self._activations)

    def _names(self) -> list[tuple[str, str]]:
        return [(f"W{layer}", f"b{layer}") for layer in range(1, len(self._widths))]

    def _describe(self) -> dict[str, Any]:
        net: StackedAutoencoder = self._stack()
        return net._describe()

    @in_turn
    def _bytes(self) -> bytes:
        return to_bytes(self._stack())

    def _decoder(self, layer: int) -> int:
        """Return which layer is the decoder of an autoencoder, counted from 1."""
        return len(self._activations) - layer

    def copy_from(self, net: StackedAutoencoder) -> None:
        """Take over the encoders of a stack's network, and the decoders of its autoencoders."""
        if net._units != net.autoencoders[0]._units:  # one has been assigned
            net.parameters, net.autoencoders[0].parameters = {}, {}
        self._stack = weakref.ref(net)
        self._units, self._drawn = net._units, net._untouched
        for autoencoder in net.autoencoders:
            self._network.copy_layer(autoencoder.layer - 1, net._network, autoencoder.layer - 1)
            self._network.copy_layer(self._decoder(autoencoder.layer), autoencoder._network, 1)

    def copy_to(self, net: StackedAutoencoder) -> None:
        """Give all layers back."""
        net.scale = self._scale
        net._units = net.autoencoders[0]._units = self._units
        for autoencoder in net.autoencoders:
            for network, at in ((net._network, autoencoder.layer - 1), (autoencoder._network, 0)):
                network.copy_layer(at, self._network, autoencoder.layer - 1)
            autoencoder._network.copy_layer(1, self._network, self._decoder(autoencoder.layer))


class Following(Callback):
    """Keeps a stack up with its unrolled form while that is trained, for who looks meanwhile."""

    def __init__(self, net: StackedAutoencoder, unrolled: Unrolled) -> None:
        self._net, self._unrolled = net, unrolled

    def on_step(self, training: Training) -> None:
        """Copy the layers before other callbacks look."""
        self._unrolled.copy_to(self._net)
