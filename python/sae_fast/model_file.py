# SPDX-License-Identifier: BSD-3-Clause
"""Models as safetensors files: arrays and a JSON header, nothing that could execute.

The header's `sae_fast` entry says what the arrays are; a file that does not fit it is refused.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DataError, ModelFileError

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

    path = Path(path)
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
    """
    from safetensors import SafetensorError, safe_open

    from .autoencoder import Autoencoder
    from .stacked import StackedAutoencoder

    path = Path(path)
    with path.open("rb"):
        pass  # Python's own error if there is no such file
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            description = json.loads(metadata.get("sae_fast", "null"))
            if not isinstance(description, dict) or description.get("format") != FORMAT:
                raise ModelFileError(
                    f"{path}: expected a model of sae_fast in format {FORMAT}, got "
                    f"{description and description.get('format')!r}"
                )
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            stacked = description["class"] == "StackedAutoencoder"
            _check_size(description, stacked, shapes)
            model_class = StackedAutoencoder if stacked else Autoencoder
            model: Any = model_class(**description["arguments"])
            if stacked:
                model.pretrained = bool(description["pretrained"])
            expected = {name: value.shape for name, value in _arrays(model).items()}
            if shapes != expected:
                raise ModelFileError(f"{path}: expected arrays {expected}, got {shapes}")
            values = {name: file.get_tensor(name) for name in shapes}
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, DataError) as error:
        raise ModelFileError(f"{path}: expected a model of sae_fast, got {error!r}") from error
    try:
        model.parameters = {name: values[name] for name in model.parameters}
        if stacked and model.pretrained:
            for layer, autoencoder in enumerate(model.autoencoders, start=1):
                names = autoencoder.parameters
                autoencoder.parameters = {name: values[f"{name}{layer}"] for name in names}
    except DataError as error:
        raise ModelFileError(f"{path}: {error}") from error
    return model  # type: ignore[no-any-return]


def _check_size(description: Any, stacked: bool, shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse a header that promises a larger model than the file holds, before building it."""
    arguments = description["arguments"]
    if stacked:
        widths = [*arguments["sizes"], arguments["n_classes"]]
    else:
        widths = [arguments["n_features"], arguments["n_hidden"], arguments["n_features"]]
    promised = sum(int(a) * int(b) for a, b in itertools.pairwise(widths))
    held = sum(int(np.prod(shape)) for shape in shapes.values())
    if promised > held or min(widths) < 1:
        raise ModelFileError(f"expected {promised} weights as the header says, got {held}")
