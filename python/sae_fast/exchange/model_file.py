# SPDX-License-Identifier: BSD-3-Clause
"""Models as safetensors files: arrays and a JSON header, nothing that could execute.

The header's `sae_fast` entry says what the arrays are, and has a checksum of the whole file; a file
that does not fit either is refused. Pickles hold the same bytes. What a class of models is, its
objects say themselves; it registers here.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from ..base.arrays_file import read_arrays, write_arrays
from ..base.checks import check_int
from ..base.text import cut
from ..core.activations import from_description
from ..core.build import VERSION
from ..core.units import Units
from ..errors import DataError, DivergenceError, ModelFileError

FORMAT = 1

_MOST_SAID = 1000  # characters of what is wrong with a file
_BLANK = "0" * hashlib.sha256().digest_size * 2
_BEFORE_CHECKSUM = rb"\"sha256\": \""  # JSON in JSON; in a label the quotes are escaped again


class Storable(Protocol):
    """What a file has to know of a model, or of one that it is made of."""

    dtype: str
    n_features: Any
    _values: Any  # parameters as the network has them
    _units: Units
    _NAME: ClassVar[str]

    @classmethod
    def _blank(cls, **arguments: Any) -> Any: ...
    @classmethod
    def _widths_of(cls, architecture: Mapping[str, Any]) -> Sequence[Any]: ...
    def _shapes(self) -> dict[str, tuple[int, ...]]: ...
    def _describe(self) -> dict[str, Any]: ...
    def _become(self, description: Mapping[str, Any]) -> None: ...
    def _drew(self, drawn: bool) -> None: ...
    def _stored(self) -> Sequence[tuple[str, Storable]]: ...


_M = TypeVar("_M", bound=Storable)

#: The classes of models by the names that files have for them.
_CLASSES: dict[str, type[Storable]] = {}


def register(cls: type[_M]) -> type[_M]:
    """Let files hold models of a class (a decorator)."""
    _CLASSES[cls._NAME] = cls
    return cls


def asked(name: str) -> list[str]:
    """Return what makes a model of a class: what its constructor takes, threads aside."""
    return [key for key in inspect.signature(_CLASSES[name]).parameters if key != "n_threads"]


def _checksum(data: bytes) -> tuple[int, bytes]:
    """Return where the checksum of a file begins, and the SHA-256 of all bytes but its own."""
    at = data.find(_BEFORE_CHECKSUM)
    if at < 0:
        raise DataError("no checksum in its header")
    at += len(_BEFORE_CHECKSUM)
    digest = hashlib.sha256(memoryview(data)[:at])
    digest.update(memoryview(data)[at + len(_BLANK) :])
    return at, digest.hexdigest().encode()


def to_bytes(model: Storable) -> bytes:
    """Return the file of a model; DivergenceError if a parameter is not finite."""
    arrays = {
        f"{name}{number}": value
        for number, part in model._stored()
        for name, value in part._values.items()
    }
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise DivergenceError(
                f"save: expected finite parameters, got NaN or infinity in {name}"
            )
    description = {"sha256": _BLANK, "format": FORMAT, "version": VERSION, **model._describe()}
    data = write_arrays(json.dumps(description), arrays)
    at, digest = _checksum(data)
    return b"".join((data[:at], digest, data[at + len(digest) :]))


def from_bytes(data: bytes, source: str) -> Any:
    """Return the model of a file; ModelFileError names its `source`.

    Beside the model this takes a copy of the arrays, and what the header takes as JSON.
    """
    try:
        text, values = read_arrays(data)
        description = json.loads(text)
        if not isinstance(description, dict):
            raise DataError("no sae_fast entry in its header")
        if "checkpoint" in description:
            raise DataError(
                "the checkpoint of a run, which resume goes on from; models are in "
                "model.safetensors or model-*.safetensors, once the run has ended"
            )
        if description.get("format") != FORMAT:
            raise DataError(
                f"format {description.get('format')!r} of release {description.get('version')!r}, "
                f"where this release reads format {FORMAT}"
            )
        at, digest = _checksum(data)
        if data[at : at + len(digest)] != digest:
            raise DataError("bytes that do not fit its checksum: it is damaged or was altered")
        model = _build(description["architecture"], values)
        model._become(description)
        shapes = {name: value.shape for name, value in values.items()}
        expected = {
            f"{name}{number}": shape
            for number, part in model._stored()
            for name, shape in part._shapes().items()
        }
        if shapes != expected:
            raise DataError(f"arrays {shapes} instead of {expected}")
        for name, value in values.items():
            if value.dtype != model.dtype:
                raise DataError(f"{name} in {value.dtype} instead of {model.dtype}")
        units = description.get("units", {})
        for number, part in model._stored():
            part._units = Units(*units.get(number, ()))
            if len(part._units.zero) not in (0, part.n_features):
                raise DataError(f"zeros of {len(part._units.zero):,} features")
            part._values = {name: values.pop(f"{name}{number}") for name in part._shapes()}
        model._drew(description.get("drawn") is True)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        found = cut(str(error), _MOST_SAID)
        raise ModelFileError(f"{source}: expected a model of sae_fast, got {found}") from error
    return model


def _build(architecture: Mapping[str, Any], values: Mapping[str, Any]) -> Storable:
    """Build the described model, all parameters 0, unless it would be larger than the file.

    What older releases did not know yet has its default.
    """
    arguments = {key: from_description(value) for key, value in dict(architecture).items()}
    name = arguments.pop("class")
    if name not in _CLASSES:
        raise DataError(f"class {name!r}")
    cls = _CLASSES[name]
    unknown = [key for key in arguments if key not in asked(name)]
    if unknown:
        raise DataError(f"{', '.join(unknown)} in its architecture, which this release lacks")
    widths = [check_int("width", width, 1) for width in cls._widths_of(arguments)]
    promised = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    dtype = arguments.get("dtype", "float32")
    held = sum(value.size for value in values.values() if value.dtype == dtype)
    if promised > held:
        raise DataError(f"{held} numbers in {dtype} where its header promises {promised}")
    return cls._blank(**arguments)  # type: ignore[no-any-return]
