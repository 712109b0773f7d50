# SPDX-License-Identifier: BSD-3-Clause
"""Data sets by name, as the command line's ``--dataset`` and `run_experiment` take them.

The one place that falls back from one data set to another, and it never does so silently.
"""

from __future__ import annotations

import os
import warnings
from typing import Literal

from ..errors import DataError, DatasetUnavailableError
from .dataset import Dataset, Dtype
from .idx import load_idx
from .mnist import DATA_DIR_VARIABLE, load_mnist
from .strokes import load_strokes

Name = Literal["auto", "mnist", "strokes", "idx"]


class DatasetFallbackWarning(UserWarning):
    """`load` took another source than the first choice."""


def load(
    name: Name,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    offline: bool = False,
    seed: int = 0,
    dtype: Dtype = "uint8",
    progress: bool = False,
) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : {"auto", "mnist", "strokes", "idx"}
        ``mnist`` as `load_mnist`, ``strokes`` as `load_strokes`, ``idx`` as `load_idx`. ``auto`` is
        MNIST if it can be had, else strokes, with a `DatasetFallbackWarning` that says why.
    data_dir : str or path, optional
        Folder with the files of ``mnist`` (only there), ``idx`` (default ``$SAE_FAST_DATA_DIR``)
        or ``auto`` (there first; if they are not there, a warning says what was taken instead).
    offline : bool
        Never use the network.
    seed : int
        Of ``strokes``.
    dtype : {"float32", "uint8"}
        float32 in [0, 1], or pixels as they are with ``scale = 1/255``.
    progress : bool
        Whether to show the progress of downloading or drawing on stderr.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the name is unknown, or a file is damaged or not the right one (``auto`` included).
    DatasetUnavailableError
        If the data set is not there and cannot be downloaded.

    Examples
    --------
    >>> load("auto", offline=True)  # doctest: +SKIP
    Dataset('mnist', n_train=55000, n_test=10000, n_features=784, n_classes=10, dtype=uint8)
    """
    if name == "strokes":
        return load_strokes(seed=seed, dtype=dtype, progress=progress)
    if name == "mnist":
        return load_mnist(data_dir, not offline, dtype=dtype, progress=progress)
    if name == "idx":
        data_dir = data_dir or os.environ.get(DATA_DIR_VARIABLE)
        if not data_dir:
            raise DataError(
                "data_dir: got none, expected the folder of the IDX files for dataset 'idx' "
                f"(--data-dir or ${DATA_DIR_VARIABLE})"
            )
        return load_idx(data_dir, dtype=dtype)
    if name != "auto":
        raise DataError(f"dataset: got {name!r}, expected auto, mnist, strokes or idx")

    reasons = []
    if data_dir is not None:
        try:
            return load_mnist(data_dir, download=False, dtype=dtype)
        except DatasetUnavailableError as error:
            reasons.append(str(error))
    try:
        dataset = load_mnist(download=not offline, dtype=dtype, progress=progress)
        taken = "MNIST from its usual place"
    except DatasetUnavailableError as error:
        reasons.append(str(error))
        dataset = load_strokes(seed=seed, dtype=dtype, progress=progress)
        taken = "the embedded data set strokes, not MNIST"
    if reasons:
        message = f"dataset auto: using {taken} ({'; '.join(reasons)})"
        warnings.warn(message, DatasetFallbackWarning, stacklevel=2)
    return dataset
