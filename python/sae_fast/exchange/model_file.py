# SPDX-License-Identifier: BSD-3-Clause
"""Models as safetensors files: arrays and a JSON header, nothing that could execute.

The header's `sae_fast` entry says what the arrays are, and has a checksum of the whole file; a file
that does not fit either is refused. Pickles hold the same bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.arrays_file import read_arrays, write_arrays
from ..base.checks import check_int, check_path, check_sizes
from ..base.files import read_file
from ..errors import DataError, DivergenceError, ModelFileError

if TYPE_CHECKING:
    from ..models.autoencoder import Autoencoder
    from ..models.stacked import StackedAutoencoder

FORMAT = 1

_BLANK = "0" * hashlib.sha256().digest_size * 2
_BEFORE_CHECKSUM = rb"\"sha256\": \""  # JSON in JSON; in a label the quotes are escaped again


def describe(model: Autoencoder | StackedAutoencoder) -> dict[str, Any]:
    """Say what the model is, beside its parameters."""
    from ..models.stacked import StackedAutoencoder

    if isinstance(model, StackedAutoencoder):
        return {
            "architecture": {
                "class": "StackedAutoencoder",
                "sizes": list(model.sizes),
                "n_classes": model.n_classes,
                "seed": model.seed,
                "init": model.init,
                "dtype": model.dtype,
            },
            "pretrained": model.pretrained,
            "scale": model.scale,
            "classes": model.classes,
        }
    return {
        "architecture": {
            "class": "Autoencoder",
            "n_features": model.n_features,
            "n_hidden": model.n_hidden,
            "weight_decay": model.weight_decay,
            "seed": model.seed,
            "dtype": model.dtype,
            "layer": model.layer,
        },
        "scale": model.scale,
    }


def _arrays(model: Any) -> dict[str, Any]:
    """All parameters by their name in the file."""
    values = dict(model.parameters)
    if getattr(model, "pretrained", False):
        for autoencoder in model.autoencoders:
            for name, value in autoencoder.parameters.items():
                values[f"{name}{autoencoder.layer}"] = value
    return values


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters by their name in the file."""
    shapes = dict(model._shapes())
    if getattr(model, "pretrained", False):
        for autoencoder in model.autoencoders:
            for name, shape in autoencoder._shapes().items():
                shapes[f"{name}{autoencoder.layer}"] = shape
    return shapes


def _checksum(data: bytes) -> tuple[int, bytes]:
    """Return where the checksum of a file begins, and the SHA-256 of all bytes but its own."""
    at = data.find(_BEFORE_CHECKSUM)
    if at < 0:
        raise DataError("no checksum in its header")
    at += len(_BEFORE_CHECKSUM)
    digest = hashlib.sha256(memoryview(data)[:at])
    digest.update(memoryview(data)[at + len(_BLANK) :])
    return at, digest.hexdigest().encode()


def to_bytes(model: Any) -> bytes:
    """Return the file of a model; DivergenceError if a parameter is not finite."""
    from .. import __version__

    arrays = _arrays(model)
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise DivergenceError(
                f"save: expected finite parameters, got NaN or infinity in {name}"
            )
    description = {
        "sha256": _BLANK,
        "format": FORMAT,
        "version": __version__,
        **describe(model),
    }
    data = write_arrays(json.dumps(description), arrays)
    at, digest = _checksum(data)
    return b"".join((data[:at], digest, data[at + len(digest) :]))


def load(path: str | Path) -> Autoencoder | StackedAutoencoder:
    """Read a model that `save` wrote: this release, or an older one.

    Nothing in a file is executed, and no memory is taken for what it merely promises. Adam's
    moments do not travel: training goes on from the parameters, with fresh ones.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Autoencoder or StackedAutoencoder

    Raises
    ------
    OSError
        If the file cannot be read.
    ModelFileError
        If it is damaged, was altered, or is not one of ours.

    Examples
    --------
    >>> import pathlib, sae_fast, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = sae_fast.Autoencoder(8, 3).save(pathlib.Path(folder) / "ae.safetensors")
    ...     model = sae_fast.load(path)
    >>> model.n_hidden
    3
    """
    path = check_path("path", path)
    return from_bytes(read_file(path), str(path))


def from_bytes(data: bytes, source: str) -> Autoencoder | StackedAutoencoder:
    """Return the model of a file; ModelFileError names its `source`.

    Beside the model this takes a copy of the arrays, and what the header takes as JSON.
    """
    try:
        text, values = read_arrays(data)
        description = _read_description(text)
        at, digest = _checksum(data)
        if data[at : at + len(digest)] != digest:
            raise DataError("bytes that do not fit its checksum: it is damaged or was altered")
        model = _build(description, values)
        shapes = {name: value.shape for name, value in values.items()}
        expected = _shapes(model)
        if shapes != expected:
            raise DataError(f"arrays {shapes} instead of {expected}")
        for name, value in values.items():
            if value.dtype != model.dtype:
                raise DataError(f"{name} in {value.dtype} instead of {model.dtype}")
        if getattr(model, "pretrained", True):
            for autoencoder in getattr(model, "autoencoders", ()):
                autoencoder.parameters = {
                    name: values.pop(f"{name}{autoencoder.layer}") for name in autoencoder._shapes()
                }
        else:  # they are as they were before any training
            for autoencoder in model.autoencoders:
                autoencoder._draw()
        model.parameters = values
        model.scale = description["scale"]
        if hasattr(model, "classes"):
            model.classes = description["classes"]
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ModelFileError(f"{source}: expected a model of sae_fast, got {error}") from error
    return model  # type: ignore[no-any-return]


def _read_description(text: str) -> dict[str, Any]:
    """Return the `sae_fast` entry of a header, if this release can read it."""
    description = json.loads(text)
    if not isinstance(description, dict):
        raise DataError("no sae_fast entry in its header")
    if description.get("format") != FORMAT:
        raise DataError(
            f"format {description.get('format')!r} of release {description.get('version')!r}, "
            f"where this release reads format {FORMAT}"
        )
    return description


def _build(description: dict[str, Any], values: Mapping[str, Any]) -> Any:
    """Build the described model, all parameters 0, unless it would be larger than the file."""
    from ..models.autoencoder import Autoencoder
    from ..models.stacked import StackedAutoencoder

    arguments = dict(description["architecture"])
    kind = arguments.pop("class")
    if kind == "StackedAutoencoder":
        n_classes = arguments["n_classes"]
        widths = [*check_sizes("sizes", arguments["sizes"]), *([n_classes] if n_classes else [])]
    elif kind == "Autoencoder":
        widths = [arguments["n_features"], arguments["n_hidden"], arguments["n_features"]]
    else:
        raise DataError(f"class {kind!r}")
    widths = [check_int("width", width, 1) for width in widths]
    promised = sum(a * b for a, b in itertools.pairwise(widths))
    held = sum(value.size for value in values.values())
    if promised > held:
        raise DataError(f"{held} numbers where its header promises {promised} weights")
    model: Any = (Autoencoder if kind == "Autoencoder" else StackedAutoencoder)._blank(**arguments)
    if describe(model)["architecture"].keys() != description["architecture"].keys():
        raise DataError(f"architecture {description['architecture']}")
    if isinstance(model, StackedAutoencoder):
        model.pretrained = description["pretrained"] is True
    return model
