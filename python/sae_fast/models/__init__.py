# SPDX-License-Identifier: BSD-3-Clause
"""The models: an autoencoder, and a stack of them under a softmax layer."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ..base.files import read_from
from ..exchange.model_file import from_bytes
from .autoencoder import Autoencoder
from .stacked import StackedAutoencoder

__all__ = ["Autoencoder", "StackedAutoencoder", "load"]


def load(path: str | Path | BinaryIO | bytes) -> Autoencoder | StackedAutoencoder:
    """Read a model that `save` wrote: this release, or an older one.

    Nothing in a file is executed, and no memory is taken for what it merely claims to hold. The
    optimizer's state is not in it: training goes on from the parameters, with a fresh one.

    Parameters
    ----------
    path : path-like, binary file or bytes
        A file that is open for reading bytes is read from where it is; bytes are a file's content.

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
    model: Autoencoder | StackedAutoencoder = from_bytes(*read_from(path))
    return model
