# SPDX-License-Identifier: BSD-3-Clause
"""Models as safetensors files: arrays and a JSON header, nothing that could execute.

The header's `sae_fast` entry says what the arrays are; a file that does not fit it is refused.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DataError, ModelFileError
from .validation import check_int, check_path, check_sizes

if TYPE_CHECKING:
    from .autoencoder import Autoencoder
    from .stacked import StackedAutoencoder

FORMAT = 1


def _describe(model: Autoencoder | StackedAutoencoder) -> dict[str, Any]:
    """Say what a constructor needs to build this model again."""
    from .stacked import StackedAutoencoder

    if isinstance(model, StackedAutoencoder):
        return {
            "class": "StackedAutoencoder",
            "arguments": {
                "sizes": list(model.sizes),
                "n_classes": model.n_classes,
                "seed": model.seed,
                "init": model.init,
                "dtype": model.dtype,
            },
            "pretrained": model.pretrained,
        }
    return {
        "class": "Autoencoder",
        "arguments": {
            "n_features": model.n_features,
            "n_hidden": model.n_hidden,
            "weight_decay": model.weight_decay,
            "seed": model.seed,
            "dtype": model.dtype,
            "layer": model.layer,
        },
    }


def _arrays(model: Any) -> dict[str, Any]:
    """All parameters by their name in the file."""
    values = dict(model.parameters)
    if getattr(model, "pretrained", False):
        for autoencoder in model.autoencoders:
            for name, value in autoencoder.parameters.items():
                values[f"{name}{autoencoder.layer}"] = value
    return values


def save(model: Any, path: str | Path) -> Path:
    """Write a model to `path`, by way of a temporary name, and return the path."""
    from safetensors.numpy import save as to_bytes

    path = check_path("path", path)
    header = {"sae_fast": json.dumps({"format": FORMAT, **_describe(model)})}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(to_bytes(_arrays(model), metadata=header))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load(path: str | Path) -> Autoencoder | StackedAutoencoder:
    """Read a model that `save` wrote.

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
        If it is damaged, or not one of ours.

    Examples
    --------
    >>> import pathlib, sae_fast, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = sae_fast.Autoencoder(8, 3).save(pathlib.Path(folder) / "ae.safetensors")
    ...     model = sae_fast.load(path)
    >>> model.n_hidden
    3
    """
    from safetensors import SafetensorError, safe_open

    path = check_path("path", path)
    with path.open("rb"):
        pass  # Python's own error if there is no such file
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {}).get("sae_fast", "null"))
            if not isinstance(description, dict) or description.get("format") != FORMAT:
                raise DataError(f"no sae_fast entry of format {FORMAT} in its header")
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            model = _build(description, shapes)
            expected = {name: value.shape for name, value in _arrays(model).items()}
            if shapes != expected:
                raise DataError(f"arrays {shapes} instead of {expected}")
            values = {name: file.get_tensor(name) for name in shapes}
            for name, value in values.items():
                if value.dtype != model.dtype:
                    raise DataError(f"{name} in {value.dtype} instead of {model.dtype}")
        model.parameters = {name: values[name] for name in model.parameters}
        if getattr(model, "pretrained", False):
            for autoencoder in model.autoencoders:
                autoencoder.parameters = {
                    name: values[f"{name}{autoencoder.layer}"] for name in autoencoder.parameters
                }
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ModelFileError(f"{path}: expected a model of sae_fast, got {error}") from error
    return model  # type: ignore[no-any-return]


def _build(description: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> Any:
    """Build the described model, unless it would be larger than what the file holds."""
    from .autoencoder import Autoencoder
    from .stacked import StackedAutoencoder

    arguments = description["arguments"]
    if description["class"] == "StackedAutoencoder":
        n_classes = arguments["n_classes"]
        widths = [*check_sizes("sizes", arguments["sizes"]), *([n_classes] if n_classes else [])]
    elif description["class"] == "Autoencoder":
        widths = [arguments["n_features"], arguments["n_hidden"], arguments["n_features"]]
    else:
        raise DataError(f"class {description['class']!r}")
    widths = [check_int("width", width, 1) for width in widths]
    promised = sum(a * b for a, b in itertools.pairwise(widths))
    held = sum(math.prod(shape) for shape in shapes.values())
    if promised > held:
        raise DataError(f"{held} numbers where its header promises {promised} weights")
    if description["class"] == "Autoencoder":
        return Autoencoder(**arguments)
    model = StackedAutoencoder(**arguments)
    model.pretrained = description["pretrained"] is True
    return model
