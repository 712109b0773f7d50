# SPDX-License-Identifier: BSD-3-Clause
"""Data sets by name, as the command line's ``--dataset`` and `run_experiment` take them.

The one place that falls back from one data set to another, and it never does so silently.
"""

from __future__ import annotations

import os
import warnings
from typing import Literal

from ..base.checks import check_bool
from ..base.text import shown
from ..errors import DataError, DatasetUnavailableError, SaeFastWarning
from .dataset import Dataset, Dtype
from .idx import load_idx
from .mnist import DATA_DIR_VARIABLE, load_mnist
from .strokes import load_strokes

Name = Literal["auto", "mnist", "strokes", "idx"]


class DatasetFallbackWarning(SaeFastWarning):
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
        Folder with the files of ``mnist``, ``idx`` or ``auto``, and the only place then. Default:
        ``$SAE_FAST_DATA_DIR``, if it is set; else the cache or a download, but not for ``idx``.
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
        If the name is unknown, a file is damaged or not the right one (``auto`` included), or
        `data_dir` is given with ``strokes``, which has no files.
    DatasetUnavailableError
        If the data set is not where `data_dir` or ``$SAE_FAST_DATA_DIR`` says (``auto``
        included), or cannot be downloaded.

    Examples
    --------
    >>> load("auto", offline=True)  # doctest: +SKIP
    Dataset('mnist', n_train=55000, n_test=10000, n_features=784, n_classes=10, dtype=uint8)
    """
    check_bool("offline", offline)
    check_source(name, data_dir)
    named = os.environ.get(DATA_DIR_VARIABLE)
    if name == "strokes":
        return load_strokes(seed=seed, dtype=dtype, progress=progress)
    if name == "mnist":
        return load_mnist(data_dir, not offline, dtype=dtype, progress=progress)
    if name == "idx":
        return load_idx(named or "" if data_dir is None else data_dir, dtype=dtype)
    if name != "auto":
        raise DataError(f"dataset: got {shown(name)}, expected auto, mnist, strokes or idx")
    try:
        return load_mnist(data_dir, not offline, dtype=dtype, progress=progress)
    except DatasetUnavailableError as error:
        if data_dir is not None or named:  # asked for, so that nothing else will do
            raise
        message = f"dataset auto: using the embedded data set strokes, not MNIST ({error})"
        warnings.warn(message, DatasetFallbackWarning, stacklevel=2)
    return load_strokes(seed=seed, dtype=dtype, progress=progress)


def check_source(name: str, data_dir: str | os.PathLike[str] | None) -> None:
    """Raise DataError if a data set needs a folder and has none, or the other way round."""
    if name == "strokes" and data_dir is not None:
        raise DataError(
            f"data_dir: expected none with dataset 'strokes', which is drawn, got {data_dir}"
        )
    if name == "idx" and data_dir is None and not os.environ.get(DATA_DIR_VARIABLE):
        raise DataError(
            "data_dir: got none, expected the folder of the IDX files for dataset 'idx' "
            f"(${DATA_DIR_VARIABLE} names one, too)"
        )
