# SPDX-License-Identifier: BSD-3-Clause
"""IDX, the file format of MNIST and its many successors: one file, or a folder that holds a set.

A header can promise anything, so memory follows what the file has really delivered: it is read in
chunks, and never further than one byte past the promise.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import math
import os
import re
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_path
from ..errors import DataError, DatasetUnavailableError
from .dataset import (
    Dataset,
    DatasetLabelsWarning,
    Dtype,
    Split,
    check_class_numbers,
    check_dtype,
    dataset_from_pixels,
    label_faults,
    ranges,
)

CHUNK_BYTES = 1 << 20
# A gzip file may be unpacked to the first of these bytes, and behind them to so many times its own
# size: images pack to a fifth, zeros to a thousandth.
_FREE_BYTES, _MOST_RATIO = 64 << 20, 100
_MAX_NDIM = 32  # what every NumPy takes
_RAW = "raw"  # torchvision's name for the folder of a set's files

# Type code, the third byte of a file → what its elements are.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# A file of a set: "train-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte.gz", ...
_FILE_NAME = re.compile(
    r"(?P<set>.*?)(?P<split>train|t10k|test)-(?P<content>images|labels)[-.]idx[13]-ubyte(\.gz)?"
)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    try:
        with check_path("path", path).open("rb") as file:
            yield file
    except DatasetUnavailableError:
        raise
    except OSError as error:
        raise DatasetUnavailableError(
            f"{path}: cannot be read: {error.strerror or error}"
        ) from error


@contextmanager
def decompressed(file: BufferedReader, path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give the content of a plain or gzip file, told apart by content; errors name its `path`."""
    if file.peek(2)[:2] != b"\x1f\x8b":
        yield file
        return
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield cast(BinaryIO, unzipped)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: got damaged gzip data ({error}), expected a whole file"
        ) from error


def read_idx(path: str | os.PathLike[str], *, sha256: str | None = None) -> NDArray[Any]:
    """Read an IDX file, plain or gzip (told apart by content, not by name).

    Parameters
    ----------
    path : str or path
    sha256 : str, optional
        Hex digest that the uncompressed file must have.

    Returns
    -------
    ndarray
        Of the file's shape and type, in the machine's byte order.

    Raises
    ------
    DataError
        If the file is not a whole IDX file, or not the one that `sha256` names.
    DatasetUnavailableError
        If there is no such file, or it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sae_fast.datasets import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    with _opened(path) as file:
        return parse_idx(file, path, sha256)


def read_idx_header(file: BinaryIO, path: object) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the array that a file holds, which is then where it begins."""
    return _read_header(file, path)[1:]


def _read_header(file: BinaryIO, path: object) -> tuple[bytes, tuple[int, ...], np.dtype[Any]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(
            f"{path}: got first bytes {magic.hex(' ') or '(none)'}, expected an IDX file "
            "(00 00, type, number of dimensions)"
        )
    code, ndim = magic[2:]
    if code not in _DTYPES:
        known = ", ".join(f"0x{code:02X}" for code in _DTYPES)
        raise DataError(f"{path}: got element type 0x{code:02X}, expected one of {known}")
    if not 1 <= ndim <= _MAX_NDIM:
        raise DataError(f"{path}: got {ndim} dimensions, expected 1 to {_MAX_NDIM}")
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(f"{path}: got {4 + len(sizes)} bytes, expected a header of {4 + 4 * ndim}")
    return magic + sizes, struct.unpack(f">{ndim}I", sizes), np.dtype(_DTYPES[code])


def parse_idx(
    source: BufferedReader, path: str | os.PathLike[str], sha256: str | None = None
) -> NDArray[Any]:
    """Read what `read_idx` reads from an open file; errors name its `path`.

    Of n bytes this takes at most 9/8 n + 2 MiB; of gzip, what it unpacks to, and at most
    64 MiB + 100 n.
    """
    with decompressed(source, path) as file:
        header, shape, dtype = _read_header(file, path)
        # Zeros are left out, as NumPy does when it checks what it can address.
        if math.prod(n for n in shape if n) * dtype.itemsize > sys.maxsize:
            raise DataError(f"{path}: got shape {shape}, expected one that fits into memory")

        promised = math.prod(shape) * dtype.itemsize
        data = bytearray()
        while len(data) <= promised:
            chunk = file.read(min(CHUNK_BYTES, promised + 1 - len(data)))
            if not chunk:
                break
            data += chunk
            if file is not source and source.seekable():
                packed = source.tell()
                if len(data) > _FREE_BYTES + _MOST_RATIO * packed:
                    raise DataError(
                        f"{path}: got {len(data):,} bytes out of {packed:,} packed ones, "
                        "expected images, which are not so small when packed"
                    )
    if len(data) != promised:
        came = f"{len(data):,}" if len(data) < promised else "more"
        raise DataError(
            f"{path}: got {came} bytes after the header, "
            f"expected {promised:,} for shape {shape} of {dtype.name}"
        )
    if sha256 is not None:
        digest = hashlib.sha256(header)
        digest.update(data)
        if digest.hexdigest() != sha256:
            raise DataError(
                f"{path}: got SHA-256 {digest.hexdigest()} (uncompressed), expected {sha256}"
            )
    array = np.frombuffer(data, dtype).reshape(shape)
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def load_idx(data_dir: str | os.PathLike[str], *, dtype: Dtype = "float32") -> Dataset:
    """Load any data set in MNIST's format: Fashion-MNIST, KMNIST, EMNIST, your own.

    There are no checksums, and all training images are used. Labels that are not ``0 ... n - 1``
    (EMNIST's letters are 1 to 26) are numbered so, in their order; ``classes`` then has the files'
    own, and a `DatasetLabelsWarning` says so. It also says where training images are all of one
    class, and where no training image is of a class that test images have.

    Parameters
    ----------
    data_dir : str or path
        Folder with one set: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same
        with ``t10k-`` or ``test-``; each plain or ``.gz``, all with the same prefix, if any
        (``emnist-letters-``). Also as torchvision (``FashionMNIST/raw/``) and Kaggle
        (``train-images.idx3-ubyte``, or each file in a folder of its name) lay them out.
    dtype : {"float32", "uint8"}
        float32 in [0, 1], or the pixels as they are with ``scale = 1/255``.

    Returns
    -------
    Dataset
        Named after the files' prefix or, without one, after the folder, torchvision's ``raw``
        after the one around it.

    Raises
    ------
    DataError
        If the folder holds several sets, or one whose files do not fit together, or whose labels
        are no classes (below 0, or above 65,535).
    DatasetUnavailableError
        If files are missing or cannot be read.

    Examples
    --------
    >>> load_idx("data/fashion-mnist")  # doctest: +SKIP
    Dataset('fashion-mnist', n_train=60000, n_test=10000, n_features=784, n_classes=10, ...)
    """
    check_dtype(dtype)
    folder = find_folder(check_path("data_dir", data_dir))
    sets = find_sets(folder)
    if len(sets) > 1:
        raise DataError(
            f"data_dir: got several data sets in {folder} (files starting with "
            f"{', '.join(map(repr, sets))}), expected one per folder"
        )
    prefix, files = next(iter(sets.items()), ("", {}))
    tests = {part.split("-")[0] for part in files} - {"train"} or {"t10k"}
    if len(tests) > 1:
        raise DataError(
            f"data_dir: got several test sets in {folder} (files starting with "
            f"'{prefix}t10k-', '{prefix}test-'), expected one per folder"
        )
    test_name = tests.pop()
    splits = read_splits(folder, files, test_name)
    paths = [files[f"{split}-labels"] for split in ("train", test_name)]
    train, test, classes = _number_classes(*splits, paths)
    named = folder.resolve()
    named = named.parent if named.name == _RAW else named
    name = prefix.strip("-_. ") or named.name or "idx"
    again = functools.partial(load_idx, folder.resolve(), dtype=dtype)
    return dataset_from_pixels(name, train, test, dtype, classes, again)


def _number_classes(
    train: Split, test: Split, files: Sequence[Path]
) -> tuple[Split, Split, tuple[int, ...] | None]:
    """Give classes numbers without gaps, and return their labels; warn of what is odd."""
    (x_train, y_train), (x_test, y_test) = train, test
    if not y_train.size or not y_test.size:  # `Dataset` says so
        return train, test, None
    names = [str(path) for path in files]
    for name, y in zip(names, (y_train, y_test), strict=True):
        check_class_numbers(name, y)
    faults = label_faults(names, y_train, y_test)
    classes = np.union1d(y_train, y_test)
    numbers: tuple[int, ...] | None = None
    if len(classes) <= classes[-1]:
        faults.append(
            f"{names[0]}: got {len(classes)} classes, {ranges(classes)}, here numbered 0 to "
            f"{len(classes) - 1}; `classes` of the data set has the labels of the files"
        )
        train = x_train, np.searchsorted(classes, y_train)
        test = x_test, np.searchsorted(classes, y_test)
        numbers = tuple(classes.tolist())
    for fault in faults:
        warnings.warn(fault, DatasetLabelsWarning, stacklevel=3)
    return train, test, numbers


def find_folder(folder: Path, name: str = "*") -> Path:
    """Return where in a folder its IDX files are: there, or where torchvision puts set `name`."""
    if find_sets(folder):
        return folder
    inner = [folder / _RAW, *sorted(folder.glob(f"{name}/{_RAW}"))]
    found = [path for path in inner if path.is_dir() and find_sets(path)]
    if len(found) > 1:
        raise DataError(
            f"data_dir: got several data sets in {folder} ("
            f"{', '.join(str(path.relative_to(folder)) for path in found)}), expected one"
        )
    return found[0] if found else folder


def find_sets(folder: Path) -> dict[str, dict[str, Path]]:
    """List the IDX files of a folder by set (their prefix, mostly "") and part ("train-images").

    Of several spellings of one file the plain one comes before ``.gz``. Each may be in a folder of
    its own name.
    """
    sets: dict[str, dict[str, Path]] = {}
    try:
        for path in sorted(folder.iterdir()):
            match = _FILE_NAME.fullmatch(path.name)
            if match and path.is_dir():
                path = path / path.name
            if match and path.is_file():
                parts = sets.setdefault(match["set"], {})
                parts.setdefault(f"{match['split']}-{match['content']}", path)
    except OSError as error:
        raise DatasetUnavailableError(
            f"data_dir: got {folder} ({error.strerror}), expected a folder of IDX files"
        ) from error
    return sets


def file_name(part: str) -> str:
    """Spell a part ("train-images") as MNIST's own files are named, without ``.gz``."""
    return f"{part}-idx{3 if part.endswith('images') else 1}-ubyte"


def read_splits(
    folder: Path,
    files: Mapping[str, Path],
    test_name: str = "t10k",
    sha256: Mapping[str, str] | None = None,
) -> tuple[Split, Split]:
    """Read images and labels of the training and the test set, as `find_sets` found them.

    `sha256` maps parts to the digests that their files must have.
    """
    sha256 = sha256 or {}
    parts = [f"{split}-{what}" for split in ("train", test_name) for what in ("images", "labels")]
    missing = ", ".join(file_name(part) for part in parts if part not in files)
    if missing:
        raise DatasetUnavailableError(
            f"data_dir: got {folder} without {missing}, expected these files, plain or .gz"
        )
    arrays = [read_idx(files[part], sha256=sha256.get(part)) for part in parts]
    return fit_splits(arrays, [files[part] for part in parts])


def fit_splits(arrays: Sequence[NDArray[Any]], files: Sequence[Path]) -> tuple[Split, Split]:
    """Return images and labels of two splits, if they fit together; errors name their files."""
    for i, other in ((0, 1), (2, 3)):
        images, labels = arrays[i], arrays[other]
        if images.ndim != 3 or images.dtype != np.uint8:
            raise DataError(
                f"{files[i]}: got {images.dtype} of shape {images.shape}, "
                "expected uint8 images (n, height, width)"
            )
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise DataError(
                f"{files[other]}: got {labels.dtype} labels of shape {labels.shape}, "
                f"expected integers of shape {images.shape[:1]}, one per image"
            )
    x_train, y_train, x_test, y_test = arrays
    if x_test.shape[1:] != x_train.shape[1:]:
        raise DataError(
            f"{files[2]}: got images of {x_test.shape[1:]} pixels, "
            f"expected {x_train.shape[1:]} as in {files[0]}"
        )
    return (x_train, y_train), (x_test, y_test)
