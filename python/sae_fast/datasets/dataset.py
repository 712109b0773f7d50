# SPDX-License-Identifier: BSD-3-Clause
"""What every loader returns: four arrays that are known to fit together.

The checks live here, once, so that whoever holds a `Dataset` need not check anything again.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_classes, check_scale, check_unmasked
from ..base.text import shown
from ..errors import DataError, SaeFastWarning

#: How a loader hands out pixels: float32 in [0, 1], or as they are, with `Dataset.scale`.
Dtype = Literal["float32", "uint8"]
#: Images (n, height, width) and labels (n,).
Split: TypeAlias = tuple[NDArray[np.uint8], NDArray[Any]]

_PIXEL_SCALE = 1 / 255
_MOST_CLASSES = 2**16  # a larger label counts something else, or is damaged
_MOST_RANGES = 10  # of classes that a warning lists
_HASH_BYTES = 1 << 20  # hashed at once; bounds the copy of an array that is not C-ordered


class DatasetLabelsWarning(SaeFastWarning):
    """Labels are not what a classifier can learn, or were numbered anew."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set, split into training and test samples.

    Parameters
    ----------
    x_train : ndarray, shape (n_train, n_features)
        float32, float64, or uint8 together with `scale`.
    y_train : ndarray, shape (n_train,)
        Integer classes ``0 ... n_classes - 1``.
    x_test : ndarray, shape (n_test, n_features)
        Of the dtype of `x_train`.
    y_test : ndarray, shape (n_test,)
    name : str
    scale : float, optional
        Given when x is uint8, and only then: the value of a pixel is ``pixel * scale``.
    image_shape : tuple of int, optional
        (height, width) if the features are the pixels of an image, row by row.
    classes : tuple of int, optional
        What the files call the classes, where that is not ``0 ... n_classes - 1``.
    loader : callable, optional
        Without arguments; loads the same again, on any machine that has the same files. It can be
        pickled.

    Raises
    ------
    DataError
        If the arrays do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from sae_fast.datasets import Dataset
    >>> x, y = np.eye(4, 6, dtype=np.float32), np.array([0, 1, 2, 1])
    >>> Dataset(x, y, x[:2], y[:2], "tiny", image_shape=(2, 3)).n_classes
    3
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    name: str
    scale: float | None = None
    image_shape: tuple[int, int] | None = None
    classes: tuple[int, ...] | None = None
    loader: Callable[[], Dataset] | None = None

    def __post_init__(self) -> None:
        """Check that the arrays fit together."""
        for split in ("train", "test"):
            _check_split(split, getattr(self, f"x_{split}"), getattr(self, f"y_{split}"))
        x_train, x_test = self.x_train, self.x_test
        if x_test.shape[1] != x_train.shape[1]:
            raise DataError(
                f"x_test: got {x_test.shape[1]} features, expected {x_train.shape[1]} as in x_train"
            )
        if x_test.dtype != x_train.dtype:
            raise DataError(f"x_test: got {x_test.dtype}, expected {x_train.dtype} as in x_train")
        if (x_train.dtype == np.uint8) != (self.scale is not None):
            raise DataError(
                f"scale: got {self.scale} with {x_train.dtype} features, "
                "expected a number with uint8 features and None with any other"
            )
        if self.scale is not None:
            check_scale(self.scale, "float32")
        if self.image_shape is not None and (
            np.shape(self.image_shape) != (2,) or math.prod(self.image_shape) != x_train.shape[1]
        ):
            raise DataError(
                f"image_shape: got {self.image_shape}, "
                f"expected (height, width) with {x_train.shape[1]} pixels"
            )
        if self.classes is not None:
            check_classes("classes", self.classes, self.n_classes)

    @property
    def n_classes(self) -> int:
        """One more than the largest label of both splits."""
        return 1 + max(int(self.y_train.max()), int(self.y_test.max()))

    def named(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return what the files call the classes `y` (n_samples,): themselves without `classes`."""
        return y if self.classes is None else np.asarray(self.classes)[y]

    @functools.cached_property
    def sha256(self) -> str:
        """Hex digest over dtype, shape and values of x_train, y_train, x_test and y_test.

        The same for every memory layout and byte order; taken once, when first asked for.
        """
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            dtype = array.dtype.newbyteorder("<")
            digest.update(f"{dtype.str}{array.shape}".encode())
            n_rows = max(1, _HASH_BYTES // max(1, array[:1].nbytes))
            for start in range(0, len(array), n_rows):
                rows = array[start : start + n_rows]
                digest.update(np.ascontiguousarray(rows, dtype).data.cast("B"))
        return digest.hexdigest()

    def __repr__(self) -> str:
        """Name and sizes; never the arrays."""
        return (
            f"Dataset({self.name!r}, n_train={len(self.x_train)}, n_test={len(self.x_test)}, "
            f"n_features={self.x_train.shape[1]}, n_classes={self.n_classes}, "
            f"dtype={self.x_train.dtype})"
        )


def dataset_from_pixels(
    name: str,
    train: Split,
    test: Split,
    dtype: Dtype,
    classes: tuple[int, ...] | None = None,
    loader: Callable[[], Dataset] | None = None,
) -> Dataset:
    """Build a `Dataset`: flatten the images, and scale them if `dtype` asks for it."""
    (train_images, y_train), (test_images, y_test) = train, test
    return Dataset(
        _features(train_images, dtype),
        y_train.astype(np.int64),
        _features(test_images, dtype),
        y_test.astype(np.int64),
        name,
        _PIXEL_SCALE if dtype == "uint8" else None,
        train_images.shape[1:],
        classes,
        loader,
    )


def check_class_numbers(name: str, y: NDArray[Any]) -> None:
    """Raise a `DataError` unless labels (n_samples,) can be numbers of classes."""
    wrong = (y < 0) | (y >= _MOST_CLASSES)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"{name}: got label {y[at]} at position {at}, "
            f"expected classes from 0 to {_MOST_CLASSES - 1}"
        )


def label_faults(names: Sequence[str], y_train: NDArray[Any], y_test: NDArray[Any]) -> list[str]:
    """Say what makes an accuracy on such labels mean little, naming where they come from."""
    faults = []
    unseen = np.setdiff1d(y_test, y_train)
    if y_train.min() == y_train.max():
        faults.append(
            f"{names[0]}: all {len(y_train):,} labels are {y_train[0]}, "
            "so that there is nothing to tell apart"
        )
    if unseen.size:
        faults.append(
            f"{names[1]}: {np.isin(y_test, unseen).sum():,} of {len(y_test):,} test samples are of "
            f"{len(unseen)} classes ({ranges(unseen)}) that no training sample is of, and cannot "
            "be classified right"
        )
    return faults


def ranges(numbers: NDArray[Any]) -> str:
    """Write ascending integers, neighbours together: "0, 2 to 5"."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers.astype(np.int64)) != 1) + 1)
    words = [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return ", ".join(words if len(words) <= _MOST_RANGES else [*words[:_MOST_RANGES], "..."])


def check_dtype(dtype: str) -> None:
    """Raise a `DataError` unless `dtype` is one that the loaders know."""
    if dtype not in ("float32", "uint8"):
        raise DataError(f"dtype: got {shown(dtype)}, expected 'float32' or 'uint8'")


def _features(images: NDArray[np.uint8], dtype: Dtype) -> NDArray[Any]:
    """(n, height, width) pixels → (n, height * width) features."""
    pixels = images.reshape(len(images), math.prod(images.shape[1:]))
    if dtype == "uint8":
        return pixels
    # One pass: each pixel is converted to float32 exactly, and the product rounded once.
    features: NDArray[np.float32] = np.multiply(pixels, np.float32(_PIXEL_SCALE), dtype=np.float32)
    return features


def _check_split(split: str, x: object, y: object) -> None:
    check_unmasked(f"x_{split}", x)
    check_unmasked(f"y_{split}", y)
    if (
        not isinstance(x, np.ndarray)
        or x.ndim != 2
        or x.dtype not in (np.float32, np.float64, np.uint8)
    ):
        raise DataError(
            f"x_{split}: got {_describe(x)}, expected a 2-D array of float32, float64 or uint8"
        )
    if not isinstance(y, np.ndarray) or y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(f"y_{split}: got {_describe(y)}, expected a 1-D array of integers")
    if len(x) != len(y):
        raise DataError(
            f"y_{split}: got {len(y):,} labels, expected {len(x):,}, one per row of x_{split}"
        )
    if x.size == 0:
        raise DataError(f"x_{split}: got shape {x.shape}, expected a sample and a feature at least")
    check_class_numbers(f"y_{split}", y)


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    return f"a {type(value).__name__}"
