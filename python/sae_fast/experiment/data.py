# SPDX-License-Identifier: BSD-3-Clause
"""The data set of an experiment: loaded as its settings say, and what those leave to it settled."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, cast

from .. import datasets
from ..datasets import Dataset
from ..datasets.dataset import label_faults
from ..errors import DataError, warn
from ..training.schedule import DEFAULT_BATCH_SIZE
from .settings import Settings

_S = TypeVar("_S", bound=Settings)


def load_data(settings: _S, dataset: str | Dataset) -> tuple[Dataset, _S]:
    """Return the data set, and the settings with the size of a batch that fits it."""
    if isinstance(dataset, Dataset):
        if settings.data_dir is not None:
            raise DataError(
                f"data_dir: expected none with a Dataset object, got {settings.data_dir!r}"
            )
        for fault in label_faults(("y_train", "y_test"), dataset.y_train, dataset.y_test):
            warn(fault, datasets.DatasetLabelsWarning)
    else:
        how: Any = {"offline": settings.offline, "progress": not settings.quiet}
        dataset = datasets.load(cast(Any, dataset), settings.data_dir, **how)
    if settings.batch_size is None:
        size = min(DEFAULT_BATCH_SIZE, len(dataset.x_train))
        settings = dataclasses.replace(settings, batch_size=size)
    check_batch_size(settings, dataset)
    return dataset, settings


def check_batch_size(settings: Settings, data: Dataset) -> None:
    """Raise DataError if a batch has more samples than there are."""
    if settings.batch_size is not None and settings.batch_size > len(data.x_train):
        raise DataError(
            f"batch_size: expected at most the {len(data.x_train):,} training samples, "
            f"got {settings.batch_size:,}"
        )


def check_classes_differ(data: Dataset) -> None:
    """Raise DataError if there is nothing to tell apart."""
    if data.n_classes < 2:
        raise DataError(
            f"dataset: expected two classes or more, got one in all labels of {data.name!r}"
        )


def describe_data(data: Dataset) -> dict[str, Any]:
    """Return what results say of a data set."""
    sizes = {"n_train": len(data.x_train), "n_test": len(data.x_test)}
    return {"name": data.name, **sizes, "sha256": data.sha256}
