# SPDX-License-Identifier: BSD-3-Clause
"""Noise on the samples that an autoencoder reads; what it has to restore stays clean."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, cast

from ..base.checks import settle_float
from ..base.streams import Purpose, stream_key
from ..base.text import shown
from ..core.networks import Network, new_corruption
from ..errors import DataError


class Corruption:
    """A kind of noise: its name, and its settings, all of them numbers."""

    name: ClassVar[str]

    def describe(self) -> dict[str, Any]:
        """Return what identifies it, in JSON's types."""
        return {"name": self.name, **vars(self)}

    def in_core(self, network: Network, seed: int, layer: int) -> Any:
        """Return the core's own, of the stream of this seed and layer."""
        key = stream_key(seed, Purpose.CORRUPTION, layer).tolist()
        return new_corruption(network, self.name, vars(self), key)


@dataclasses.dataclass(frozen=True)
class Masking(Corruption):
    """Each feature of each sample is zero with probability `share`, anew at each step [1]_.

    Which are is a function of the model's seed, its layer, the step, the row of the batch and the
    column. A batch of sparse samples becomes a dense one: steps then take the time of dense ones.

    Parameters
    ----------
    share : float
        Less than 1.

    Raises
    ------
    DataError
        If it is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> noise = sae_fast.corruptions.Masking(0.25)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, corruption=noise)

    References
    ----------
    .. [1] Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked denoising
       autoencoders", JMLR 11, 2010.
    """

    name: ClassVar[str] = "masking"

    share: float = 0.25

    def __post_init__(self) -> None:
        """Check the share, and make it Python's own."""
        settle_float(self, "share", share=True)


#: All kinds, a line each.
CORRUPTIONS: dict[str, type[Corruption]] = {
    kind.name: kind
    for kind in (
        Masking,
    )
}  # fmt: skip


def check_corruption(corruption: object) -> Corruption | None:
    """Return what a user asked for; DataError if it is none."""
    if corruption is None or type(corruption) in CORRUPTIONS.values():
        return cast("Corruption | None", corruption)
    raise DataError(
        f"corruption: expected None or an object of sae_fast.corruptions, got {shown(corruption)}"
    )
