# SPDX-License-Identifier: BSD-3-Clause
"""MNIST: found on this machine, or downloaded into the user cache.

The official files and nothing else: each is verified by the SHA-256 of its uncompressed bytes
whenever it is loaded, so it does not matter who put it there, or how it is packed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import tempfile
from pathlib import Path

from ..base.checks import check_bool, check_path
from ..errors import DataError, DatasetUnavailableError
from .dataset import Dataset, Dtype, check_dtype, dataset_from_pixels
from .idx import file_name, find_folder, find_sets, read_splits

#: Environment variable that names a folder to look for data in.
DATA_DIR_VARIABLE = "SAE_FAST_DATA_DIR"

#: Addresses that a file name is appended to, tried in turn.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

_SHA256 = {  # of the uncompressed files
    "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_TORCHVISION = "MNIST"  # its folder of this set
_N_VALIDATION = 5_000  # training images that TensorFlow's read_data_sets sets aside


def load_mnist(
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    *,
    dtype: Dtype = "float32",
    progress: bool = True,
) -> Dataset:
    """Load MNIST with the split of TensorFlow's ``read_data_sets``.

    The first 5,000 of the 60,000 training images are its validation set and are left out.

    Parameters
    ----------
    data_dir : str or path, optional
        Folder with the four files, each plain or ``.gz``, also as torchvision (``MNIST/raw/``) and
        Kaggle (``train-images.idx3-ubyte``, or each in a folder of its name) lay them out. Default:
        ``$SAE_FAST_DATA_DIR``; if that is not set, the user cache, or a download into it.
    download : bool
        Whether the net may be used.
    dtype : {"float32", "uint8"}
        float32 in [0, 1], or the pixels as they are with ``scale = 1/255``: the same bits once
        multiplied out in float32.
    progress : bool
        Whether to show the download's progress on stderr.

    Returns
    -------
    Dataset
        55,000 training and 10,000 test images of 28 by 28 pixels, 10 classes.

    Raises
    ------
    DataError
        If a file is not the official one.
    DatasetUnavailableError
        If files are missing from the folder that was named, or cannot be downloaded.

    References
    ----------
    LeCun, Cortes and Burges: The MNIST database of handwritten digits.

    Examples
    --------
    >>> load_mnist()  # doctest: +SKIP
    Dataset('mnist', n_train=55000, n_test=10000, n_features=784, n_classes=10, dtype=float32)
    """
    check_dtype(dtype)
    check_bool("progress", progress)
    check_bool("download", download)
    named = os.environ.get(DATA_DIR_VARIABLE) if data_dir is None else data_dir
    folder = _usual_folder() if data_dir is None else check_path("data_dir", data_dir)
    missing = _missing(folder)
    if missing and not named:
        if not download:
            raise DatasetUnavailableError(
                f"mnist: got no complete set in {folder}, expected its four files there: allow "
                f"the download, or name their folder with data_dir or ${DATA_DIR_VARIABLE}"
            )
        from .download import download as fetch

        wanted = {file_name(part) + ".gz": _SHA256[part] for part in missing}
        fetch(wanted, folder, MIRRORS, progress=progress)
    try:
        folder = find_folder(folder, _TORCHVISION)
        train, test = read_splits(folder, find_sets(folder).get("", {}), sha256=_SHA256)
    except DatasetUnavailableError as error:
        if data_dir is not None or not named:
            raise
        reason = str(error).removeprefix("data_dir: ")
        raise DatasetUnavailableError(f"${DATA_DIR_VARIABLE}: {reason}") from error
    except DataError as error:
        raise DataError(
            f"{error}; delete the file if it is damaged, or use dataset='idx' if it belongs to "
            "another data set in MNIST's format"
        ) from error
    images, labels = train
    train = images[_N_VALIDATION:], labels[_N_VALIDATION:]
    own = None if data_dir is None else folder.resolve()
    again = functools.partial(load_mnist, own, False, dtype=dtype, progress=False)
    return dataset_from_pixels("mnist", train, test, dtype, loader=again)


def locate_mnist() -> Path | None:
    """Return the folder that MNIST would be loaded from without a download, or None.

    ``$SAE_FAST_DATA_DIR`` or, if that is not set, the user cache. Looks at names only; the content
    is verified by `load_mnist`.

    Examples
    --------
    >>> locate_mnist()  # doctest: +SKIP
    PosixPath('/home/ada/.cache/sae_fast/mnist')
    """
    folder = _usual_folder()
    return None if _missing(folder) else folder


def cache_dir() -> Path:
    """Return the folder that MNIST is downloaded into."""
    return user_folder() / "mnist"


def user_folder() -> Path:
    """Return the user's folder of what can be had again; a temporary one if there is no home."""
    import platformdirs

    with contextlib.suppress(RuntimeError):
        folder = Path(platformdirs.user_cache_dir("sae_fast"))
        if folder.is_absolute():
            return folder
    return _temporary_folder()


@functools.cache
def _temporary_folder() -> Path:
    """Return the user's own folder among everybody's, a new one if another holds its name."""
    folder = Path(tempfile.gettempdir(), f"sae_fast-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if own and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return folder
    return Path(tempfile.mkdtemp(prefix="sae_fast-"))


def _usual_folder() -> Path:
    named = os.environ.get(DATA_DIR_VARIABLE)
    return Path(named) if named else cache_dir()


def _missing(folder: Path) -> list[str]:
    """List the parts ("train-images", ...) that `folder` lacks."""
    try:
        files = find_sets(find_folder(folder, _TORCHVISION)).get("", {})
    except (DatasetUnavailableError, DataError):
        files = {}
    return [part for part in _SHA256 if part not in files]
