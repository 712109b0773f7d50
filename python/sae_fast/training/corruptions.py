# SPDX-License-Identifier: BSD-3-Clause
"""Noise on the samples that an autoencoder reads; what it has to restore stays clean."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, cast

from ..base.checks import check_choice, check_float, check_held, check_number, settle_float
from ..base.streams import Purpose, stream_key
from ..base.text import shown
from ..core.networks import Network, new_corruption
from ..core.units import PLAIN, Units
from ..errors import DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corruption:
    """A kind of noise: its name, and its settings."""

    name: ClassVar[str]
    whole_batch: ClassVar[bool] = False  # whether what it makes of a sample needs others

    emphasis: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the settings, and make the numbers Python's own."""
        given = self.emphasis
        listed = given if isinstance(given, (tuple, list)) else ()
        factors = [check_float("emphasis", one, positive=False) for one in listed]
        if len(factors) != 2 or not any(factors):
            raise DataError(
                "emphasis: expected two factors, of corrupted features and of the others, one of "
                f"them above 0, got {shown(given)}"
            )
        object.__setattr__(self, "emphasis", tuple(factors))

    def numbers(self) -> dict[str, float]:
        """Return all settings, as the core takes them."""
        settings = dict(vars(self))
        alpha, beta = settings.pop("emphasis")
        return {**settings, "alpha": alpha, "beta": beta}

    def describe(self) -> dict[str, Any]:
        """Return what identifies it, in JSON's types."""
        return {"name": self.name, **vars(self), "emphasis": list(self.emphasis)}

    def in_units(self, units: Units) -> Corruption:
        """Return the same noise on samples in some units."""
        return self

    def in_core(self, network: Network, seed: int, layer: int, units: Units = PLAIN) -> Any:
        """Return the core's own, of the stream of this seed and layer."""
        key = int(stream_key(seed, Purpose.CORRUPTION, layer)[0])
        return new_corruption(network, self.name, self.in_units(units).numbers(), key)


@dataclasses.dataclass(frozen=True)
class Masking(Corruption):
    """Each feature of each sample is zero with probability `share`, anew at each step [1]_.

    Which are is a function of the model's seed, its layer, the step, the row of the batch and the
    column. Sparse samples stay sparse, with fewer values to compute with. Where columns
    are measured from their means, zero is the mean: in the estimators, which standardize dense
    columns, and in a model whose samples all lie far from zero.

    Parameters
    ----------
    share : float
        Less than 1.
    emphasis : tuple of float
        Factors of the loss of features that are corrupted, and of the loss of the others: (1, 0)
        has the network restore what is missing alone, (1, 0.5) that twice as much ([1]_, section
        4.3). Losses in a history, which go by clean samples, are without.

    Raises
    ------
    DataError
        If an argument is out of its range.

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

    def __post_init__(self) -> None:  # noqa: D105
        super().__post_init__()
        settle_float(self, "share", share=True)


@dataclasses.dataclass(frozen=True)
class Gaussian(Corruption):
    """Normal noise is added to each feature of each sample, anew at each step [1]_.

    ``x + stddev n`` with n from N(0, 1), by Box and Muller [2]_ from random bits that are a
    function of the model's seed, its layer, the step, the row of the batch and the column. Sparse
    samples become dense.

    Parameters
    ----------
    stddev : float
        Standard deviation, in the units of what the layer restores (x after `scale`, or codes).
    emphasis : tuple of float
        As of :class:`Masking`. All features are corrupted, so that the first alone counts.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> noise = sae_fast.corruptions.Gaussian(0.3)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, corruption=noise)

    References
    ----------
    .. [1] Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked denoising
       autoencoders", JMLR 11, 2010.
    .. [2] Box and Muller, "A note on the generation of random normal deviates",
       Annals of Mathematical Statistics 29, 1958.
    """

    name: ClassVar[str] = "gaussian"

    stddev: float = 0.3

    def __post_init__(self) -> None:  # noqa: D105
        super().__post_init__()
        settle_float(self, "stddev")
        if not self.emphasis[0]:
            raise DataError(
                "emphasis: expected more than 0 for corrupted features, which are all, got "
                f"{shown(self.emphasis)}"
            )

    def in_units(self, units: Units) -> Gaussian:  # noqa: D102
        return dataclasses.replace(self, stddev=self.stddev / units.unit)


@dataclasses.dataclass(frozen=True)
class SaltAndPepper(Corruption):
    """Each feature of each sample is an extreme with probability `share`, anew at each step [1]_.

    Which are, and whether one is `low` or `high`, each with probability 1/2, is a function of the
    model's seed, its layer, the step, the row of the batch and the column. Sparse samples become
    dense.

    Parameters
    ----------
    share : float
        Less than 1.
    low, high : float
        The smallest and the largest value, in the units of what the layer restores.
    emphasis : tuple of float
        As of :class:`Masking`.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> noise = sae_fast.corruptions.SaltAndPepper(0.1, emphasis=(1, 0.5))
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, corruption=noise)

    References
    ----------
    .. [1] Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked denoising
       autoencoders", JMLR 11, 2010.
    """

    name: ClassVar[str] = "salt_and_pepper"

    share: float = 0.1
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:  # noqa: D105
        super().__post_init__()
        settle_float(self, "share", share=True)
        for end in ("low", "high"):
            object.__setattr__(self, end, check_number(end, getattr(self, end)))
        if self.low >= self.high:
            raise DataError(f"low: expected less than high={self.high!r}, got {self.low!r}")

    def in_units(self, units: Units) -> SaltAndPepper:  # noqa: D102
        if units.zero:
            raise DataError(
                "corruption: expected none with a low and a high where samples lie far from zero, "
                f"got {shown(self)}; scale them first"
            )
        low, high = self.low / units.unit, self.high / units.unit
        return dataclasses.replace(self, low=low, high=high)


@dataclasses.dataclass(frozen=True)
class Swap(Corruption):
    """Each feature of each sample is another sample's with probability `share`, anew at each step.

    The other is any of the batch's, all as often (SCARF [1]_ draws from the whole set): features
    keep their own distributions, which makes it a noise for tables. What is swapped, and with
    whom, is a function of the model's seed, its layer, the step, the row of the batch and the
    column; nothing is where a batch has one sample. Sparse samples become dense.

    Parameters
    ----------
    share : float
        Less than 1.
    emphasis : tuple of float
        As of :class:`Masking`.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> noise = sae_fast.corruptions.Swap(0.15)
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, corruption=noise)

    References
    ----------
    .. [1] Bahri, Jiang, Tay and Metzler, "SCARF: self-supervised contrastive learning using
       random feature corruption", ICLR 2022.
    """

    name: ClassVar[str] = "swap"
    whole_batch: ClassVar[bool] = True

    share: float = 0.15

    def __post_init__(self) -> None:  # noqa: D105
        super().__post_init__()
        settle_float(self, "share", share=True)


#: All kinds, a line each.
CORRUPTIONS: dict[str, type[Corruption]] = {
    kind.name: kind
    for kind in (
        Masking,
        Gaussian,
        SaltAndPepper,
        Swap,
    )
}  # fmt: skip


def check_corruption(corruption: object, dtype: str) -> Corruption | None:
    """Return what a user asked for; DataError if it is none, or none for this precision."""
    if corruption is None:
        return None
    if isinstance(corruption, str):
        corruption = CORRUPTIONS[check_choice("corruption", corruption, list(CORRUPTIONS))]()
    if type(corruption) not in CORRUPTIONS.values():
        raise DataError(
            "corruption: expected None, a name or an object of sae_fast.corruptions, "
            f"got {shown(corruption)}"
        )
    noise = cast("Corruption", corruption)
    check_held("corruption", noise, noise.numbers().values(), dtype)
    return noise
